//! Servers at a socket in the file system.
#![cfg(unix)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, response::Redirect};
use throttle_client::{Client, http_client_builder};
use throttle_runtime::{Handle, Settings};
use tokio::{net::UnixListener, task::JoinHandle};

use crate::scripted_server::LEASE;

/// Serves at the socket until it is aborted.
fn serve(path: &std::path::Path) -> JoinHandle<()> {
    let routes = throttle_http::routes(Handle::start(Settings::default(), &BTreeMap::new()));
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() })
}

#[tokio::test]
async fn a_server_at_a_socket_is_reached_also_with_an_http_client_of_ones_own() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("throttle.sock");
    let _serving = serve(&path);
    let url = format!("unix:{}", path.display());
    let own = http_client_builder().build().unwrap();
    for builder in [Client::builder(&url), Client::builder(&url).http_client(own)] {
        let client = builder.build().unwrap();
        let peer = client.new_peer(LEASE).await.unwrap();
        client.heartbeat(peer, LEASE).await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_can_be_one_of_several_urls() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("throttle.sock");
    let _serving = serve(&path);
    let missing = format!("unix:{}", directory.path().join("missing.sock").display());
    let client = Client::builder(missing).or_url(format!("unix:{}", path.display()));
    client.build().unwrap().semaphores().await.unwrap();
}

/// Only this server can be reached by the socket.
#[tokio::test]
async fn a_redirect_from_a_socket_to_another_server_is_not_followed() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("throttle.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let redirect = async move || {
        let location = match counter.fetch_add(1, Ordering::Relaxed) {
            0 => "/moved",
            _ => "http://other.invalid/health",
        };
        Redirect::temporary(location)
    };
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(redirect)).await });

    let url = format!("unix:{}", path.display());
    let error = Client::new(&url).unwrap().health().await.unwrap_err();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let text = error.to_string();
    assert!(text.contains(&url) && text.contains("http://other.invalid/health"), "{text}");
}

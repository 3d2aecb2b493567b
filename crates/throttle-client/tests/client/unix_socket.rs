//! Servers at a socket in the file system.
#![cfg(unix)]

use std::collections::BTreeMap;

use throttle_client::{Client, http_client_builder};
use throttle_runtime::{Handle, Settings};
use tokio::{net::UnixListener, task::JoinHandle};

use crate::support::LEASE;

/// Serves at the socket until it is aborted.
fn serve(path: &std::path::Path) -> JoinHandle<()> {
    let routes = throttle_http::routes(Handle::start(Settings::default(), &BTreeMap::new()));
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() })
}

#[tokio::test]
async fn a_server_is_asked_by_its_socket_whatever_client_other_servers_are_asked_by() {
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
async fn a_socket_can_be_one_of_several_ways() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("throttle.sock");
    let _serving = serve(&path);
    let missing = format!("unix:{}", directory.path().join("missing.sock").display());
    let client = Client::builder(missing).or_url(format!("unix:{}", path.display()));
    client.build().unwrap().semaphores().await.unwrap();
}

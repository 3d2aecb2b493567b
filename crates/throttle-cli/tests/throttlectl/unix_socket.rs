//! A server on a Unix socket.
#![cfg(unix)]

use std::collections::BTreeMap;

use throttle_runtime::{Handle, Settings};
use tokio::{net::UnixListener, runtime::Runtime};

use crate::support::{run, throttlectl};

#[test]
fn the_url_of_a_server_may_name_its_socket() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("throttle.sock");
    runtime.block_on(async {
        let routes = throttle_http::routes(Handle::start(Settings::default(), &BTreeMap::new()));
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async { axum::serve(listener, routes).await });
    });
    let url = format!("unix:{}", path.display());
    let (code, _, stderr) = run(&mut throttlectl(&url, &["status"]));
    assert_eq!((code, &*stderr), (0, ""));
    let (code, _, stderr) = run(&mut throttlectl("http://nowhere", &["status", "--url", &url]));
    assert_eq!((code, &*stderr), (0, ""));
    let (code, _, stderr) = run(&mut throttlectl("unix:", &["status"]));
    assert_eq!(code, 64, "{stderr}");
}

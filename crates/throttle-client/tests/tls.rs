//! The client over `https`, as far as it is this crate's business: with the feature `tls` it can.

use std::{collections::BTreeMap, sync::Arc};

use axum::serve::Listener;
use throttle_client::{Client, Error, http_client_builder, reqwest::Certificate};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
    server::TlsStream,
};

/// Accepts connections that have shaken hands.
struct Encrypted(TcpListener, TlsAcceptor);

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Starts a server with a mutex, and returns its URL and its certificate.
async fn serve() -> (String, Certificate) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let mutex = SemaphoreConfig { max: Count::ONE, level: Level(0) };
    let semaphores = BTreeMap::from([("A".to_owned(), mutex)]);
    let routes = throttle_http::routes(Handle::start(Settings::default(), &semaphores));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let listener = Encrypted(listener, TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async { axum::serve(listener, routes).await });
    (url, Certificate::from_pem(issued.cert.pem().as_bytes()).unwrap())
}

#[tokio::test]
async fn a_lock_is_held_over_https_by_who_trusts_the_certificate_and_by_nobody_else() {
    let (url, certificate) = serve().await;
    // Sets up what the system trusts, where this certificate is not.
    let http = http_client_builder().no_proxy().build().unwrap();
    let stranger = Client::builder(&url).http_client(http);
    let stranger = stranger.retry(throttle_client::RetryPolicy::none());
    let stranger = stranger.build().unwrap();
    let refused = stranger.health().await.unwrap_err();
    assert!(matches!(refused, Error::Connect { .. }), "{refused:?}");

    let http = http_client_builder().no_proxy().tls_certs_only([certificate]);
    let throttle = Client::builder(&url).http_client(http.build().unwrap()).build().unwrap();
    let peer = throttle_client::Peer::new(&throttle);
    let lock = peer.lock("A").await.unwrap();
    assert!(lock.is_held());
    lock.release().await.unwrap();
    peer.close().await;
}

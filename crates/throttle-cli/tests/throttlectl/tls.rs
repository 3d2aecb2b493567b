//! Servers behind `https`, and the files with certificates.

use std::{fs, io, net::SocketAddr, sync::Arc};

use axum::{Router, routing::get, serve::Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer,
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

use crate::support::{TestServer, run, throttlectl};

/// Accepts connections after their TLS handshake.
struct Encrypted(TcpListener, TlsAcceptor);

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &Authority) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// Starts a server that requires client certificates of the same authority. Returns its URL.
async fn serve(authority: &Authority) -> String {
    let (certificate, key) = issue(authority);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = Encrypted(listener, TlsAcceptor::from(Arc::new(config)));
    let routes = Router::new().route("/health", get(async || "Ok"));
    tokio::spawn(async { axum::serve(listener, routes).await });
    format!("https://localhost:{port}")
}

#[test]
fn files_name_the_trusted_authority_and_the_certificate_of_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let authority = authority();
    let (certificate, key) = issue(&authority);
    let ca = file("ca.pem", &authority.pem());
    let client = file("client.pem", &(certificate.pem() + &key.serialize_pem()));
    let garbage = file("garbage.pem", "garbage");
    let runtime = Runtime::new().unwrap();
    let url = runtime.block_on(serve(&authority));
    for (flags, expected, message) in [
        (&["--ca", &*ca, "--client-cert", &client][..], 0, ""),
        (&["--client-cert", &client], 69, "certificate"),
        (&["--ca", &ca], 69, "localhost"),
        (&["--ca", "nowhere.pem"], 64, "cannot read nowhere.pem: No such file"),
        (&["--ca", &garbage], 64, "certificate"),
        (&["--ca", &ca, "--client-cert", &ca], 64, "key"),
    ] {
        let (code, _, stderr) = run(throttlectl(&url, &["health", "--live"]).args(flags));
        assert_eq!(code, expected, "{flags:?}: {stderr}");
        assert!(stderr.contains(message) && !stderr.contains("panicked"), "{flags:?}: {stderr}");
    }
    let mut by_variables = throttlectl(&url, &["health", "--live"]);
    by_variables.env("THROTTLE_CA", &ca).env("THROTTLE_CLIENT_CERT", &client);
    assert_eq!(run(&mut by_variables).0, 0);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let server = TestServer::new();
    let mut check = server.throttlectl(&["health"]);
    for name in ["THROTTLE_CA", "THROTTLE_CLIENT_CERT", "THROTTLE_TOKEN"] {
        check.env(name, "");
    }
    let (code, _, stderr) = run(&mut check);
    assert_eq!(code, 0, "{stderr}");
}

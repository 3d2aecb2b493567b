//! The client over `https`: which servers it trusts, and which certificate it sends.

use std::{collections::BTreeMap, sync::Arc};

use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use throttle_client::{Client, ClientBuilder, Error, RetryPolicy, http_client_builder};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::PrivateKeyDer,
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

/// Accepts connections after the TLS handshake.
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

/// An authority that issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate as PEM.
    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A certificate with its key as PEM.
    fn issue_pem(&self, name: &str) -> String {
        let (certificate, key) = self.issue(name);
        certificate.pem() + &key.serialize_pem()
    }
}

/// Starts a server with a mutex and a certificate for `localhost`. It asks clients for a certificate of
/// `clients` if that is set. Returns its URL.
async fn serve(authority: &Authority, clients: Option<&Authority>) -> String {
    let (certificate, key) = authority.issue("localhost");
    serve_with(&certificate, &key, clients).await
}

/// Starts the same server with another certificate.
async fn serve_with(
    certificate: &rcgen::Certificate,
    key: &KeyPair,
    clients: Option<&Authority>,
) -> String {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.0.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => config.with_no_client_auth(),
    };
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let mutex = SemaphoreConfig { max: Count::ONE, level: Level(0) };
    let semaphores = BTreeMap::from([("A".to_owned(), mutex)]);
    let routes = throttle_http::routes(Handle::start(Settings::default(), &semaphores));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let listener = Encrypted(listener, TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async { axum::serve(listener, routes).await });
    url
}

/// A client without retries, which would hide failed attempts.
fn client(url: &str) -> ClientBuilder {
    Client::builder(url).retry(RetryPolicy::none())
}

/// The innermost cause of an error.
fn root_cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[tokio::test]
async fn a_server_is_trusted_only_if_its_authority_is() {
    let [authority, other] = [Authority::new(), Authority::new()];
    let url = serve(&authority, None).await;
    let both = other.pem() + &authority.pem();
    for trusted in [vec![authority.pem()], vec![other.pem(), authority.pem()], vec![both]] {
        let trusting = |client: ClientBuilder, pem: String| client.ca_certificates(pem);
        let client = trusted.into_iter().fold(client(&url), trusting).build().unwrap();
        let peer = client.new_peer(std::time::Duration::from_secs(60)).await.unwrap();
        client.acquire(peer, "A", 1).await.map(drop).unwrap();
        assert!(client.remove_peer(peer).await.unwrap());
    }
    // The first two trust only what the system trusts.
    let http = http_client_builder().build().unwrap();
    for stranger in
        [client(&url), client(&url).http_client(http), client(&url).ca_certificates(other.pem())]
    {
        let error = stranger.build().unwrap().health().await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("cannot connect to {url}"));
        assert!(root_cause(&error).contains("invalid peer certificate"), "{error:?}");
    }
}

/// Self-signed certificates are often marked as those of an authority: `openssl req -x509` does so.
#[tokio::test]
async fn a_self_signed_certificate_is_trusted_only_if_it_was_added() {
    let own = |name: &str, is_ca, year| {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    };
    let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
    let (stranger, _) = own("localhost", authority(), 4000);
    for (name, is_ca, year, is_trusted) in [
        ("localhost", authority(), 4000, true),
        ("localhost", IsCa::ExplicitNoCa, 4000, true),
        ("elsewhere", authority(), 4000, false),
        ("localhost", authority(), 2021, false),
    ] {
        let (certificate, key) = own(name, is_ca, year);
        let url = serve_with(&certificate, &key, None).await;
        let trusting = client(&url).ca_certificates(certificate.pem()).build().unwrap();
        let health = trusting.health().await;
        assert_eq!(health.is_ok(), is_trusted, "{name} {is_ca:?} {year}: {health:?}");
        let others = client(&url).ca_certificates(stranger.pem()).build().unwrap();
        assert!(others.health().await.is_err());
    }
}

/// A common mistake is `https` with the port of a server without TLS.
#[tokio::test]
async fn an_unencrypted_answer_is_reported_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async { axum::serve(listener, axum::Router::new()).await });
    let error = client(&url).build().unwrap().health().await.unwrap_err();
    assert!(
        root_cause(&error).contains("the answer is no TLS, so `http` may be right"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_that_of_the_client() {
    let [authority, clients] = [Authority::new(), Authority::new()];
    let url = serve(&authority, Some(&clients)).await;
    let client = || client(&url).ca_certificates(authority.pem());
    let known = client().client_certificate(clients.issue_pem("worker"));
    known.build().unwrap().health().await.unwrap();
    for unknown in [client(), client().client_certificate(authority.issue_pem("worker"))] {
        let error = unknown.build().unwrap().health().await.unwrap_err();
        let is_refused = matches!(error, Error::Connect { .. } | Error::Transport { .. });
        assert!(is_refused, "{error:?}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_refused_when_the_client_is_built() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue("worker");
    let (_, other_key) = authority.issue("worker");
    let mismatch = certificate.pem() + &other_key.serialize_pem();
    let no_certificate = "there is no certificate in it, or it is not PEM";
    let client = || client("https://localhost");
    let own = || client().http_client(http_client_builder().build().unwrap());
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (builder, setting, expected) in [
        (client().ca_certificates(""), "the CA certificate", no_certificate),
        (client().ca_certificates("/etc/ca.pem"), "the CA certificate", no_certificate),
        (client().ca_certificates(rubbish), "the CA certificate", "invalid peer certificate"),
        (client().client_certificate("x"), "the client certificate", no_certificate),
        (
            client().client_certificate(certificate.pem()),
            "the client certificate",
            "there is no private key in it",
        ),
        (
            client().client_certificate(mismatch),
            "the client certificate",
            "keys may not be consistent",
        ),
        (own().ca_certificates(authority.pem()), "a certificate", "the HTTP client of your own"),
    ] {
        let error = builder.build().unwrap_err();
        let Error::InvalidSetting { setting: found, reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(found, setting);
        assert!(reason.contains(expected), "{reason}");
    }
}

/// Only the program should set the provider. If a library did, another library could not set its own.
#[tokio::test]
async fn the_client_installs_no_cryptography_provider_for_the_process() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    client(&url).ca_certificates(authority.pem()).build().unwrap().health().await.unwrap();
    http_client_builder().build().unwrap();
    assert!(CryptoProvider::get_default().is_none());
}

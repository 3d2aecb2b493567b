//! Certificates for `https`: what the client trusts, and what it sends.
//!
//! The HTTP library gets a complete configuration of rustls. Otherwise it would take the cryptography
//! provider from a global variable of the process, which only the program should set.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{self, CryptoProvider},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject as _},
    },
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;

use crate::Error;

/// Certificates in addition to those that the system trusts, as PEM.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    /// Authorities of servers.
    pub(crate) authorities: Vec<Vec<u8>>,
    /// The client's certificate chain and its private key.
    pub(crate) client: Option<Vec<u8>>,
}

impl Certificates {
    pub(crate) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.client.is_none()
    }

    /// The configuration of rustls with these certificates.
    pub(crate) fn config(&self) -> Result<ClientConfig, Error> {
        let provider = CryptoProvider::get_default().map(Arc::clone);
        let provider = provider.unwrap_or_else(|| Arc::new(crypto::ring::default_provider()));
        let trust = Trust::new(self.authorities()?, Arc::clone(&provider));
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| unusable("the provider of cryptography", error))?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(trust));
        let Some(client) = &self.client else { return Ok(config.with_no_client_auth()) };
        let chain = certificates(client).map_err(|reason| unusable(CLIENT, reason))?;
        let key = PrivateKeyDer::from_pem_slice(client).map_err(|error| match error {
            pem::Error::NoItemsFound => unusable(CLIENT, "there is no private key in it"),
            error => unusable(CLIENT, error),
        })?;
        config.with_client_auth_cert(chain, key).map_err(|error| unusable(CLIENT, error))
    }

    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        if cfg!(target_os = "android") && !self.authorities.is_empty() {
            return Err(unusable(AUTHORITY, "Android trusts no other than those of the system"));
        }
        let mut authorities = Vec::new();
        for pem in &self.authorities {
            let found = certificates(pem).map_err(|reason| unusable(AUTHORITY, reason))?;
            for certificate in &found {
                let added = RootCertStore::empty().add(certificate.clone());
                added.map_err(|error| unusable(AUTHORITY, error))?;
            }
            authorities.extend(found);
        }
        Ok(authorities)
    }
}

/// All certificates of a PEM text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("there is no certificate in it, or it is not PEM".to_owned());
    }
    Ok(found)
}

fn unusable(setting: &str, reason: impl ToString) -> Error {
    Error::InvalidSetting { setting: setting.to_owned(), reason: reason.to_string() }
}

/// Whether the bytes that were received are not TLS at all.
pub(crate) fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidMessage(_));
    }
    // It is wrapped in errors that report the inner error's source as their own.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_no_tls(inner))
}

const AUTHORITY: &str = "the CA certificate";
const CLIENT: &str = "the client certificate";

/// Trusts what the system trusts, and further authorities.
///
/// The certificates of the system are read when they are first needed. That takes a while, and a client that
/// uses only `http` works on a system without any.
#[derive(Debug)]
struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    verifier: OnceLock<Result<Verifier, rustls::Error>>,
}

impl Trust {
    fn new(authorities: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Self {
        Self { authorities, provider, verifier: OnceLock::new() }
    }

    fn verifier(&self) -> Result<&Verifier, rustls::Error> {
        let verifier = self
            .verifier
            .get_or_init(|| verifier(self.authorities.clone(), Arc::clone(&self.provider)));
        verifier.as_ref().map_err(Clone::clone)
    }
}

#[cfg(not(target_os = "android"))]
fn verifier(
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    Verifier::new_with_extra_roots(authorities, provider)
}

/// Android supports no further authorities, which is an error when the client is built.
#[cfg(target_os = "android")]
fn verifier(
    _: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    Verifier::new(provider)
}

/// Whether the only problem is that the server uses the certificate of an authority as its own, such as a
/// self-signed one made by `openssl req -x509`. Its dates were checked before. If this very certificate is
/// trusted, only its name is left to compare.
fn is_of_authority(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(error)) => {
            error.to_string().contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.verifier()?;
        let verified =
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(error) if is_of_authority(&error) && self.authorities.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

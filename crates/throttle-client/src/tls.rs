//! What the client trusts and shows when it speaks `https`.
//!
//! The configuration of rustls is handed to the HTTP library ready-made. That one would take the provider of
//! cryptography from a variable of the whole process, which is the program's to set and not ours.

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

/// What there is besides the certificates that the system trusts, as PEM.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    /// Whose servers are trusted.
    pub(crate) authorities: Vec<Vec<u8>>,
    /// Who the client is: a chain of certificates and a key.
    pub(crate) client: Option<Vec<u8>>,
}

impl Certificates {
    pub(crate) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.client.is_none()
    }

    /// The configuration that trusts and shows them.
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

/// All certificates in a PEM, at least one.
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

/// Whether what was received is nothing that a server for `https` says.
pub(crate) fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidMessage(_));
    }
    // It comes wrapped in errors that have its source for their own.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_no_tls(inner))
}

const AUTHORITY: &str = "the CA certificate";
const CLIENT: &str = "the client certificate";

/// Trusts what the system trusts, and some authorities besides.
///
/// The certificates of the system are read when they are first needed: that takes a while, and a client that
/// speaks only `http` does not need them, nor that there are any.
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

/// The system trusts nobody else here, which is told when the client is built.
#[cfg(target_os = "android")]
fn verifier(
    _: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    Verifier::new(provider)
}

/// Whether nothing is wrong but that the server shows the certificate of an authority as its own, as one is
/// that `openssl req -x509` makes. Its dates were looked at before. If this very certificate is trusted, then
/// only its name is left to compare.
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

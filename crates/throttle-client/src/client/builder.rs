//! Settings of a client.

use std::{error::Error as _, fmt, path::Path, sync::Arc, time::Duration};

use reqwest::{
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use throttle_wire::PROBLEM_JSON;

use super::ClientInner;
#[cfg(feature = "tls")]
use crate::tls::Certificates;
use crate::{
    Client, Error, RetryPolicy, endpoint::Proxies, failover::ServerUrls, server_url::ServerUrl,
    transport::Transport,
};

/// Builds a [`Client`].
///
/// ```
/// use std::time::Duration;
/// use throttle_client::{Client, RetryPolicy};
///
/// let throttle = Client::builder("http://localhost:8000/throttle")
///     .bearer_token("secret")
///     .header("x-team", "billing")
///     .timeout(Duration::from_secs(3))
///     .retry(RetryPolicy { attempts: 3, ..RetryPolicy::default() })
///     .build()?;
/// # Ok::<(), throttle_client::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientBuilder {
    urls: Vec<String>,
    http: Option<reqwest::Client>,
    headers: Vec<(String, Vec<u8>)>,
    bearer_token: Option<String>,
    #[cfg(feature = "tls")]
    certificates: Certificates,
    timeout: Duration,
    retry: RetryPolicy,
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            urls: vec![url.to_owned()],
            http: None,
            headers: Vec::new(),
            bearer_token: None,
            #[cfg(feature = "tls")]
            certificates: Certificates::default(),
            timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
        }
    }

    /// Adds another URL of the server: a second address, or another proxy. It may also be a standby server
    /// that takes over when the first one is gone. It must never be a server that serves the same semaphores
    /// at the same time, because both would grant them.
    ///
    /// When a request gets no answer at one URL, it is repeated at the next one if it may be repeated, and
    /// later requests go there. A busy server (429, 503) has answered, so it is asked again.
    ///
    /// A user name and a password in a URL are sent to this URL only; [headers](Self::header) are sent to
    /// all.
    #[must_use]
    pub fn or_url(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Sends requests by your own HTTP client, with its TLS, proxies and connection pool. A server at a
    /// socket in the file system is not reached by it, because such a server needs a client of its own.
    ///
    /// Start from [`http_client_builder`] to change single settings. If your client follows redirects itself,
    /// it passes on what you add by [`header`](Self::header), as `reqwest` does.
    #[must_use]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.http = Some(client);
        self
    }

    /// Adds a header to every request. It replaces a header of the same name.
    ///
    /// It is sent to all URLs of the client, but not to other servers to which one of them redirects. No log
    /// and no error shows its value.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds `Authorization: Bearer` with this token to every request, like a [`header`](Self::header).
    #[must_use]
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        self.bearer_token = Some(token.into());
        self
    }

    /// Trusts servers with certificates of these authorities, in addition to those that the system trusts.
    /// `pem` has one or more certificates. It may be the server's own certificate, if that is self-signed.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.authorities.push(pem.into());
        self
    }

    /// Sets the certificate for servers that ask for one. `pem` has the certificate, its intermediate
    /// certificates, and the private key.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn client_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some(pem.into());
        self
    }

    /// How long each attempt of a request may take, from connecting to the end of the answer. A request that
    /// waits for a lock may take `block_for` in addition. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often and for how long failed requests are repeated.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Builds the client. It connects with its first request.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidUrl`], also for `https` without the feature `tls` and without an [HTTP
    ///   client](Self::http_client) of your own.
    /// - [`Error::InvalidSetting`]
    pub fn build(self) -> Result<Client, Error> {
        let proxies = match self.http {
            Some(_) => Proxies::unknown(),
            None => Proxies::of_environment(),
        };
        let urls = ServerUrls::parse(self.urls.iter().map(String::as_str), &proxies)?;
        let headers = self.all_headers()?;
        let network = self.network(&urls)?;
        let client = |server: &ServerUrl| match server.socket() {
            Some(socket) => by_socket(http_client_builder(), socket).build(),
            None => Ok(network.clone()),
        };
        let http = urls.iter().map(client).collect::<Result<_, _>>().map_err(unusable)?;
        let transport = Arc::new(Transport { http, urls, headers, proxies });
        let Self { timeout, retry, .. } = self;
        Ok(Client { inner: Arc::new(ClientInner { transport, timeout, retry }) })
    }

    fn all_headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(PROBLEM_JSON))]);
        for (name, value) in &self.headers {
            let setting = || format!("the header {name:?}");
            let name = HeaderName::from_bytes(name.as_bytes());
            let name = name.map_err(|error| invalid(setting(), error.to_string()))?;
            headers.insert(name, sensitive(value, setting)?);
        }
        if let Some(token) = &self.bearer_token {
            let value = format!("Bearer {token}");
            let value = sensitive(value.as_bytes(), || "the bearer token".to_owned())?;
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    /// The HTTP client for all servers that are not at a socket in the file system.
    fn network(&self, urls: &ServerUrls) -> Result<reqwest::Client, Error> {
        #[cfg(feature = "tls")]
        if self.http.is_some() && !self.certificates.is_empty() {
            let reason = "the HTTP client of your own has its own".to_owned();
            return Err(invalid("a certificate".to_owned(), reason));
        }
        if let Some(http) = &self.http {
            return Ok(http.clone());
        }
        #[cfg(feature = "tls")]
        let builder = http_client_builder().tls_backend_preconfigured(self.certificates.config()?);
        #[cfg(not(feature = "tls"))]
        let builder = http_client_builder();
        if cfg!(not(feature = "tls"))
            && let Some(server) = urls.iter().find(|server| server.is_https())
        {
            let reason = "`https` needs the feature `tls` of throttle-client".to_owned();
            return Err(Error::InvalidUrl { url: server.endpoint().url().to_owned(), reason });
        }
        builder.build().map_err(unusable)
    }
}

/// The settings of the default HTTP client, as a start for [one of your own](ClientBuilder::http_client).
///
/// It does not follow redirects, because the [`Client`] does, and it waits at most three seconds for a
/// connection. With the feature `tls` it has a complete rustls configuration that trusts what the system
/// trusts. The builder's methods about certificates do not change that one. Use
/// [`ClientBuilder::ca_certificates`] and [`ClientBuilder::client_certificate`], or another
/// `tls_backend_preconfigured`.
pub fn http_client_builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .redirect(redirect::Policy::none())
        .user_agent(concat!("throttle-client/", env!("CARGO_PKG_VERSION")));
    #[cfg(feature = "tls")]
    if let Ok(config) = Certificates::default().config() {
        return builder.tls_backend_preconfigured(config);
    }
    builder
}

/// A header value that is never logged.
fn sensitive(value: &[u8], setting: impl Fn() -> String) -> Result<HeaderValue, Error> {
    let reason = "its value has a character that no header can have, such as a line break";
    let value = HeaderValue::from_bytes(value);
    let mut value = value.map_err(|_| invalid(setting(), reason.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn invalid(setting: String, reason: String) -> Error {
    Error::InvalidSetting { setting, reason }
}

fn unusable(error: reqwest::Error) -> Error {
    let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    invalid("the HTTP client".to_owned(), reason)
}

#[cfg(unix)]
fn by_socket(client: reqwest::ClientBuilder, socket: &Path) -> reqwest::ClientBuilder {
    client.unix_socket(socket)
}

/// URLs with a socket are refused on such a system.
#[cfg(not(unix))]
fn by_socket(client: reqwest::ClientBuilder, _: &Path) -> reqwest::ClientBuilder {
    client
}

/// Omits what may be secret: the URLs, the headers and the certificates.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_added_by_the_program_are_secret() {
        let builder =
            Client::builder("http://host").header("x-key", "secret").bearer_token("secret");
        let headers = builder.all_headers().unwrap();
        let is_secret = |name| HeaderValue::is_sensitive(&headers[name]);
        assert!(is_secret("x-key") && is_secret("authorization") && !is_secret("accept"));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn https_is_refused_without_the_feature_tls_when_the_client_is_built() {
        let builder = || Client::builder("http://host").or_url("https://ann:secret@host/throttle/");
        let Err(Error::InvalidUrl { url, reason }) = builder().build() else {
            panic!("the client was built")
        };
        assert_eq!(url, "https://host/throttle");
        assert_eq!(reason, "`https` needs the feature `tls` of throttle-client");

        // The program's own client may support `https`.
        let own = http_client_builder().build().unwrap();
        builder().http_client(own).build().unwrap();
    }
}

//! What a client is made of.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use reqwest::{
    header::{ACCEPT, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use throttle_wire::PROBLEM_JSON;

use crate::{
    Client, Error, RetryPolicy,
    base::{Base, Bases},
    client::Shared,
};

/// Builds a [`Client`].
///
/// ```
/// use std::time::Duration;
/// use throttle_client::{
///     Client, RetryPolicy,
///     reqwest::header::{AUTHORIZATION, HeaderValue},
/// };
///
/// let mut token = HeaderValue::from_static("Bearer secret");
/// token.set_sensitive(true); // Keeps it out of logs.
/// let throttle = Client::builder("http://localhost:8000/throttle")
///     .header(AUTHORIZATION, token)
///     .timeout(Duration::from_secs(3))
///     .retry(RetryPolicy { attempts: 3, ..RetryPolicy::default() })
///     .build()?;
/// # Ok::<(), throttle_client::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientBuilder {
    urls: Vec<String>,
    http: Option<reqwest::Client>,
    headers: HeaderMap,
    timeout: Duration,
    retry: RetryPolicy,
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(PROBLEM_JSON))]);
        Self {
            urls: vec![url.to_owned()],
            http: None,
            headers,
            timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
        }
    }

    /// Adds another way to the server: a second address, or another proxy. It may also be another
    /// server that takes over when the first one is gone; never one that serves the same semaphores
    /// at the same time, for both would grant them.
    ///
    /// When a request fails on one way, those that follow take the next one. Whatever may be repeated
    /// is repeated there.
    #[must_use]
    pub fn or_url(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Sends requests by an HTTP client of your own, with its TLS, proxies and pool of connections; but not
    /// those to a socket in the file system, for which it takes a client that knows the socket.
    ///
    /// The default one follows no redirects, for they would hide that the URL is wrong, and waits
    /// at most three seconds for a connection.
    #[must_use]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.http = Some(client);
        self
    }

    /// Adds a header to every request, in place of any of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// How long each attempt of a request may take, from connecting to the end of the answer. One
    /// that waits for a lock has `block_for` in addition. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often and for how long requests that failed are repeated.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The client. It connects when it is first used.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidUrl`]
    /// - [`Error::InvalidSetting`]
    pub fn build(self) -> Result<Client, Error> {
        let bases = Bases::parse(self.urls.iter().map(String::as_str))?;
        let network = match self.http {
            Some(http) => http,
            None => http_client_builder().build().map_err(unusable)?,
        };
        let client = |base: &Base| match base.socket() {
            Some(socket) => by_socket(http_client_builder(), socket).build(),
            None => Ok(network.clone()),
        };
        let http = bases.iter().map(client).collect::<Result<_, _>>();
        let http = http.map_err(unusable)?;
        let Self { headers, timeout, retry, .. } = self;
        Ok(Client { shared: Arc::new(Shared { http, bases, headers, timeout, retry }) })
    }
}

fn unusable(error: reqwest::Error) -> Error {
    let reason = error.to_string();
    Error::InvalidSetting { setting: "the HTTP client".to_owned(), reason }
}

/// What the default HTTP client is built from, to make [one of your own](ClientBuilder::http_client)
/// that differs in some point only.
///
/// With the feature `tls` it sees to it that rustls has a provider of cryptography, without which
/// `reqwest` panics: ring, unless the program has chosen another one before.
pub fn http_client_builder() -> reqwest::ClientBuilder {
    #[cfg(feature = "tls")]
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .redirect(redirect::Policy::none())
        .user_agent(concat!("throttle-client/", env!("CARGO_PKG_VERSION")))
}

#[cfg(unix)]
fn by_socket(client: reqwest::ClientBuilder, socket: &Path) -> reqwest::ClientBuilder {
    client.unix_socket(socket)
}

/// Bases have no sockets here.
#[cfg(not(unix))]
fn by_socket(client: reqwest::ClientBuilder, _: &Path) -> reqwest::ClientBuilder {
    client
}

/// What may be secret is left out: the URL and the headers.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

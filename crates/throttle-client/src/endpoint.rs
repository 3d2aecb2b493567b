//! The server and the proxy of a request, as errors name them.

use std::{fmt, sync::Arc};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// Where a request was sent: the URL of a server, and the proxy on the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint(Arc<Hop>);

#[derive(Debug, Eq, PartialEq)]
struct Hop {
    url: String,
    proxy: Option<String>,
    redirected_by: Option<Endpoint>,
}

impl Endpoint {
    pub(crate) fn new(url: String, proxy: Option<String>) -> Self {
        Self(Arc::new(Hop { url, proxy, redirected_by: None }))
    }

    /// The server of `url`, to which this one redirected.
    pub(crate) fn redirects_to(&self, url: &Url, proxy: Option<String>) -> Self {
        let url = url.origin().ascii_serialization();
        Self(Arc::new(Hop { url, proxy, redirected_by: Some(self.clone()) }))
    }

    /// The URL of the server, without the route and without credentials. For a server at a socket in the file
    /// system, for example `unix:/run/throttle.sock`.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The proxy that the environment sets for this URL by `http_proxy` and similar variables, without
    /// credentials.
    pub fn proxy(&self) -> Option<&str> {
        self.0.proxy.as_deref()
    }

    /// The endpoint that redirected the request to this one.
    pub fn redirected_by(&self) -> Option<&Self> {
        self.0.redirected_by.as_ref()
    }
}

/// `http://host:8000 through the proxy http://proxy:3128, redirected by http://other:8000`
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url())?;
        if let Some(proxy) = self.proxy() {
            write!(f, " through the proxy {proxy}")?;
        }
        if let Some(from) = self.redirected_by() {
            write!(f, ", redirected by {}", from.url())?;
        }
        Ok(())
    }
}

/// Finds the proxy of a URL.
#[derive(Clone, Default)]
pub(crate) struct Proxies(Option<Arc<Matcher>>);

impl Proxies {
    /// The proxies that the environment sets. The HTTP library reads them in the same way.
    pub(crate) fn of_environment() -> Self {
        Self(Some(Arc::new(Matcher::from_system())))
    }

    /// Proxies of an HTTP client whose settings are not known here.
    pub(crate) fn unknown() -> Self {
        Self::default()
    }

    /// The proxy of a URL, without credentials.
    pub(crate) fn proxy_of(&self, url: &Url) -> Option<String> {
        let proxy = self.0.as_ref()?.intercept(&url.as_str().parse().ok()?)?;
        Some(proxy.uri().to_string().trim_end_matches('/').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    #[test]
    fn the_proxy_of_a_url_depends_on_its_scheme_unless_the_host_is_excepted() {
        let matcher = Matcher::builder()
            .http("http://ann:secret@proxy:3128")
            .https("secure:3129")
            .no("localhost, .internal, 10.0.0.0/8");
        let proxies = Proxies(Some(Arc::new(matcher.build())));
        for (asked, expected) in [
            ("http://host:8000/", Some("http://proxy:3128")),
            ("https://host/", Some("http://secure:3129")),
            ("http://localhost:8000/", None),
            ("http://throttle.internal/", None),
            ("http://10.1.2.3/", None),
        ] {
            assert_eq!(proxies.proxy_of(&url(asked)).as_deref(), expected, "{asked}");
            assert_eq!(Proxies::unknown().proxy_of(&url(asked)), None);
        }
    }

    #[test]
    fn an_endpoint_names_the_server_the_proxy_and_the_redirecting_server() {
        let first = Endpoint::new("http://a/throttle".to_owned(), None);
        assert_eq!(first.to_string(), "http://a/throttle");
        let proxy = Some("http://p:1".to_owned());
        let second = first.redirects_to(&url("https://b:2/throttle/health"), proxy);
        assert_eq!(
            second.to_string(),
            "https://b:2 through the proxy http://p:1, redirected by http://a/throttle"
        );
        assert_eq!((second.url(), second.proxy()), ("https://b:2", Some("http://p:1")));
        assert_eq!(second.redirected_by(), Some(&first));
    }
}

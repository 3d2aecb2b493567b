//! Where requests go, as errors name it.

use std::{fmt, sync::Arc};

/// Where a request was sent: a URL of a server, and what is in between.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint(Arc<Hop>);

#[derive(Debug, Eq, PartialEq)]
struct Hop {
    url: String,
    proxy: Option<String>,
}

impl Endpoint {
    pub(crate) fn new(url: String, proxy: Option<String>) -> Self {
        Self(Arc::new(Hop { url, proxy }))
    }

    /// The URL that was asked, without the route and without credentials; for a server at a socket in the
    /// file system such as `unix:/run/throttle.sock`.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The proxy that the environment names for this URL by `http_proxy` and the like, without
    /// credentials.
    pub fn proxy(&self) -> Option<&str> {
        self.0.proxy.as_deref()
    }
}

/// `http://host:8000 through the proxy http://proxy:3128`
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url())?;
        if let Some(proxy) = self.proxy() {
            write!(f, " through the proxy {proxy}")?;
        }
        Ok(())
    }
}

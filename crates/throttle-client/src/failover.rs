//! Decides which of several base URLs of the server is used.
//!
//! URLs of routes are made for the first base URL, and rewritten to the one in use when they are sent. After
//! a request without an answer the next base URL is used.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::Url;

use crate::{Error, endpoint::Proxies, retry::Failure, server_url::ServerUrl};

/// The base URLs of a server, at least one, and which of them is in use. Clones share that choice.
///
/// `current` only grows, so an unchanged value means that no failover happened in between.
#[derive(Clone, Debug)]
pub(crate) struct ServerUrls {
    all: Vec<ServerUrl>,
    current: Arc<AtomicUsize>,
}

impl ServerUrls {
    pub(crate) fn parse<'a>(
        urls: impl IntoIterator<Item = &'a str>,
        proxies: &Proxies,
    ) -> Result<Self, Error> {
        let all = urls.into_iter().map(|url| ServerUrl::parse(url, proxies));
        let all = all.collect::<Result<_, _>>()?;
        Ok(Self { all, current: Arc::default() })
    }

    /// The base URL for which the URLs of routes are made.
    pub(crate) fn first(&self) -> &ServerUrl {
        &self.all[0]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ServerUrl> {
        self.all.iter()
    }

    /// The index of the base URL in use. It also grows from the last URL to the first.
    pub(crate) fn current_index(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// The position in the list of the base URL with this index.
    pub(crate) fn position(&self, index: usize) -> usize {
        index % self.all.len()
    }

    /// Rewrites a URL that was made for the first base URL to the one with this index.
    pub(crate) fn rewrite_to(&self, url: &mut Url, index: usize) -> &ServerUrl {
        let server = &self.all[self.position(index)];
        let route = self.first().route_of(url);
        let mut other = server.join(route);
        other.set_query(url.query());
        *url = other;
        server
    }

    /// Uses the next base URL from now on, unless a failover from `index` has already happened.
    pub(crate) fn fail_over(&self, index: usize) {
        if self.all.len() == 1 {
            return;
        }
        let next = index.wrapping_add(1);
        // An error means that another request has already failed over.
        let _ = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Whether a failed request is to be followed by a failover: it got no answer. A busy server has answered.
pub(crate) fn is_reason_to_fail_over(error: &Error) -> bool {
    matches!(error.failure(), Some(Failure::MaybeExecuted | Failure::NotSent))
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::path::Path;

    use super::*;

    fn parse<const N: usize>(urls: [&str; N]) -> Result<ServerUrls, Error> {
        ServerUrls::parse(urls, &Proxies::unknown())
    }

    #[test]
    fn a_url_is_rewritten_to_another_base_url_with_its_names_and_its_query() {
        let urls = parse(["http://a:1/x", "https://b/y/z/"]).unwrap();
        let mut made = urls.first().join_name("peers/42", "a/b?").unwrap();
        made.set_query(Some("block_for=1s"));
        for (index, expected) in [
            (0, "http://a:1/x/peers/42/a%2Fb%3F?block_for=1s"),
            (1, "https://b/y/z/peers/42/a%2Fb%3F?block_for=1s"),
        ] {
            let mut url = made.clone();
            urls.rewrite_to(&mut url, index);
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn requests_that_fail_together_cause_one_failover() {
        let urls = parse(["http://a", "http://b", "http://c"]).unwrap();
        urls.fail_over(0);
        urls.fail_over(0);
        assert_eq!(urls.current_index(), 1);
        urls.fail_over(1);
        let clone = urls.clone();
        clone.fail_over(2);
        assert_eq!(urls.current_index(), 3, "the first URL again, but with a new index");
        let mut url = urls.first().join("health");
        urls.rewrite_to(&mut url, 3);
        assert_eq!(url.as_str(), "http://a/health");
        assert!(parse(["http://a", "b"]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_server_may_be_at_a_socket_in_the_file_system() {
        let urls = parse(["unix:/run/t.sock", "http://b/x"]).unwrap();
        let sockets = urls.iter().map(ServerUrl::socket).collect::<Vec<_>>();
        assert_eq!(sockets, [Some(Path::new("/run/t.sock")), None]);
        let mut url = urls.first().join("health");
        assert_eq!(url.as_str(), "http://localhost/health");
        assert_eq!(urls.rewrite_to(&mut url, 1).endpoint().url(), "http://b/x");
        assert_eq!(url.as_str(), "http://b/x/health");
        assert!(format!("{:?}", urls.first()).contains("unix:/run/t.sock"));
    }
}

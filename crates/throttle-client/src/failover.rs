//! Which of several base URLs of the server is in use.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::Url;

use crate::{Error, endpoint::Proxies, server_url::ServerUrl};

/// The base URLs of a server, at least one, and which of them is in use. Clones use the same one.
///
/// They are used one after the other, and counted on: whoever finds the same index again knows that no
/// other URL was used in between.
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

    /// The one for which URLs are made.
    pub(crate) fn first(&self) -> &ServerUrl {
        &self.all[0]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ServerUrl> {
        self.all.iter()
    }

    /// The index of the one in use. It grows, also from the last base to the first.
    pub(crate) fn current_index(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Where in the list the base of an index is.
    pub(crate) fn position(&self, index: usize) -> usize {
        index % self.all.len()
    }

    /// Turns a URL that was made for the first base into one of the base of an index.
    pub(crate) fn rewrite_to(&self, url: &mut Url, index: usize) -> &ServerUrl {
        let server = &self.all[self.position(index)];
        let route = self.first().route_of(url);
        let mut other = server.join(route);
        other.set_query(url.query());
        *url = other;
        server
    }

    /// Uses the next one from now on, unless somebody else did so since `index` was in use.
    pub(crate) fn fail_over(&self, index: usize) {
        if self.all.len() == 1 {
            return;
        }
        let next = index.wrapping_add(1);
        // If it fails, another request has gone on to the next one already.
        let _ = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
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
    fn a_url_can_be_changed_to_another_base_with_its_names_and_its_query() {
        let urls = parse(["http://a:1/x", "https://b/y/z/"]).unwrap();
        let mut made = urls.first().join_name("peers/42", "a/b?").unwrap();
        made.set_query(Some("block_for=1s"));
        for (number, expected) in [
            (0, "http://a:1/x/peers/42/a%2Fb%3F?block_for=1s"),
            (1, "https://b/y/z/peers/42/a%2Fb%3F?block_for=1s"),
        ] {
            let mut url = made.clone();
            urls.rewrite_to(&mut url, number);
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn the_next_base_is_used_once_however_many_requests_fail() {
        let urls = parse(["http://a", "http://b", "http://c"]).unwrap();
        urls.fail_over(0);
        urls.fail_over(0);
        assert_eq!(urls.current_index(), 1);
        urls.fail_over(1);
        let clone = urls.clone();
        clone.fail_over(2);
        assert_eq!(
            urls.current_index(),
            3,
            "the first one again, and not as if nothing had happened"
        );
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

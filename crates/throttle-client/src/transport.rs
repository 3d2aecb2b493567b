//! Sends one attempt of a request to the base URL in use, and reads its answer completely, within the timeout that
//! [`Client`](crate::Client) chooses.
//!
//! Redirects that keep the method and the body (307 and 308) are followed here. The HTTP library would pass
//! on headers of the program to other servers, because it removes only those that it knows to be secret.
//!
//! After an attempt without an answer the next base URL is used. An answer that says "later" (429, 503) is an
//! answer: another server must not be asked because this one is busy.

use std::time::Duration;

use reqwest::{
    Method, Request, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, LOCATION},
};

use crate::{
    Error,
    answer::Answer,
    clock::Stopwatch,
    endpoint::Proxies,
    failover::{ServerUrls, is_reason_to_fail_over},
    server_url::ServerUrl,
};

pub(crate) struct Transport {
    /// One client for each base URL.
    pub(crate) http: Vec<reqwest::Client>,
    pub(crate) urls: ServerUrls,
    /// Headers of every request to a base URL.
    pub(crate) headers: HeaderMap,
    pub(crate) proxies: Proxies,
}

impl Transport {
    /// A request to the first base URL.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http[0].request(method, url).headers(self.headers.clone())
    }

    /// Rewrites a request for the first base URL to the one in use, sends it, and reads the answer. All of
    /// that must be done within `timeout`.
    pub(crate) async fn send<T>(
        &self,
        mut request: Request,
        timeout: Duration,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let index = self.urls.current_index();
        let server = self.urls.rewrite_to(request.url_mut(), index);
        let http = &self.http[self.urls.position(index)];
        let request = with_credentials(http, request, server);
        let answer = self.follow(http, server, request, timeout).await;
        let answer = answer.and_then(|answer| read(&answer));
        if let Err(error) = &answer
            && is_reason_to_fail_over(error)
        {
            self.urls.fail_over(index);
        }
        answer
    }

    /// Sends a request, and follows redirects.
    async fn follow(
        &self,
        http: &reqwest::Client,
        server: &ServerUrl,
        mut request: Request,
        timeout: Duration,
    ) -> Result<Answer, Error> {
        let stopwatch = Stopwatch::start();
        let mut endpoint = server.endpoint().clone();
        let mut redirects = 0;
        loop {
            *request.timeout_mut() = Some(timeout.saturating_sub(stopwatch.elapsed()));
            let sent = request.try_clone().expect("a body of JSON can be cloned");
            let response = http.execute(sent).await;
            let response = response.map_err(|error| Error::of_request(error, &endpoint))?;
            let target = redirect_target(&response, request.url());
            match target.filter(|_| redirects < MOST_REDIRECTS) {
                Some(url) if url.origin() == request.url().origin() => *request.url_mut() = url,
                // Another server cannot be reached by the socket.
                Some(url) if server.socket().is_none() => {
                    endpoint = endpoint.redirects_to(&url, self.proxies.proxy_of(&url));
                    self.remove_own_headers(request.headers_mut());
                    *request.url_mut() = url;
                }
                _ => return Answer::read(response, &endpoint).await,
            }
            redirects += 1;
        }
    }

    /// Removes all headers that the program has added, because each of them may be secret.
    fn remove_own_headers(&self, headers: &mut HeaderMap) {
        headers.remove(AUTHORIZATION);
        for name in self.headers.keys().filter(|&name| name != ACCEPT) {
            headers.remove(name);
        }
    }
}

/// Adds the credentials of the server's URL, unless the request has others.
fn with_credentials(http: &reqwest::Client, request: Request, server: &ServerUrl) -> Request {
    match server.credentials() {
        Some((user, password)) if !request.headers().contains_key(AUTHORIZATION) => {
            let request = RequestBuilder::from_parts(http.clone(), request);
            request.basic_auth(user, password).build().expect("base64 fits into a header")
        }
        _ => request,
    }
}

/// The URL to which an answer redirects a request for `url`, if it is to be followed.
fn redirect_target(response: &Response, url: &Url) -> Option<Url> {
    let is_followed = matches!(
        response.status(),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| is_followed)?;
    let mut target = url.join(location.to_str().ok()?).ok()?;
    if !matches!(target.scheme(), "http" | "https") {
        return None;
    }
    // A server must not choose the credentials for another one.
    target.set_username("").and_then(|()| target.set_password(None)).ok()?;
    Some(target)
}

/// The limit of browsers and `reqwest`.
const MOST_REDIRECTS: u32 = 10;

#[cfg(test)]
mod tests {
    use axum::http;

    use super::*;

    #[test]
    fn a_redirect_leads_to_a_url_without_credentials_or_nowhere() {
        let url = Url::parse("https://host:1/a/health").unwrap();
        for (status, location, expected) in [
            (307, "/b", Some("https://host:1/b")),
            (308, "b?c=d", Some("https://host:1/a/b?c=d")),
            (308, "//other/b", Some("https://other/b")),
            (307, "http://host:1/", Some("http://host:1/")),
            (307, "http://ann:secret@other/b", Some("http://other/b")),
            (307, "ftp://other/", None),
            (307, "mailto:ann@other", None),
            (307, "unix:/run/throttle.sock", None),
            (308, "http://", None),
            (308, "/\u{e4}", None),
            (301, "/b", None),
            (302, "/b", None),
            (303, "/b", None),
            (200, "/b", None),
        ] {
            let response = http::Response::builder().status(status);
            let response = response.header(LOCATION, location.as_bytes()).body("").unwrap();
            let target = redirect_target(&response.into(), &url);
            assert_eq!(target.as_ref().map(Url::as_str), expected, "{status} {location}");
        }
        let response = http::Response::builder().status(308).body("").unwrap();
        assert_eq!(redirect_target(&response.into(), &url), None);
    }
}

//! Writes requests and parses answers: only as much of HTTP/1.1 as it takes to load a server.

use std::io::Write as _;

use anyhow::{Context as _, bail, ensure};

/// A request as bytes, in a buffer that is reused.
#[derive(Debug, Default)]
pub(crate) struct Request(Vec<u8>);

/// An answer of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// If it came in chunks, as it came: with the lengths of the chunks.
    pub(crate) body: &'a [u8],
}

impl Request {
    pub(crate) fn new_peer(&mut self, expires_in: &str) {
        self.with_json("POST", format_args!("/new_peer"), &lease(expires_in));
    }

    /// Creates a peer with this number of labels. Names and values have `length` characters each.
    pub(crate) fn new_peer_with_labels(&mut self, expires_in: &str, labels: usize, length: usize) {
        let value = "x".repeat(length);
        let labels = (0..labels).map(|number| (format!("{number:0length$}"), value.clone().into()));
        let labels: serde_json::Map<_, _> = labels.collect();
        let body = serde_json::json!({"expires_in": expires_in, "labels": labels});
        self.with_json("POST", format_args!("/new_peer"), &body.to_string());
    }

    pub(crate) fn heartbeat(&mut self, peer: u64, expires_in: &str) {
        self.with_json("PUT", format_args!("/peers/{peer}"), &lease(expires_in));
    }

    pub(crate) fn remove_peer(&mut self, peer: u64) {
        self.without_body("DELETE", format_args!("/peers/{peer}"));
    }

    /// Acquires one of `semaphore`. `query` may have a time to wait.
    pub(crate) fn acquire(&mut self, peer: u64, semaphore: &str, query: &str) {
        self.with_json("PUT", format_args!("/peers/{peer}/{semaphore}{query}"), "1");
    }

    pub(crate) fn release(&mut self, peer: u64, semaphore: &str) {
        self.without_body("DELETE", format_args!("/peers/{peer}/{semaphore}"));
    }

    pub(crate) fn health(&mut self) {
        self.without_body("GET", format_args!("/health"));
    }

    /// Restores a peer that holds one of each of these semaphores.
    pub(crate) fn restore(
        &mut self,
        peer: u64,
        expires_in: &str,
        semaphores: impl Iterator<Item = String>,
    ) {
        let locks: serde_json::Map<_, _> = semaphores.map(|name| (name, 1.into())).collect();
        let body =
            serde_json::json!({"peer_id": peer, "expires_in": expires_in, "acquired": locks});
        self.with_json("POST", format_args!("/restore"), &body.to_string());
    }

    pub(crate) fn remainder(&mut self, semaphore: &str) {
        self.without_body("GET", format_args!("/remainder?semaphore={semaphore}"));
    }

    /// Makes the server read its configuration again.
    pub(crate) fn reload(&mut self) {
        self.with_json("POST", format_args!("/admin/reload"), "{}");
    }

    pub(crate) fn get(&mut self, path: &str) {
        self.without_body("GET", format_args!("{path}"));
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) {
        self.with_json("POST", format_args!("{path}"), body);
    }

    /// A request with a long answer, after which the server closes the connection.
    pub(crate) fn get_and_close(&mut self, path: &str) {
        self.write(format_args!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn without_body(&mut self, method: &str, path: std::fmt::Arguments<'_>) {
        self.write(format_args!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    }

    fn with_json(&mut self, method: &str, path: std::fmt::Arguments<'_>, body: &str) {
        self.write(format_args!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.clear();
        self.0.write_fmt(text).expect("memory takes every byte");
    }
}

impl<'a> Answer<'a> {
    /// Parses an answer. Returns it with its length in bytes, or `None` if bytes are missing.
    pub(crate) fn parse(bytes: &'a [u8]) -> anyhow::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(start) =
            head.parse(bytes).context("the server does not speak HTTP")?
        else {
            return Ok(None);
        };
        let status = head.code.context("an answer has no status")?;
        let header = |name| head.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
        let length = if let Some(length) = header("content-length") {
            std::str::from_utf8(length.value)?.parse()?
        } else if header("transfer-encoding").is_some_and(|it| it.value == b"chunked") {
            let Some(length) = length_of_chunks(&bytes[start..])? else { return Ok(None) };
            length
        } else {
            bail!("an answer does not say how long it is")
        };
        let body = bytes.get(start..start + length);
        Ok(body.map(|body| (Self { status, body }, start + length)))
    }

    /// Fails unless the status is one of `statuses`.
    pub(crate) fn expect(self, statuses: &[u16]) -> anyhow::Result<Self> {
        let Self { status, body } = self;
        let body = String::from_utf8_lossy(body);
        ensure!(statuses.contains(&status), "the server answered {status}: {body}");
        Ok(self)
    }

    /// The body as an integer, such as the id of a new peer.
    pub(crate) fn integer(self) -> anyhow::Result<u64> {
        let text = std::str::from_utf8(self.body)?;
        text.parse().with_context(|| format!("the server answered no integer: {text}"))
    }
}

/// The length of a body in chunks without trailers, or `None` if bytes are missing.
fn length_of_chunks(body: &[u8]) -> anyhow::Result<Option<usize>> {
    let mut length = 0;
    loop {
        let Some(rest) = body.get(length..) else { return Ok(None) };
        let Ok(chunk) = httparse::parse_chunk_size(rest) else { bail!("a chunk has no length") };
        let httparse::Status::Complete((start, size)) = chunk else { return Ok(None) };
        length += start + usize::try_from(size)? + "\r\n".len();
        if size == 0 {
            return Ok(Some(length).filter(|length| body.len() >= *length));
        }
    }
}

fn lease(expires_in: &str) -> String {
    format!(r#"{{"expires_in":"{expires_in}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_length_of_its_body() {
        let mut request = Request::default();
        request.heartbeat(42, "5m");
        expect_test::expect![[r#"
            PUT /peers/42 HTTP/1.1
            host: localhost
            content-type: application/json
            content-length: 19

            {"expires_in":"5m"}"#]]
        .assert_eq(&String::from_utf8_lossy(request.bytes()).replace('\r', ""));
    }

    #[test]
    fn an_answer_is_parsed_when_it_is_complete_and_bytes_after_it_are_left_alone() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42HTTP/1.1 ";
        for length in 0..40 {
            assert!(Answer::parse(&bytes[..length]).unwrap().is_none(), "{length}");
        }
        let (answer, length) = Answer::parse(bytes).unwrap().unwrap();
        assert_eq!((answer.status, answer.integer().unwrap(), length), (200, 42, 40));
        assert!(answer.expect(&[202]).is_err());
    }

    #[test]
    fn an_answer_in_chunks_is_complete_with_the_last_chunk() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let bytes = format!("{head}3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n");
        for length in 0..bytes.len() {
            assert!(Answer::parse(&bytes.as_bytes()[..length]).unwrap().is_none(), "{length}");
        }
        let (answer, length) = Answer::parse(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!((answer.status, length), (200, bytes.len()));
        assert_eq!(answer.body, &bytes.as_bytes()[head.len()..]);
    }

    #[test]
    fn bytes_that_are_not_an_answer_are_an_error() {
        assert!(Answer::parse(b"SSH-2.0\r\n").is_err());
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let no_chunk = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n";
        assert!(Answer::parse(no_chunk).is_err());
    }
}

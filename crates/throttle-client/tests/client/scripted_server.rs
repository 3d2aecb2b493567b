//! A server that follows a script, and clients with short pauses.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, Response, StatusCode, header},
    serve::ListenerExt as _,
};
use futures_util::stream;
use throttle_client::{Client, ClientBuilder, RetryPolicy, http_client_builder, reqwest};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// The default policy with pauses that take no time.
pub(crate) const QUICK_RETRIES: RetryPolicy = RetryPolicy {
    attempts: 4,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(1),
    budget: Duration::from_secs(10),
};

/// How a scripted server reacts to a request.
pub(crate) enum Reaction {
    Answer(Response<Body>),
    /// Breaks the connection within the answer.
    Cut,
    /// Never answers.
    NoAnswer,
}

pub(crate) use Reaction::{Cut, NoAnswer};

/// An answer in plain text.
pub(crate) fn text(status: u16, body: &str) -> Reaction {
    answer(status, "text/plain; charset=utf-8", body)
}

/// An answer in JSON.
pub(crate) fn json(status: u16, body: &str) -> Reaction {
    answer(status, "application/json", body)
}

pub(crate) fn answer(status: u16, media_type: &str, body: &str) -> Reaction {
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, media_type);
    Reaction::Answer(answer.body(Body::from(body.to_owned())).unwrap())
}

impl Reaction {
    /// Adds a header to the answer.
    pub(crate) fn with(self, name: header::HeaderName, value: &str) -> Self {
        let Self::Answer(mut answer) = self else { panic!("only an answer has headers") };
        answer.headers_mut().insert(name, value.parse().unwrap());
        Self::Answer(answer)
    }

    pub(crate) async fn into_response(self) -> Response<Body> {
        match self {
            Self::Answer(answer) => answer,
            Self::Cut => {
                let broken = stream::iter([Err::<&[u8], _>(io::Error::other("cut"))]);
                Response::new(Body::from_stream(broken))
            }
            Self::NoAnswer => std::future::pending().await,
        }
    }
}

/// A request as the server received it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    /// Method, target and body, as far as they are not empty. The sequence number, which tests cannot
    /// predict, is shown as `N`.
    pub(crate) fn line(&self) -> String {
        let line = format!("{} {} {}", self.method, self.target, self.body);
        let line = match self.sequence() {
            Some(number) => line.replace(&number.to_string(), "N"),
            None => line,
        };
        line.trim_end().to_owned()
    }

    /// The sequence number, if there is one.
    pub(crate) fn sequence(&self) -> Option<u64> {
        let after = |text: &str, name| {
            let (_, rest) = text.split_once(name)?;
            let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
            Some(rest[..end].parse().expect("the sequence is a number"))
        };
        after(&self.target, "sequence=").or_else(|| after(&self.body, "\"sequence\":"))
    }

    /// The value of a parameter of the query, which must exist.
    pub(crate) fn duration(&self, parameter: &str) -> Duration {
        let url = reqwest::Url::parse(&format!("http://host{}", self.target)).unwrap();
        let value = url.query_pairs().find(|(name, _)| name == parameter).unwrap().1;
        humantime::parse_duration(&value).unwrap()
    }
}

/// Starts to serve `router`. Returns the address, and a counter of connections.
///
/// The server lives until the process ends, because a peer that a test leaves behind is removed when the
/// runtime of the test ends.
pub(crate) async fn serve(router: Router) -> (SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let serving = servers().spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        tokio::spawn(async { axum::serve(listener, router).await });
        address
    });
    (serving.await.unwrap(), connections)
}

/// The runtime of all servers.
fn servers() -> &'static Runtime {
    static SERVERS: OnceLock<Runtime> = OnceLock::new();
    SERVERS
        .get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
}

/// A server that reacts to each request as its script says.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    pub(crate) async fn start(script: impl IntoIterator<Item = Reaction>) -> Self {
        let script = Arc::new(Mutex::new(VecDeque::from_iter(script)));
        let received = Arc::new(Mutex::new(Vec::new()));
        let transcript = Arc::clone(&received);
        let react = async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            transcript.lock().unwrap().push(Received {
                method: parts.method,
                target: parts.uri.to_string(),
                headers: parts.headers,
                body: String::from_utf8(body.into()).unwrap(),
            });
            let reaction = script.lock().unwrap().pop_front();
            let over = || text(StatusCode::IM_A_TEAPOT.as_u16(), "The script is over.");
            reaction.unwrap_or_else(over).into_response().await
        };
        let (address, connections) = serve(Router::new().fallback(react)).await;
        Self { address, connections, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of this server with short pauses.
    pub(crate) fn client(&self) -> Client {
        client(&self.url()).build().unwrap()
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// All requests so far, one line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.received().iter().map(Received::line).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A client of the server at `url` that ignores the proxies of the environment.
pub(crate) fn client(url: &str) -> ClientBuilder {
    let http = http_client_builder().no_proxy().build().unwrap();
    Client::builder(url).http_client(http).retry(QUICK_RETRIES)
}

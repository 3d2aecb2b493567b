//! A proxy in front of the server that injects faults, by rules.
//!
//! It has two addresses. What comes to the first meets the faults of its rules; what comes to the second
//! is passed on, as behind a redirect. The first can refuse connections for a while, as the address of a
//! process that is not running does.

mod fault;
mod forward;
mod listen;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

pub use self::fault::{Fault, RequestKind, Rule};
use self::listen::Port;
use crate::server::Server;

/// A proxy in front of a server. It ends when it is dropped, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<ProxyState>,
    port: Port,
    /// Passes everything on.
    second: Port,
}

/// What all connections know.
#[derive(Debug)]
struct ProxyState {
    server: Server,
    rules: Mutex<Vec<Rule>>,
    faults: AtomicUsize,
    requests: AtomicUsize,
    /// Changes when rules are removed.
    cleared: watch::Sender<()>,
    /// Where redirects lead.
    second: SocketAddr,
}

impl Proxy {
    /// Starts a proxy on two free ports of this machine.
    ///
    /// # Errors
    ///
    /// The system has no free port.
    pub fn start(server: Server) -> io::Result<Self> {
        let (mut port, mut second) = (Port::reserve()?, Port::reserve()?);
        let shared = Arc::new(ProxyState {
            server,
            rules: Mutex::default(),
            faults: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            cleared: watch::channel(()).0,
            second: second.address(),
        });
        port.open(Arc::clone(&shared), true)?;
        second.open(Arc::clone(&shared), false)?;
        Ok(Self { shared, port, second })
    }

    /// The server behind the proxy.
    pub fn server(&self) -> &Server {
        &self.shared.server
    }

    /// Where the proxy listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Where redirects lead.
    pub fn faultless_url(&self) -> String {
        format!("http://{}", self.second.address())
    }

    /// How many requests have met a fault until now.
    pub fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// How many requests have come until now.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Adds a rule. The first rule that applies to a request decides.
    pub fn inject(&self, rule: Rule) {
        self.shared.rules().push(rule);
    }

    /// Removes all rules. Whoever met silence is cut off.
    pub fn clear(&self) {
        self.shared.rules().clear();
        self.shared.cleared.send_replace(());
    }

    /// Closes all connections to the first address. Their clients may connect again.
    ///
    /// # Errors
    ///
    /// The system does not let the port be opened again.
    pub async fn cut_connections(&mut self) -> io::Result<()> {
        self.refuse_connections().await;
        self.accept_connections()
    }

    /// Closes the first address with all its connections. From now on connections are refused.
    pub async fn refuse_connections(&mut self) {
        self.port.close().await;
    }

    /// Opens the first address again, at the same port.
    ///
    /// # Errors
    ///
    /// The system does not let the port be opened again.
    pub fn accept_connections(&mut self) -> io::Result<()> {
        self.port.open(Arc::clone(&self.shared), true)
    }
}

impl ProxyState {
    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().expect("nobody panics with it")
    }

    /// The fault that a request meets, and a signal that its rule is gone.
    fn fault_for(&self, kind: RequestKind) -> Option<(Fault, watch::Receiver<()>)> {
        let mut rules = self.rules();
        let fault = rules.iter_mut().find_map(|rule| rule.fault_for(kind))?;
        self.faults.fetch_add(1, Ordering::Relaxed);
        Some((fault, self.cleared.subscribe()))
    }
}

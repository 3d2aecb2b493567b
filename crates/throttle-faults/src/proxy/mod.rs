//! A proxy in front of the server that injects faults by rules.
//!
//! It has two ports. The rules apply to requests at the first one. The second one has no faults; redirects lead
//! to it. The first one can refuse connections for a while, like the port of a process that is not running.

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

/// A proxy in front of a server. When it is dropped, all its connections are closed.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<ProxyState>,
    port: Port,
    faultless_port: Port,
}

/// The state that all connections share.
#[derive(Debug)]
struct ProxyState {
    server: Server,
    rules: Mutex<Vec<Rule>>,
    faults: AtomicUsize,
    requests: AtomicUsize,
    /// Changes when the rules are removed.
    cleared: watch::Sender<()>,
    /// The target of redirects.
    faultless_address: SocketAddr,
}

impl Proxy {
    /// Starts a proxy on two free ports of the loopback interface.
    ///
    /// # Errors
    ///
    /// The system has no free port.
    pub fn start(server: Server) -> io::Result<Self> {
        let (mut port, mut faultless_port) = (Port::reserve()?, Port::reserve()?);
        let state = Arc::new(ProxyState {
            server,
            rules: Mutex::default(),
            faults: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            cleared: watch::channel(()).0,
            faultless_address: faultless_port.address(),
        });
        port.open(Arc::clone(&state), true)?;
        faultless_port.open(Arc::clone(&state), false)?;
        Ok(Self { state, port, faultless_port })
    }

    /// The server behind the proxy.
    pub fn server(&self) -> &Server {
        &self.state.server
    }

    /// The URL with faults.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// The URL without faults.
    pub fn faultless_url(&self) -> String {
        format!("http://{}", self.faultless_port.address())
    }

    /// The number of requests so far that met a fault.
    pub fn faults(&self) -> usize {
        self.state.faults.load(Ordering::Relaxed)
    }

    /// The number of requests so far.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Adds a rule. The first rule that matches a request applies.
    pub fn inject(&self, rule: Rule) {
        self.state.rules().push(rule);
    }

    /// Removes all rules. Connections that met [`Fault::Silence`] break.
    pub fn clear(&self) {
        self.state.rules().clear();
        self.state.cleared.send_replace(());
    }

    /// Closes all connections to the port with faults. Clients can connect again.
    ///
    /// # Errors
    ///
    /// The port cannot be opened again.
    pub async fn cut_connections(&mut self) -> io::Result<()> {
        self.refuse_connections().await;
        self.accept_connections()
    }

    /// Closes the port with faults and all its connections. From now on connections are refused.
    pub async fn refuse_connections(&mut self) {
        self.port.close().await;
    }

    /// Opens the same port again.
    ///
    /// # Errors
    ///
    /// The port cannot be opened again.
    pub fn accept_connections(&mut self) -> io::Result<()> {
        self.port.open(Arc::clone(&self.state), true)
    }
}

impl ProxyState {
    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().expect("no thread panics while it holds the mutex")
    }

    /// The fault that a request meets, and a receiver that changes when its rule is removed.
    fn fault_for(&self, kind: RequestKind) -> Option<(Fault, watch::Receiver<()>)> {
        let mut rules = self.rules();
        let fault = rules.iter_mut().find_map(|rule| rule.fault_for(kind))?;
        self.faults.fetch_add(1, Ordering::Relaxed);
        Some((fault, self.cleared.subscribe()))
    }
}

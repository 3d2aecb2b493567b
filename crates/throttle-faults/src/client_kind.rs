//! The kinds of the client, each as a process that speaks the same protocol.
//!
//! A worker asks for a lock, prints `held TOKEN`, waits for a line on its standard input, gives the lock
//! back, and prints how that ended as an [`WorkerOutcome`](crate::worker_outcome::WorkerOutcome). Before it asks it prints
//! `asking`, and when it is told of a loss while it waits, `noticed`. `throttlectl` says the first by the
//! command that it runs and the others by its exit status.

use std::{
    env::consts::EXE_SUFFIX,
    fmt::{self, Display, Formatter},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

/// A form of the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientKind {
    /// The crate `throttle-client`.
    Rust,
    /// `throttle_client.lock` in Python.
    PythonSync,
    /// `throttle_client.aio.lock` in Python.
    PythonAsync,
    /// The command `throttlectl lock`.
    Throttlectl,
}

/// Where the programs are that the kinds consist of.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This program, which is the worker in Rust and what `throttlectl` runs.
    pub faults: PathBuf,
    /// An interpreter of Python that has the package.
    pub python: PathBuf,
    /// The command.
    pub throttlectl: PathBuf,
}

/// What a worker asks for.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Where the server is; with commas between them if there are several ways to it.
    pub url: String,
    /// The names of the semaphores, of which the last one counts. What it is taken within stands before.
    pub semaphores: Vec<&'static str>,
    /// The lease of the peer.
    pub lease: Duration,
    /// How long to wait; `None` for as long as it takes.
    pub wait: Option<Duration>,
    /// How often to take the lock. `throttlectl` takes it once.
    pub rounds: u32,
}

impl ClientKind {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 4] = [Self::Rust, Self::PythonSync, Self::PythonAsync, Self::Throttlectl];

    /// The command line that starts a worker.
    pub fn command(self, programs: &Programs, options: &WorkerOptions) -> Command {
        let mut command = match self {
            Self::Rust => Command::new(&programs.faults),
            Self::PythonSync | Self::PythonAsync => Command::new(&programs.python),
            Self::Throttlectl => Command::new(&programs.throttlectl),
        };
        match self {
            Self::Rust => command.arg("worker"),
            Self::PythonSync => command.arg("-B").arg(script("sync_worker.py")),
            Self::PythonAsync => command.arg("-B").arg(script("async_worker.py")),
            Self::Throttlectl => {
                command.args(["lock", "--url", &options.url]).args(&options.semaphores)
            }
        };
        let seconds = |span: Duration| format!("{}s", span.as_secs_f64());
        if self == Self::Throttlectl {
            command.args(["--lease", &format!("{}ms", options.lease.as_millis())]);
            if let Some(wait) = options.wait {
                command.args(["--wait", &format!("{}ms", wait.as_millis())]);
            }
            command.arg("--").arg(&programs.faults).arg("hold");
        } else {
            let wait = options.wait.map_or_else(|| "forever".to_owned(), seconds);
            let rounds = options.rounds.to_string();
            let semaphores = options.semaphores.join(",");
            command.args([&options.url, &semaphores, &seconds(options.lease), &wait, &rounds]);
        }
        // What the environment of whoever runs this says about servers and proxies does not count.
        for name in ["http_proxy", "HTTP_PROXY", "THROTTLE_TOKEN", "THROTTLE_PEER", "THROTTLE_URL"]
        {
            command.env_remove(name);
        }
        command
    }
}

impl Display for ClientKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rust => "Rust",
            Self::PythonSync => "Python sync",
            Self::PythonAsync => "Python async",
            Self::Throttlectl => "throttlectl",
        })
    }
}

impl Programs {
    /// The programs as cargo builds them side by side, with this interpreter of Python.
    pub fn beside(faults: PathBuf, python: PathBuf) -> Self {
        let throttlectl = faults.with_file_name(format!("throttlectl{EXE_SUFFIX}"));
        Self { faults, python, throttlectl }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

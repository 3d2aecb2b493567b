//! The client kinds, each as a worker process with the same protocol.
//!
//! A worker prints `requesting`, requests a lock, prints `held TOKEN`, waits for a line on its standard input,
//! releases the lock, and prints a [`WorkerOutcome`](crate::worker_outcome::WorkerOutcome). If its client
//! reports a loss while it waits for the line, it prints `noticed`.
//!
//! `throttlectl` prints none of this itself. The command that it runs prints `held TOKEN` and `noticed`, and
//! its exit status is the outcome.

use std::{
    env::consts::EXE_SUFFIX,
    fmt::{self, Display, Formatter},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

/// One of the clients of Throttle.
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

/// The paths of the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This program. It is also the worker in Rust, and the command that `throttlectl` runs.
    pub faults: PathBuf,
    /// A Python interpreter with the package.
    pub python: PathBuf,
    /// The program `throttlectl`.
    pub throttlectl: PathBuf,
}

/// The task of a worker.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The URL of the server, or several, separated by commas.
    pub url: String,
    /// The names of the semaphores. They are locked in this order, and the last one is the one under test.
    pub semaphores: Vec<&'static str>,
    /// The lease of the peer.
    pub lease: Duration,
    /// The longest wait for the lock. `None`: no limit.
    pub wait: Option<Duration>,
    /// How many times to take the lock. `throttlectl` takes it once.
    pub rounds: u32,
}

impl ClientKind {
    /// All client kinds, in the order of the columns.
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
        // Settings in the environment of the developer must not influence the test.
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
    /// The programs in the directory where cargo puts all of them, with this Python interpreter.
    pub fn beside(faults: PathBuf, python: PathBuf) -> Self {
        let throttlectl = faults.with_file_name(format!("throttlectl{EXE_SUFFIX}"));
        Self { faults, python, throttlectl }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

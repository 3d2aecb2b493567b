//! The server as a process that is killed and started again, always on the same port and the same files.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    net::TcpSocket,
    process::{Child, Command},
};

use super::{
    event::Semaphore,
    raw_http::{exchange, get, open},
};
use crate::{clock, crash::store_fault::StoreFault};

/// Which server to start.
#[derive(Clone, Debug)]
pub enum ServerProgram {
    /// The program `throttle`, with a store or without.
    Real {
        /// The program.
        path: PathBuf,
        /// Whether it has a store.
        has_store: bool,
    },
    /// This program as a server with a broken store.
    Faulty {
        /// The program.
        path: PathBuf,
        /// How the store is broken.
        fault: StoreFault,
    },
}

/// A server with a directory of its own.
#[derive(Debug)]
pub(super) struct ServerProcess {
    program: ServerProgram,
    directory: PathBuf,
    address: SocketAddr,
    /// Bound and never listening: it keeps the port from everybody who asks the system for a free one.
    _reserved: TcpSocket,
    child: Option<Child>,
}

impl ServerProcess {
    /// Reserves a port and writes the configuration. Starts nothing.
    pub(super) fn new(
        program: ServerProgram,
        directory: &Path,
        semaphores: &[Semaphore],
    ) -> anyhow::Result<Self> {
        let reserved = TcpSocket::new_v4()?;
        reserved.set_reuseaddr(true)?;
        reserved.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("no port is free")?;
        let address = reserved.local_addr()?;
        let mut configuration = String::from("[semaphores]\n");
        for Semaphore { name, max, level } in semaphores {
            configuration.push_str(&format!("{name} = {{ max = {max}, level = {level} }}\n"));
        }
        if matches!(program, ServerProgram::Real { has_store: true, .. }) {
            let store = directory.join(STORE);
            configuration.push_str(&format!("\n[store]\npath = {:?}\n", store.to_string_lossy()));
        }
        std::fs::write(directory.join(CONFIGURATION), configuration)?;
        let directory = directory.to_owned();
        Ok(Self { program, directory, address, _reserved: reserved, child: None })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Removes the file of the store, if there is one. The server must not run.
    pub(super) fn remove_store(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.directory.join(STORE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Starts the process, and does not wait until it is ready.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let port = self.address.port().to_string();
        let log = File::options().create(true).append(true).open(self.directory.join(LOG))?;
        let mut command = match &self.program {
            ServerProgram::Real { path, .. } => {
                let mut command = Command::new(path);
                command.args(["--port", &port, "--configuration", CONFIGURATION]);
                command
            }
            ServerProgram::Faulty { path, fault } => {
                let mut command = Command::new(path);
                let fault = fault.to_string();
                command.args(["serve", "--port", &port, "--store", STORE, "--fault", &fault]);
                command
            }
        };
        command.current_dir(&self.directory).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        // Settings in the environment of the developer must not influence the run.
        for name in ["THROTTLE_LOG", "THROTTLE_ADDRESS", "THROTTLE_PORT"] {
            command.env_remove(name);
        }
        let program = command.as_std().get_program().to_owned();
        let child = command.kill_on_drop(true).spawn();
        self.child = Some(child.with_context(|| format!("cannot run {}", program.display()))?);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    ///
    /// It ends, or is not ready in time. The end of its log is part of the message.
    pub(super) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let start = clock::now();
        loop {
            let child = self.child.as_mut().context("the server is not started")?;
            if let Some(status) = child.try_wait()? {
                bail!("the server ends with {status}:\n{}", self.end_of_log());
            }
            if is_ready(self.address).await {
                return Ok(());
            }
            if start.elapsed() > READY_TIMEOUT {
                bail!("the server is not ready within {READY_TIMEOUT:?}:\n{}", self.end_of_log());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills the process with SIGKILL and waits for its end.
    ///
    /// # Errors
    ///
    /// It has ended by itself.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the server is not started")?;
        // It fails if the process has ended, which the status tells.
        let _gone = child.start_kill();
        let status = child.wait().await?;
        anyhow::ensure!(
            is_killed(status),
            "the server has ended by itself with {status}:\n{}",
            self.end_of_log()
        );
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join(LOG)).unwrap_or_default();
        let lines = log.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = open(address).await else { return false };
    let answer = exchange(&mut connection, get("/ready")).await;
    answer.is_some_and(|(status, _)| status.is_success())
}

#[cfg(unix)]
fn is_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;

    status.signal() == Some(9)
}

/// Elsewhere a killed process cannot be told from one that failed.
#[cfg(not(unix))]
fn is_killed(status: ExitStatus) -> bool {
    !status.success()
}

const CONFIGURATION: &str = "throttle.toml";

const STORE: &str = "throttle.redb";

const LOG: &str = "server.log";

const POLL: Duration = Duration::from_millis(3);

/// A recovery takes much less.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

//! etcd as a process: one node with its defaults, so that each write is synced to the disk.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::ensure;
use tempfile::TempDir;

use crate::{
    clock,
    http::Request,
    process::OwnedProcess,
    server::{Launcher, free_address, request_at},
};

/// A running node.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) address: SocketAddr,
    process: OwnedProcess,
    _directory: TempDir,
}

impl Etcd {
    /// Starts a node without data and waits until it is healthy.
    pub(crate) fn start(launcher: &Launcher, program: &Path) -> anyhow::Result<Self> {
        let directory = launcher.directory()?;
        let (address, peer) = (free_address()?, free_address()?);
        let (clients, peers) = (format!("http://{address}"), format!("http://{peer}"));
        let mut command = launcher.pins.server_command(program);
        command.args(["--name", "bench", "--data-dir"]).arg(directory.path());
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("bench={peers}")]);
        let process = OwnedProcess::start(&mut command)?;
        let mut node = Self { address, process, _directory: directory };
        node.wait_until_healthy()?;
        Ok(node)
    }

    fn wait_until_healthy(&mut self) -> anyhow::Result<()> {
        let deadline = clock::now() + Duration::from_secs(20);
        let mut health = Request::default();
        health.health();
        while request_at(self.address, &health).is_err() {
            if let Some(status) = self.process.ended()? {
                anyhow::bail!("etcd ended: {status}");
            }
            ensure!(clock::now() < deadline, "etcd is not healthy");
            clock::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

//! PostgreSQL as a process, with its defaults: each commit is synced to the disk (`synchronous_commit`).
//!
//! A peer is a row, and a lock is a row of a table of leases. The load comes from pgbench, which is part of
//! PostgreSQL ([`pgbench`]).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::pgbench::{self, Measured};
use crate::{
    clock,
    load::Scenario,
    pin::Pins,
    process::OwnedProcess,
    server::{Launcher, free_address},
};

/// A running server with the tables of the scenarios.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    port: String,
    process: OwnedProcess,
    directory: TempDir,
}

impl Postgres {
    /// Starts a server without data, for this number of connections.
    pub(crate) fn start(
        launcher: &Launcher,
        programs: &Path,
        connections: usize,
    ) -> anyhow::Result<Self> {
        let directory = launcher.directory()?;
        let data = directory.path().join("data");
        let root = is_root()?;
        if root {
            run(Command::new("chown").arg(OWNER).arg(directory.path()))?;
        }
        let mut initdb = as_owner(root, Pins::none(), &programs.join("initdb"));
        run(initdb.args(["--no-sync", "--locale=C", "-A", "trust", "-U", USER, "-D"]).arg(&data))?;
        let port = free_address()?.port().to_string();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n\
             max_connections = {}\n",
            connections + 20
        );
        let file = data.join("postgresql.conf");
        fs::write(&file, fs::read_to_string(&file)? + &settings)?;
        let mut command = as_owner(root, launcher.pins, &programs.join("postgres"));
        let process = OwnedProcess::start(command.arg("-D").arg(data))?;
        let mut server = Self { programs: programs.to_path_buf(), port, process, directory };
        server.wait_until_it_answers()?;
        server.psql(&[
            "create table peer (id bigint primary key, expires timestamptz not null)",
            "create table lease (name text primary key, holder bigint not null, \
             expires timestamptz not null)",
        ])?;
        Ok(server)
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let deadline = clock::now() + Duration::from_secs(20);
        while let Err(error) = self.psql(&["select 1"]) {
            if let Some(status) = self.process.ended()? {
                anyhow::bail!("PostgreSQL ended: {status}");
            }
            if clock::now() > deadline {
                return Err(error.context("PostgreSQL does not answer"));
            }
            clock::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Loads the server with a scenario.
    pub(crate) fn measure(
        &self,
        scenario: Scenario,
        connections: usize,
        time: Duration,
    ) -> anyhow::Result<Measured> {
        let peers = match scenario {
            Scenario::Cycle => "truncate peer".to_owned(),
            _ => format!(
                "insert into peer select generate_series(0, {}), now() + interval '12h' \
                 on conflict do nothing",
                connections - 1
            ),
        };
        self.psql(&["truncate lease", &peers])?;
        let script = self.directory.path().join("script.sql");
        fs::write(&script, pgbench::script(scenario))?;
        let log = self.directory.path().join("log");
        // The first second is partly spent on connecting and preparing, more with many connections.
        let seconds = time.as_secs() + 1 + connections as u64 / 500;
        let mut command = Command::new(self.programs.join("pgbench"));
        command.args(["-n", "-h", HOST, "-p", &self.port, "-U", USER, "-M", "prepared", "-j", "1"]);
        command.args(["-c", &connections.to_string(), "-T", &seconds.to_string()]);
        command.args(["-D", "step=0", "-l", "--log-prefix"]).arg(&log).arg("-f").arg(&script);
        run(command.arg("postgres"))?;
        pgbench::read_log(&log, scenario.steps())
    }

    fn psql(&self, statements: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", HOST, "-p", &self.port, "-U", USER, "-q", "-v", "ON_ERROR_STOP=1"]);
        for statement in statements {
            command.args(["-c", statement]);
        }
        run(command.arg("postgres"))
    }
}

impl Drop for Postgres {
    /// Lets the server end its processes and return its shared memory, which it cannot do if it is killed.
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        let asked = Command::new("kill").args(["-INT", &id]).status();
        if asked.is_ok_and(|status| status.success()) {
            self.process.wait();
        }
    }
}

/// A command with the identity of another user if this process is root's, as which PostgreSQL does not run.
fn as_owner(root: bool, pins: Pins, program: &Path) -> Command {
    if !root {
        return pins.server_command(program);
    }
    let mut command = pins.server_command(Path::new("setpriv"));
    let identity = [format!("--reuid={OWNER}"), format!("--regid={OWNER}")];
    command.args(identity).arg("--clear-groups").arg(program);
    command
}

fn is_root() -> anyhow::Result<bool> {
    Ok(Command::new("id").arg("-u").output()?.stdout == b"0\n")
}

/// Runs a command to its end. Its error output is part of the error.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {error}");
    Ok(())
}

/// The user and the group that Debian's package creates.
const OWNER: &str = "postgres";
/// The user within the database.
const USER: &str = "postgres";
const HOST: &str = "127.0.0.1";

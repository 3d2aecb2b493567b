//! Server processes: starts them, sends single requests, reads their memory and processor time, and ends them.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    clock,
    http::{Answer, Request},
    load::{AMPLE, AMPLE_MAX, LONG, MUTEX, TAKEN},
    pin::Pins,
    process::OwnedProcess,
};

/// Which server: ours, the old one (version 0.5), or the floor.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerKind {
    Ours,
    Old,
    Floor,
}

impl ServerKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Old => "old",
            Self::Floor => "floor",
        }
    }
}

/// Starts servers: the paths of their programs, and the processors that they run on.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) programs: Vec<(ServerKind, PathBuf)>,
    /// The program of etcd.
    pub(crate) etcd: Option<PathBuf>,
    /// The directory with the programs of PostgreSQL.
    pub(crate) postgres: Option<PathBuf>,
    pub(crate) pins: Pins,
    /// Where all servers keep their files, so that they share a disk.
    pub(crate) data: PathBuf,
}

/// A running server. Drop ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: ServerKind,
    pub(crate) address: SocketAddr,
    process: OwnedProcess,
    directory: TempDir,
}

/// A semaphore of a configuration: its name and its maximum.
pub(crate) type Semaphore = (String, u64);

impl Launcher {
    pub(crate) fn kinds(&self) -> impl Iterator<Item = ServerKind> {
        self.programs.iter().map(|&(kind, _)| kind)
    }

    pub(crate) fn program(&self, kind: ServerKind) -> Option<&Path> {
        self.programs.iter().find(|(it, _)| *it == kind).map(|(_, program)| program.as_path())
    }

    /// Starts a server and waits until it answers. `rota`: the number of participants at the floor.
    pub(crate) fn start(&self, kind: ServerKind, rota: usize) -> anyhow::Result<Server> {
        self.start_with(kind, rota, &[])
    }

    /// Starts a server that has further semaphores besides the usual ones.
    pub(crate) fn start_with(
        &self,
        kind: ServerKind,
        rota: usize,
        further: &[Semaphore],
    ) -> anyhow::Result<Server> {
        self.launch(kind, rota, self.directory()?, &configuration(kind, further))
    }

    /// Starts our server with a store.
    pub(crate) fn start_with_store(&self) -> anyhow::Result<Server> {
        let (kind, directory) = (ServerKind::Ours, self.directory()?);
        let path = directory.path().join(STORE);
        let store = format!("[store]\npath = {path:?}\n");
        self.launch(kind, 0, directory, &(configuration(kind, &[]) + &store))
    }

    /// A directory for the files of a server.
    pub(crate) fn directory(&self) -> anyhow::Result<TempDir> {
        fs::create_dir_all(&self.data)?;
        Ok(tempfile::tempdir_in(&self.data)?)
    }

    fn launch(
        &self,
        kind: ServerKind,
        rota: usize,
        directory: TempDir,
        configuration: &str,
    ) -> anyhow::Result<Server> {
        fs::write(directory.path().join(CONFIGURATION), configuration)?;
        let address = free_address()?;
        let process = self.start_process(kind, rota, &directory, address)?;
        let mut server = Server { kind, address, process, directory };
        let mut health = Request::default();
        health.health();
        server.wait_until_it_answers(&health)?;
        Ok(server)
    }

    fn start_process(
        &self,
        kind: ServerKind,
        rota: usize,
        directory: &TempDir,
        address: SocketAddr,
    ) -> anyhow::Result<OwnedProcess> {
        let program = self.program(kind).with_context(|| format!("no program for {kind:?}"))?;
        let mut command = self.pins.server_command(program);
        command.args(["--address", "127.0.0.1", "--port", &address.port().to_string()]);
        command.arg("-c").arg(directory.path().join(CONFIGURATION));
        if kind == ServerKind::Floor {
            command.arg("--rota").arg(rota.to_string());
        }
        OwnedProcess::start(&mut command)
    }
}

/// A port that was free a moment ago, because not every server can report a port that it chose.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Server {
    /// Repeats a request until it is answered with success.
    fn wait_until_it_answers(&mut self, request: &Request) -> anyhow::Result<()> {
        let deadline = clock::now() + START_TIME;
        while let Err(error) = self.request(request) {
            if let Some(status) = self.process.ended()? {
                anyhow::bail!("the server {} ended: {status}", self.kind.name());
            }
            if clock::now() > deadline {
                return Err(error.context(format!("the server {} is not there", self.kind.name())));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Kills the server and starts it again with the same files. Returns the time from the start to the first
    /// success of `/ready`.
    pub(crate) fn kill_and_restart(&mut self, launcher: &Launcher) -> anyhow::Result<Duration> {
        self.process.kill();
        let start = clock::now();
        self.process = launcher.start_process(self.kind, 0, &self.directory, self.address)?;
        let mut ready = Request::default();
        ready.get("/ready");
        self.wait_until_it_answers(&ready)?;
        Ok(clock::now().duration_since(start))
    }

    /// The room that the store takes on the disk, in bytes.
    pub(crate) fn store_bytes(&self) -> anyhow::Result<u64> {
        Ok(fs::metadata(self.directory.path().join(STORE))?.len())
    }

    /// A sample of the metrics that has no labels.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut request = Request::default();
        request.get("/metrics");
        let text = String::from_utf8(self.request(&request)?)?;
        let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(sample.with_context(|| format!("the server has no metric {name}"))?.parse()?)
    }

    /// Sends a single request on a connection of its own. Returns the body of the answer.
    pub(crate) fn request(&self, request: &Request) -> anyhow::Result<Vec<u8>> {
        request_at(self.address, request)
    }

    /// Creates a peer that holds one of `semaphore`, with a lease that outlasts the measurement. Of a mutex,
    /// others have to queue then.
    pub(crate) fn hold_all(&self, semaphore: &str) -> anyhow::Result<()> {
        let mut request = Request::default();
        request.new_peer(LONG);
        let holder = std::str::from_utf8(&self.request(&request)?)?.parse()?;
        request.acquire(holder, semaphore, "");
        self.request(&request).map(drop)
    }

    /// Reloads with these semaphores, and the usual ones unless they are among these.
    pub(crate) fn reload(&self, further: &[Semaphore]) -> anyhow::Result<()> {
        let file = self.directory.path().join(CONFIGURATION);
        fs::write(file, configuration(self.kind, further))?;
        let mut request = Request::default();
        request.reload();
        self.request(&request).map(drop)
    }

    /// Requests a long answer and reads it as fast as it comes. Returns its length in bytes.
    pub(crate) fn download(&self, path: &str) -> anyhow::Result<usize> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let (mut request, mut bytes, mut length) = (Request::default(), vec![0; 65_536], 0);
        request.get_and_close(path);
        stream.write_all(request.bytes())?;
        loop {
            let read = stream.read(&mut bytes)?;
            if read == 0 {
                return Ok(length);
            }
            ensure!(length > 0 || bytes.starts_with(SUCCESS), "{path} was not answered 200");
            length += read;
        }
    }

    /// The processor time of the server so far, if the system reports it.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        cpu_time_of(self.process.id())
    }

    /// The resident memory in bytes, if the system reports it.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1_024)
    }
}

/// Sends a single request on a connection of its own. Returns the body of the answer.
pub(crate) fn request_at(server: SocketAddr, request: &Request) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.bytes())?;
    let (mut input, mut bytes) = (Vec::new(), [0; 4_096]);
    loop {
        let length = stream.read(&mut bytes)?;
        ensure!(length > 0, "the server hung up");
        input.extend_from_slice(&bytes[..length]);
        if let Some((answer, _)) = Answer::parse(&input)? {
            return Ok(answer.expect(&[200, 202])?.body.to_vec());
        }
    }
}

/// The configuration: the usual semaphores and further ones. For our server, also limits that allow all
/// connections, waiters and labels of the studies, and a body that restores a peer with thousands of locks.
fn configuration(kind: ServerKind, further: &[Semaphore]) -> String {
    let usual = [(AMPLE, AMPLE_MAX), (MUTEX, 1), (TAKEN, 1)];
    let usual = usual.into_iter().filter(|(name, _)| further.iter().all(|it| it.0 != *name));
    let further = further.iter().map(|(name, max)| (&**name, *max));
    let mut text = String::from("[semaphores]\n");
    for (name, max) in usual.chain(further) {
        writeln!(text, "{name} = {max}").expect("memory takes every byte");
    }
    if kind == ServerKind::Ours {
        text.push_str(
            "[limits]\nconnections = 20_000\nwaiters = 2_000_000\nbody = 1_000_000\n\
            label_bytes = 4_000_000_000\n",
        );
    }
    text
}

const CONFIGURATION: &str = "throttle.toml";
const STORE: &str = "throttle.redb";
/// How long a server has until it answers. The longest is the recovery of a million peers.
const START_TIME: Duration = Duration::from_secs(60);
const SUCCESS: &[u8] = b"HTTP/1.1 200 ";

/// The time from the start of the process to the first answer.
pub(crate) fn start_up_time(launcher: &Launcher, kind: ServerKind) -> anyhow::Result<Duration> {
    let start = clock::now();
    let _server = launcher.start(kind, 0)?;
    Ok(clock::now().duration_since(start))
}

/// The processor time of all threads of a process so far, if the system reports it.
pub(crate) fn cpu_time_of(process: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let nanos = tasks.map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanos.sum::<Option<u64>>().map(Duration::from_nanos)
}

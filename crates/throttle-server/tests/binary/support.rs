//! A running server, and a client that is a plain socket.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes that ever happens.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The command that runs the binary in `directory`, without variables of the environment that it would read.
pub(crate) fn throttle(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throttle"));
    command.current_dir(directory);
    for name in ["ADDRESS", "PORT", "CONFIGURATION", "LOG"] {
        command.env_remove(format!("THROTTLE_{name}"));
    }
    command.env_remove("NOTIFY_SOCKET");
    command
}

/// Runs the binary to its end.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Output {
    throttle(directory).args(arguments).output().unwrap()
}

/// The output of a process as text.
pub(crate) fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

/// A directory with a `throttle.toml`.
pub(crate) fn directory(config: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("throttle.toml"), config).unwrap();
    directory
}

/// A server with a working directory of its own. It is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) directory: TempDir,
    pub(crate) address: SocketAddr,
    /// The lines of the log so far.
    pub(crate) log: String,
    lines: Receiver<String>,
    child: Child,
}

impl Server {
    /// Starts a server that logs everything from INFO on, and waits until it listens.
    pub(crate) fn start(config: &str) -> Self {
        let directory = directory(config);
        let command = throttle(directory.path());
        Self::spawn(directory, command)
    }

    /// Starts a server by this command, and waits until it listens.
    pub(crate) fn spawn(directory: TempDir, command: Command) -> Self {
        let mut server = Self::spawn_only(directory, command);
        server.wait_until_it_listens();
        server
    }

    /// Starts a server by this command, which may end before it listens.
    pub(crate) fn spawn_only(directory: TempDir, mut command: Command) -> Self {
        let mut child = listening(&mut command);
        let lines = follow(child.stderr.take().unwrap());
        let address = SocketAddr::from(([0; 4], 0));
        Self { directory, address, log: String::new(), lines, child }
    }

    pub(crate) fn wait_until_it_listens(&mut self) {
        let line = self.wait_for("listening");
        // A Unix socket has no such address.
        if !line.contains("address=unix:") {
            self.address = address_in(&line);
        }
    }

    /// Ends the process as a crash does (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The directory of a server that has ended.
    pub(crate) fn into_directory(mut self) -> TempDir {
        std::mem::replace(&mut self.directory, TempDir::new().unwrap())
    }

    /// Starts another process in the same directory, when the first has ended, and waits until it listens.
    pub(crate) fn start_again(&mut self) {
        let mut child = listening(&mut throttle(self.directory.path()));
        self.lines = follow(child.stderr.take().unwrap());
        self.child = child;
        self.log.clear();
        self.wait_until_it_listens();
    }

    /// Writes another configuration, without a reload.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.directory.path().join("throttle.toml"), config).unwrap();
    }

    /// The next line of the log that contains this text.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(TEST_TIMEOUT);
            let line = line.unwrap_or_else(|_| panic!("no {text:?} in the log:\n{}", self.log));
            self.log += &line;
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for the process to end, and for the rest of its log.
    #[cfg(unix)]
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let status = self.child.wait().unwrap();
        self.log.extend(self.lines.iter());
        status
    }

    /// Sends a signal such as `TERM`.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: &str) {
        self.signals(&[signal]);
    }

    /// Sends signals in quick succession.
    #[cfg(unix)]
    pub(crate) fn signals(&self, signals: &[&str]) {
        let kill = |signal: &&str| format!("kill -{signal} {}\n", self.child.id());
        let command = signals.iter().map(kill).collect::<String>();
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Resumes a stopped server after so many seconds of real time.
    #[cfg(unix)]
    pub(crate) fn continue_after(&self, seconds: &str) {
        let command = format!("sleep {seconds}; kill -CONT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Makes a request and returns status and body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        request(self.address, method, path, body)
    }

    /// A new peer with a lease of an hour.
    pub(crate) fn new_peer(&self) -> String {
        let (status, id) = self.request("POST", "/new_peer", r#"{"expires_in":"1h"}"#);
        assert_eq!(status, 200, "{id}");
        id
    }

    /// Requests a lock with a count of 1 without waiting, and returns status and answer.
    pub(crate) fn lock(&self, peer: &str, semaphore: &str) -> (u16, Value) {
        let (status, body) = self.request("PUT", &format!("/peers/{peer}/{semaphore}"), "1");
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// The JSON at this path.
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.request("GET", path, "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The value of a metric without labels, if there is one.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.request("GET", "/metrics", "").1;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(metric, _)| *metric == name).map(|(_, value)| value.parse().unwrap())
    }

    /// How many peers wait for this semaphore.
    pub(crate) fn waiters(&self, semaphore: &str) -> u64 {
        self.json(&format!("/semaphores/{semaphore}"))["waiters"].as_u64().unwrap()
    }

    /// Requests a lock with a count of 1 for a new peer, and waits for it.
    pub(crate) fn wait_for_lock(&self, semaphore: &str) -> Request {
        let path = format!("/peers/{}/{semaphore}?block_for=1h", self.new_peer());
        Request::send(self.address, "PUT", &path, "1")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the command on a free port, with all logs from INFO on.
pub(crate) fn listening(command: &mut Command) -> Child {
    command.env("THROTTLE_PORT", "0").env("THROTTLE_LOG", "INFO");
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The address in a line of the log, in either format.
pub(crate) fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("address").expect(line);
    let address = rest.trim_start_matches(['=', ':', '"']);
    let end = address.find([' ', ',', '"', '\n']).unwrap_or(address.len());
    address[..end].parse().expect(line)
}

/// The lines of the log as they arrive.
fn follow(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut stderr = BufReader::new(stderr);
        let mut line = String::new();
        while stderr.read_line(&mut line).is_ok_and(|length| length > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A request that was sent.
pub(crate) struct Request(TcpStream);

impl Request {
    pub(crate) fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: throttle\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        Self(stream)
    }

    /// Waits for the answer: status and body.
    pub(crate) fn answer(mut self) -> (u16, String) {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        let _ = self.0.shutdown(Shutdown::Both);
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        (status, if is_chunked { dechunk(body) } else { body.to_owned() })
    }
}

pub(crate) fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    Request::send(address, method, path, body).answer()
}

fn dechunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole += &rest[..length];
        body = &rest[length + 2..];
        if length == 0 {
            break;
        }
    }
    whole
}

//! Runs the server under test as a process.
//!
//! Only its flags and a log line that ends with "ready" are required.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

use throttle_client::Client;

use crate::LONG;

/// A server process on a free port. It is killed when this is dropped.
pub struct Server {
    port: u16,
    configuration: PathBuf,
    process: Child,
}

impl Server {
    /// Starts a server with these semaphores.
    pub fn start(semaphores: &str) -> Self {
        // Another process may take the free port before the server binds it.
        (0..10).find_map(|_| Self::start_on(free_port(), semaphores)).expect("it should start")
    }

    /// Kills the server, as a power failure does, and starts it again at the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port, &self.configuration).expect("it should start again");
    }

    pub fn client(&self) -> Client {
        Client::new(format!("http://127.0.0.1:{}", self.port)).unwrap()
    }

    fn start_on(port: u16, semaphores: &str) -> Option<Self> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let configuration = directory.join(format!("throttle-{port}.toml"));
        fs::write(&configuration, format!("[semaphores]\n{semaphores}\n")).unwrap();
        let process = spawn(port, &configuration)?;
        Some(Self { port, configuration, process })
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_file(&self.configuration);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts the server. Returns its process once it listens, or `None` if it cannot.
fn spawn(port: u16, configuration: &Path) -> Option<Child> {
    let binary = env::var_os("THROTTLE_BIN").expect("THROTTLE_BIN should name the server");
    let mut process = Command::new(binary)
        .args(["--address", "127.0.0.1", "--port", &port.to_string(), "--configuration"])
        .arg(configuration)
        .env("THROTTLE_LOG", "INFO")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match follow(process.stderr.take().unwrap()).recv_timeout(LONG) {
        Ok(()) => Some(process),
        Err(RecvTimeoutError::Disconnected) => {
            process.wait().unwrap();
            None
        }
        Err(RecvTimeoutError::Timeout) => {
            process.kill().unwrap();
            panic!("the server is neither ready nor has it ended");
        }
    }
}

/// Prints the log, and sends a message when a line of it ends with "ready".
fn follow(log: ChildStderr) -> Receiver<()> {
    let (sender, ready) = channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            eprintln!("{line}");
            if line.to_lowercase().ends_with("ready") {
                let _ = sender.send(());
            }
        }
    });
    ready
}

//! A test server, commands that talk to it, and waits for conditions.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use tempfile::TempDir;
use throttle_client::Client;
use throttle_http::Api;
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::{net::TcpListener, runtime::Runtime};

/// A server in this process, and a directory for the files that commands write.
pub(crate) struct TestServer {
    runtime: Runtime,
    pub(crate) url: String,
    directory: TempDir,
}

impl TestServer {
    /// A server with a mutex `A` of level 0, and a semaphore `B` of level 1 and maximum 3.
    pub(crate) fn new() -> Self {
        Self::with_api(Api::new)
    }

    /// The same, with an API that `api` builds.
    pub(crate) fn with_api(api: impl FnOnce(Handle) -> Api) -> Self {
        Self::with_semaphores([("A", 1, 0), ("B", 3, 1)], api)
    }

    /// A server with semaphores of these maxima and levels.
    pub(crate) fn with_semaphores<const N: usize>(
        semaphores: [(&str, u64, i32); N],
        api: impl FnOnce(Handle) -> Api,
    ) -> Self {
        Self::with_routes(|| api(handle(semaphores)).routes())
    }

    /// The same semaphores as in [`TestServer::new`], on a Unix socket.
    #[cfg(target_os = "linux")]
    pub(crate) fn on_unix_socket(path: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            let routes = Api::new(handle([("A", 1, 0), ("B", 3, 1)])).routes();
            tokio::spawn(async { axum::serve(listener, routes).await });
        });
        let url = format!("unix:{}", path.display());
        Self { runtime, url, directory: tempfile::tempdir().unwrap() }
    }

    /// A server with any routes.
    pub(crate) fn with_routes(routes: impl FnOnce() -> Router) -> Self {
        let runtime = Runtime::new().unwrap();
        let url = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let routes = routes();
            tokio::spawn(async { axum::serve(listener, routes).await });
            url
        });
        Self { runtime, url, directory: tempfile::tempdir().unwrap() }
    }

    /// Calls the server with a client.
    pub(crate) fn call<T, F: Future<Output = T>>(&self, call: impl FnOnce(Client) -> F) -> T {
        self.runtime.block_on(async { call(Client::new(&self.url).unwrap()).await })
    }

    /// Ends the server with all its connections. Returns the directory, which keeps the files.
    pub(crate) fn shut_down(self) -> TempDir {
        self.runtime.shutdown_background();
        self.directory
    }

    /// The path of a file in the directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `throttlectl` with these arguments, in the directory.
    pub(crate) fn throttlectl(&self, arguments: &[&str]) -> Command {
        let mut command = throttlectl(&self.url, arguments);
        command.current_dir(self.directory.path());
        command
    }

    /// `throttlectl lock A` with these flags, running a script in a shell.
    #[cfg(unix)]
    pub(crate) fn lock(&self, flags: &[&str], script: &str) -> Command {
        let mut command = self.throttlectl(&["lock", "A"]);
        command.args(flags).args(["--", "sh", "-c", script]);
        command
    }

    /// Waits until this number of peers wait for `A`.
    #[cfg(unix)]
    pub(crate) fn until_waiters(&self, number: u64) {
        wait_until(|| {
            self.call(|it| async move { it.semaphore("A").await.unwrap().status.waiters }) == number
        });
    }
}

/// A runtime with semaphores of these maxima and levels.
pub(crate) fn handle<const N: usize>(semaphores: [(&str, u64, i32); N]) -> Handle {
    let semaphores = semaphores.map(|(name, max, level)| {
        let max = Count::new(max).unwrap();
        (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
    });
    Handle::start(Settings::default(), &BTreeMap::from(semaphores))
}

pub(crate) fn throttlectl(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throttlectl"));
    command.env("THROTTLE_URL", url).env("NO_PROXY", "*").env_remove("THROTTLE_TOKEN");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The same command, started by `env` with an option that sets its signals.
#[cfg(target_os = "linux")]
pub(crate) fn with_signals(option: &str, program: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg(option).arg(program.get_program());
    started_by(env, program)
}

/// The arguments, environment and directory of `program`, started by another command.
#[cfg(target_os = "linux")]
pub(crate) fn started_by(mut starter: Command, program: &Command) -> Command {
    starter.args(program.get_args());
    starter.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    starter.current_dir(program.get_current_dir().unwrap()).stdin(Stdio::null());
    starter
}

/// Runs a command to its end. Returns its exit status, standard output and standard error.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for a process to end, and returns its exit status.
pub(crate) fn exit_status(child: &mut Child) -> i32 {
    let mut status = None;
    wait_until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code().unwrap()
}

/// Sends a signal by its name.
#[cfg(unix)]
pub(crate) fn send_signal(name: &str, process: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits until a file has a line, and returns it.
pub(crate) fn wait_for_line(path: &Path) -> String {
    let mut text = String::new();
    wait_until(|| {
        text = fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n')
    });
    text.trim().to_owned()
}

/// The process id that a command writes to a file.
#[cfg(target_os = "linux")]
pub(crate) fn process_id(path: &Path) -> u32 {
    wait_for_line(path).parse().unwrap()
}

/// Whether a process is alive, so not a zombie.
#[cfg(target_os = "linux")]
pub(crate) fn is_alive(process: u32) -> bool {
    !matches!(process_state(process), None | Some('X' | 'Z'))
}

/// The letter for the state of a process in `/proc`. `None` if there is no such process.
#[cfg(target_os = "linux")]
pub(crate) fn process_state(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a condition is true.
#[expect(clippy::disallowed_methods, reason = "other processes run in real time")]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "the condition does not become true");
        thread::park_timeout(Duration::from_millis(5));
    }
}

//! The binary `throttle`: parses the command line, starts the server, and obeys signals.

mod cli;
mod health_check;
mod http_get;
mod signal;
mod store_command;
mod systemd;

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    pin::pin,
    process::ExitCode,
};

use anyhow::Context;
use throttle_runtime::{Changes, SemaphoreConfig};
use throttle_server::{
    BoundAddress, InheritedSockets, ReloadError, Running, ServerFailure, StartError,
    config::{self, Config, Found, Gelf, Logging, Memory},
    logging::{Log, Serving},
};
use tokio::{runtime, task::spawn_blocking};
use tracing::{error, info, warn};

use crate::{
    cli::{Arguments, Command},
    signal::{Signal, Signals},
};

/// Returns free memory to the system within seconds, by a thread of its own. The allocator of glibc keeps nearly all
/// memory of peers and connections that are gone; the allocators of musl and of other systems do not. On aarch64
/// the size of a page would have to be known when the program is built. It is a feature because it takes `make` to
/// build, and a clone should build with Rust alone.
#[cfg(all(feature = "jemalloc", target_arch = "x86_64", target_env = "gnu", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(Arguments::of_process()) {
        Ok(code) => code,
        Err(error) => {
            // Each line is one mistake. If writing fails, nothing more can be done.
            for line in format!("{error:#}").lines() {
                let _ = writeln!(io::stderr(), "error: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Command::Store(command)) = arguments.command {
        return store_command::run(command).map(|()| ExitCode::SUCCESS);
    }
    if arguments.print_config {
        return print(Config::sample());
    }
    if arguments.check_health {
        health_check::check(&arguments.address_to_check())?;
        return Ok(ExitCode::SUCCESS);
    }
    let inherited = InheritedSockets::take();
    // If the limit stays as it is, the server starts with fewer connections.
    let _ = throttle_server::raise_limit();
    let found = config::find(arguments.configuration)?;
    let mut logging = found.config.logging.clone();
    logging.stderr.level = arguments.log.unwrap_or(logging.stderr.level);
    if arguments.check_config {
        return print(Summary { found: &found, logging: &logging });
    }
    let log = Log::start(&logging).context("cannot start to log")?;
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let endpoint = (arguments.address.as_str(), arguments.port);
    let served = runtime.block_on(serve(endpoint, inherited, found, &log));
    // Does not wait for threads that still resolve a name or read a file.
    runtime.shutdown_background();
    served
}

/// Serves until a signal asks to stop, or until the server is broken.
async fn serve(
    endpoint: (&str, u16),
    inherited: Option<InheritedSockets>,
    found: Found,
    log: &Log,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let Found { config, file, exists } = found;
    let (version, semaphores) = (env!("CARGO_PKG_VERSION"), config.semaphores.len());
    info!(version, configuration = %file.display(), exists, "starting");
    let persistence = config.persistence().to_string();
    let server = tokio::select! {
        started = start(endpoint, inherited, config, file) => started?,
        signal = second_stop(&mut signals) => {
            // What the start has read or written so far does not matter.
            info!(signal, "stopped during the start");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let addresses: Vec<_> = server.addresses().iter().map(BoundAddress::url).collect();
    let serving = Serving { version, semaphores, addresses: &addresses, state: &persistence };
    log.announce(&serving);
    info!("ready");
    systemd::ready(&serving.to_string());
    let status = serve_until_the_end(&server, &mut signals).await;
    systemd::stopping();
    tokio::select! {
        stopped = server.stop() => match stopped {
            Err(error) if status == 0 => {
                error!(%error, status = STORE_FAILED, "stopped, but the state was not kept in order");
                return Ok(STORE_FAILED.into());
            }
            // Whatever has failed was reported before.
            Ok(()) | Err(_) => info!("stopped"),
        },
        signal = second_stop(&mut signals) => warn!(signal, "stopped at once"),
    }
    Ok(status.into())
}

async fn start(
    endpoint: (&str, u16),
    inherited: Option<InheritedSockets>,
    config: Config,
    file: PathBuf,
) -> Result<Running, StartError> {
    match inherited {
        Some(sockets) => throttle_server::start_on(sockets, config, Some(file)).await,
        None => throttle_server::start(endpoint, config, Some(file)).await,
    }
}

/// Obeys signals until one asks to stop, or until the server is broken. Returns the exit status.
async fn serve_until_the_end(server: &Running, signals: &mut Signals) -> u8 {
    let mut ended = pin!(server.ended());
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            ended = &mut ended => {
                let Err(failure) = ended else { return 0 };
                let status = match failure {
                    ServerFailure::Store(_) => STORE_FAILED,
                    ServerFailure::Accepting | ServerFailure::Service(_) => BROKEN,
                };
                error!(error = %failure, status, "the server has failed and ends");
                return status;
            }
        };
        match signal {
            Signal::Reload(signal) => {
                info!(signal, "reloading");
                tokio::spawn(reload(server.reload()));
            }
            Signal::Stop(signal) => {
                info!(signal, "shutting down");
                return 0;
            }
        }
    }
}

/// The exit status of a broken server: `EX_SOFTWARE` of `sysexits.h`.
const BROKEN: u8 = 70;
/// The exit status if the store failed, or if the state file could not be written: `EX_IOERR` of `sysexits.h`.
const STORE_FAILED: u8 = 74;

/// Reloads, and reports the beginning and the outcome to systemd.
async fn reload(reload: impl Future<Output = Result<Changes, ReloadError>>) {
    // systemd may be slow to receive messages, and this thread serves requests.
    let _ = spawn_blocking(systemd::reloading).await;
    let outcome = reload.await;
    let _ = spawn_blocking(move || match outcome {
        Ok(Changes { added, changed, removed, retired, deferred }) => {
            systemd::reloaded(&format!(
                "configuration reloaded: {} semaphores added, {} changed, {} removed, {} retired, {} deferred",
                added.len(),
                changed.len(),
                removed.len(),
                retired.len(),
                deferred.len(),
            ));
        }
        Err(error) => systemd::refused(&format!("reload refused, nothing changed: {error}")),
    })
    .await;
}

/// The next signal to stop: the operator does not want to wait any longer.
async fn second_stop(signals: &mut Signals) -> &'static str {
    loop {
        if let Signal::Stop(signal) = signals.next().await {
            return signal;
        }
    }
}

fn print(text: impl fmt::Display) -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write")?;
    Ok(ExitCode::SUCCESS)
}

/// The output of `--check-config`.
struct Summary<'a> {
    found: &'a Found,
    logging: &'a Logging,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { config, file, exists } = self.found;
        if *exists {
            writeln!(f, "{} is valid.", file.display())?;
        } else {
            writeln!(f, "There is no {}; the defaults apply.", file.display())?;
        }
        writeln!(f, "semaphores: {}", config.semaphores.len())?;
        for (name, SemaphoreConfig { max, level }) in &config.semaphores {
            writeln!(f, "  {name:?}: max {max}, level {level}")?;
        }
        writeln!(f, "{}", Memory::of(config))?;
        writeln!(f, "state: {}", config.persistence())?;
        let grace_period = config.restart.grace_period.get();
        if !grace_period.is_zero() {
            let grace_period = humantime::format_duration(grace_period);
            writeln!(f, "grace period while the state is new: {grace_period}")?;
        }
        writeln!(f, "log to stderr: {}", self.logging.stderr.level)?;
        if let Some(Gelf { host, port, level, .. }) = &self.logging.gelf {
            writeln!(f, "log to Graylog at {host}:{port}: {level}")?;
        }
        Ok(())
    }
}

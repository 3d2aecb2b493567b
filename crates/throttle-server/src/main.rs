//! The binary `throttle`: parses the command line, starts the server, and listens for signals.

mod cli;
mod health_check;
mod signal;
mod systemd;

use std::{
    fmt,
    io::{self, Write},
    pin::pin,
    process::ExitCode,
};

use anyhow::Context;
use throttle_runtime::{Changes, SemaphoreConfig};
use throttle_server::{
    BoundAddress, InheritedSockets, ReloadError,
    config::{self, Config, Found, Gelf, Logging, Memory},
    logging::{Log, Serving},
};
use tokio::{runtime, task::spawn_blocking};
use tracing::{error, info, warn};

use crate::{
    cli::Arguments,
    signal::{Signal, Signals},
};

/// Gives memory that is free back to the system, by a thread of its own and within seconds. The
/// allocator of glibc keeps nearly all of what peers and connections took that are gone; that of musl
/// and those of other systems do not. On aarch64 the size of a page would have to be known when the
/// program is built. It is a feature, for it takes `make` to build, and a clone should build with Rust alone.
#[cfg(all(feature = "jemalloc", target_arch = "x86_64", target_env = "gnu", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(Arguments::of_process()) {
        Ok(code) => code,
        Err(error) => {
            // Each line is one mistake. If nobody listens there is nothing left to do about it.
            for line in format!("{error:#}").lines() {
                let _ = writeln!(io::stderr(), "error: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.print_config {
        return print(Config::sample());
    }
    if arguments.check_health {
        health_check::check(&arguments.address_to_check())?;
        return Ok(ExitCode::SUCCESS);
    }
    let inherited = InheritedSockets::take();
    // A limit that stays is no reason not to start.
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
    // Whatever still looks up a name or reads a file is not waited for.
    runtime.shutdown_background();
    served
}

/// Serves until a signal says to stop, or until the server is broken.
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
    let server = match inherited {
        Some(sockets) => throttle_server::start_on(sockets, config, Some(file))?,
        None => throttle_server::start(endpoint, config, Some(file)).await?,
    };
    let addresses: Vec<_> = server.addresses().iter().map(BoundAddress::url).collect();
    let serving = Serving { version, semaphores, addresses: &addresses };
    log.announce(&serving);
    info!("ready");
    systemd::ready(&serving.to_string());
    let mut failed = pin!(server.failed());
    let code = loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            failure = &mut failed => {
                error!(%failure, status = BROKEN, "the server is broken and ends");
                break ExitCode::from(BROKEN);
            }
        };
        match signal {
            Signal::Reload(signal) => {
                info!(signal, "reloading");
                tokio::spawn(reload(server.reload()));
            }
            Signal::Stop(signal) => {
                info!(signal, "shutting down");
                break ExitCode::SUCCESS;
            }
        }
    };
    systemd::stopping();
    tokio::select! {
        () = server.stop() => info!("stopped"),
        signal = second(&mut signals) => warn!(signal, "stopped at once"),
    }
    Ok(code)
}

/// The exit status of a server that found itself broken: `EX_SOFTWARE` of `sysexits.h`.
const BROKEN: u8 = 70;

/// Reloads, and tells the service manager when it begins and what came of it.
async fn reload(reload: impl Future<Output = Result<Changes, ReloadError>>) {
    // The manager may be slow to take messages, and this is a thread that serves requests.
    let _ = spawn_blocking(systemd::reloading).await;
    let outcome = reload.await;
    let _ = spawn_blocking(move || match outcome {
        Ok(Changes { added, changed, removed }) => systemd::reloaded(&format!(
            "configuration reloaded: {} semaphores added, {} changed, {} removed",
            added.len(),
            changed.len(),
            removed.len(),
        )),
        Err(error) => systemd::refused(&format!("reload refused, nothing changed: {error}")),
    })
    .await;
}

/// The next signal to stop: somebody is out of patience.
async fn second(signals: &mut Signals) -> &'static str {
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

/// What a configuration comes down to.
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
        writeln!(f, "log to stderr: {}", self.logging.stderr.level)?;
        if let Some(Gelf { host, port, level, .. }) = &self.logging.gelf {
            writeln!(f, "log to Graylog at {host}:{port}: {level}")?;
        }
        Ok(())
    }
}

//! The binary `throttle`: parses the command line, starts the server, and listens for signals.

mod cli;
mod health;
mod signal;

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use throttle_runtime::SemaphoreConfig;
use throttle_server::{
    config::{self, Config, Found, Gelf, Logging},
    logging::Log,
};
use tokio::runtime;
use tracing::{info, warn};

use crate::{
    cli::Arguments,
    signal::{Signal, Signals},
};

/// Gives memory that is free back to the system, by a thread of its own and within seconds. The
/// allocator of glibc keeps nearly all of what peers and connections took that are gone; that of musl
/// and those of other systems do not. On aarch64 the size of a page would have to be known when the
/// program is built.
#[cfg(all(target_arch = "x86_64", target_env = "gnu", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(Arguments::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody listens there is nothing left to do about it.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.print_config {
        return print(Config::sample());
    }
    if arguments.check_health {
        return health::check(&arguments.address, arguments.port);
    }
    let found = config::find(arguments.configuration)?;
    let mut logging = found.config.logging.clone();
    logging.stderr.level = arguments.log.unwrap_or(logging.stderr.level);
    if arguments.check_config {
        return print(Summary { found: &found, logging: &logging });
    }
    let _log = Log::start(&logging).context("cannot start to log")?;
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let served = runtime.block_on(serve((&arguments.address, arguments.port), found));
    // Whatever still looks up a name or reads a file is not waited for.
    runtime.shutdown_background();
    served
}

/// Serves until a signal says to stop.
async fn serve(endpoint: (&str, u16), found: Found) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let Found { config, file, exists } = found;
    info!(version = env!("CARGO_PKG_VERSION"), configuration = %file.display(), exists, "starting");
    let server = throttle_server::start(endpoint, config, Some(file)).await?;
    info!("ready");
    let signal = loop {
        match signals.next().await {
            Signal::Reload(signal) => {
                info!(signal, "reloading");
                tokio::spawn(server.reload());
            }
            Signal::Stop(signal) => break signal,
        }
    };
    info!(signal, "shutting down");
    tokio::select! {
        () = server.stop() => info!("stopped"),
        signal = second(&mut signals) => warn!(signal, "stopped at once"),
    }
    Ok(())
}

/// The next signal to stop: somebody is out of patience.
async fn second(signals: &mut Signals) -> &'static str {
    loop {
        if let Signal::Stop(signal) = signals.next().await {
            return signal;
        }
    }
}

fn print(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write")
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
        writeln!(f, "log to stderr: {}", self.logging.stderr.level)?;
        if let Some(Gelf { host, port, level, .. }) = &self.logging.gelf {
            writeln!(f, "log to Graylog at {host}:{port}: {level}")?;
        }
        Ok(())
    }
}

//! The worker that uses the client in Rust.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use throttle_client::{Client, Error, LockError, LockRequest, Peer, http_client_builder};
use throttle_faults::worker_outcome::{OutcomeKind, WorkerOutcome};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

/// The arguments of a worker. Durations are in seconds, as `2.5s`.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Separated by commas.
    urls: String,
    /// Separated by commas. They are nested, the outermost first.
    semaphores: String,
    #[arg(value_parser = parse_duration)]
    lease: Duration,
    /// The longest wait, or `forever`.
    #[arg(value_parser = parse_wait)]
    wait: Wait,
    rounds: u32,
}

#[derive(Clone, Copy, Debug)]
struct Wait(Option<Duration>);

fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.ok_or_else(|| format!("not a number of seconds: {text:?}"))
}

fn parse_wait(text: &str) -> Result<Wait, String> {
    if text == "forever" {
        Ok(Wait(None))
    } else {
        parse_duration(text).map(|span| Wait(Some(span)))
    }
}

/// Takes the lock once in each round.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let http = http_client_builder().no_proxy().build()?;
    let mut urls = arguments.urls.split(',');
    let first = Client::builder(urls.next().expect("`split` returns at least one part"));
    let client = urls.fold(first, |builder, url| builder.or_url(url)).http_client(http).build()?;
    let mut input = Input { lines: BufReader::new(tokio::io::stdin()).lines(), is_open: true };
    for _ in 0..arguments.rounds {
        if !input.is_open {
            break;
        }
        println!("requesting");
        // The locks have the last references to the peer, so it ends with them.
        let peer = Peer::builder(&client)
            .lease(arguments.lease)
            .label("pid", std::process::id().to_string())
            .build();
        let names = arguments.semaphores.split(',');
        let requests = names.map(|name| peer.lock(name)).collect::<Vec<_>>();
        drop(peer);
        let outcome = match hold_locks(requests, arguments.wait, &mut input).await {
            Ok(outcome) => outcome,
            Err(error) => WorkerOutcome::new(outcome_kind(&error), &with_causes(&error)),
        };
        println!("{outcome}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines that the test writes. The end of the input counts as one last line.
struct Input {
    lines: Lines<BufReader<Stdin>>,
    is_open: bool,
}

impl Input {
    async fn line(&mut self) {
        self.is_open = matches!(self.lines.next_line().await, Ok(Some(_)));
    }
}

async fn hold_locks(
    requests: Vec<LockRequest>,
    wait: Wait,
    input: &mut Input,
) -> Result<WorkerOutcome, LockError> {
    let mut locks = Vec::new();
    for request in requests {
        let lock = match wait {
            Wait(None) => request.await?,
            Wait(Some(Duration::ZERO)) => match request.try_lock().await? {
                Some(lock) => lock,
                None => return Ok(WorkerOutcome::new(OutcomeKind::Timeout, "not free")),
            },
            Wait(Some(wait)) => request.wait_at_most(wait).await?,
        };
        locks.push(lock);
    }
    let innermost = locks.last().expect("there is at least one semaphore");
    println!("held {}", innermost.fencing_token().unwrap_or_default());
    tokio::select! {
        () = input.line() => {}
        _ = innermost.lost() => {
            println!("noticed");
            input.line().await;
        }
    }
    let mut outcome = WorkerOutcome::new(OutcomeKind::Released, "");
    while let Some(lock) = locks.pop() {
        if let Err(lost) = lock.release().await {
            outcome = WorkerOutcome::new(OutcomeKind::Lost, &lost.to_string());
        }
    }
    Ok(outcome)
}

fn outcome_kind(error: &LockError) -> OutcomeKind {
    match error {
        LockError::Failed { source: Error::Refused { .. }, .. } => OutcomeKind::Refused,
        LockError::Failed { .. } | LockError::Unreachable { .. } => OutcomeKind::Unreachable,
        LockError::Lost { .. } => OutcomeKind::Lost,
        LockError::NotInTime { .. } => OutcomeKind::Timeout,
        _ => OutcomeKind::Failed,
    }
}

/// The messages of an error and its causes.
fn with_causes(error: &LockError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

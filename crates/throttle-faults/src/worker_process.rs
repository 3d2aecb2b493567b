//! A worker as a process: what it is told, what it says, and when.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin},
    sync::mpsc,
    task::JoinHandle,
    time::Instant,
};

use crate::{
    client_kind::{ClientKind, Programs, WorkerOptions},
    clock,
    worker_outcome::{OutcomeKind, WorkerOutcome},
};

/// A process that takes a lock. It is killed when this is dropped.
#[derive(Debug)]
pub struct WorkerProcess {
    stdin: Option<ChildStdin>,
    messages: mpsc::UnboundedReceiver<(Instant, Message)>,
    process: JoinHandle<()>,
    requested_at: Instant,
}

/// What a worker says.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Message {
    Requesting,
    Held(u64),
    Noticed,
    Ended(WorkerOutcome),
    /// The process has ended; with a message if it should not have ended like that.
    Exited(Result<(), String>),
}

impl Message {
    fn parse(text: &str) -> Self {
        let held = || text.strip_prefix("held ")?.parse().ok().map(Self::Held);
        match text {
            "requesting" => Self::Requesting,
            "noticed" => Self::Noticed,
            _ => held().or_else(|| WorkerOutcome::parse(text).map(Self::Ended)).unwrap_or_else(
                || {
                    Self::Ended(WorkerOutcome::new(
                        OutcomeKind::Failed,
                        &format!("it prints {text:?}"),
                    ))
                },
            ),
        }
    }
}

impl WorkerProcess {
    /// Starts a worker.
    ///
    /// # Errors
    ///
    /// The program cannot be run.
    pub fn start(
        kind: ClientKind,
        programs: &Programs,
        options: &WorkerOptions,
    ) -> anyhow::Result<Self> {
        let mut command = kind.command(programs, options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().with_context(|| {
            format!("cannot run {}", command.as_std().get_program().to_string_lossy())
        })?;
        let stdin = child.stdin.take();
        let (sender, messages) = mpsc::unbounded_channel();
        let process = tokio::spawn(follow(child, kind, sender));
        Ok(Self { stdin, messages, process, requested_at: clock::now() })
    }

    /// When it asked for its lock: for programs that do not say so, when they were started.
    pub fn requested_at(&self) -> Instant {
        self.requested_at
    }

    /// Waits until it holds the lock; returns since when, and its token.
    ///
    /// # Errors
    ///
    /// It says something else, or nothing within this time.
    pub async fn wait_for_lock(&mut self, within: Duration) -> anyhow::Result<(Instant, u64)> {
        match self.wait_for_lock_or_outcome(within).await? {
            Ok(held) => Ok(held),
            Err(outcome) => bail!("it should hold the lock, but ends: {outcome}"),
        }
    }

    /// Waits until it holds the lock, or ends without. Returns the same, or how it ended.
    ///
    /// # Errors
    ///
    /// It says something else, or nothing within this time.
    pub async fn wait_for_lock_or_outcome(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<Result<(Instant, u64), WorkerOutcome>> {
        match self.next(within).await.context("it should hold the lock")? {
            (at, Message::Held(token)) => Ok(Ok((at, token))),
            (_, Message::Ended(outcome)) => Ok(Err(outcome)),
            (_, Message::Exited(Err(message))) => bail!("it should hold the lock, but {message}"),
            (_, message) => bail!("it should hold the lock, but says {message:?}"),
        }
    }

    /// Lets it give the lock back; returns how that ended.
    ///
    /// # Errors
    ///
    /// It does not end within this time.
    pub async fn release(&mut self, within: Duration) -> anyhow::Result<WorkerOutcome> {
        self.proceed().await;
        Ok(self.wait_for_outcome(within).await?.1)
    }

    /// Waits until it notices by itself that the lock is lost; returns when.
    ///
    /// # Errors
    ///
    /// It does not notice within this time, or it denies the loss in the end.
    pub async fn wait_for_loss(&mut self, within: Duration) -> anyhow::Result<Instant> {
        let (at, message) = self.next(within).await.context("it should notice the loss")?;
        let outcome = match message {
            Message::Noticed => self.release(RELEASE_TIME).await?,
            Message::Ended(outcome) => outcome,
            message => bail!("it should notice the loss, but says {message:?}"),
        };
        anyhow::ensure!(
            outcome.kind == OutcomeKind::Lost,
            "it should end with a loss, but: {outcome}"
        );
        Ok(at)
    }

    /// Waits for its outcome; returns when it was there.
    ///
    /// # Errors
    ///
    /// It goes on, or does something else.
    pub async fn wait_for_outcome(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<(Instant, WorkerOutcome)> {
        loop {
            match self.next(within).await.context("it should come to an end")? {
                (at, Message::Ended(outcome)) => return Ok((at, outcome)),
                (_, Message::Noticed) => self.proceed().await,
                (_, Message::Exited(Err(message))) => bail!("it tells no outcome: {message}"),
                (_, message) => bail!("it should come to an end, but says {message:?}"),
            }
        }
    }

    /// Waits until the process is gone.
    ///
    /// # Errors
    ///
    /// It goes on, or exits as it should not.
    pub async fn wait_for_exit(mut self, within: Duration) -> anyhow::Result<()> {
        self.stdin = None;
        match self.next(within).await.context("it should exit")? {
            (_, Message::Exited(result)) => result.map_err(|message| anyhow::anyhow!("{message}")),
            (_, message) => bail!("it should exit, but says {message:?}"),
        }
    }

    /// Tells it that nobody has more to say, and waits until the process is gone. A lock that it gets
    /// meanwhile it gives back.
    ///
    /// # Errors
    ///
    /// It goes on, or exits as it should not.
    pub async fn close_input_and_wait(mut self, within: Duration) -> anyhow::Result<()> {
        self.stdin = None;
        loop {
            if let (_, Message::Exited(result)) =
                self.next(within).await.context("it should exit")?
            {
                return result.map_err(|message| anyhow::anyhow!("{message}"));
            }
        }
    }

    async fn proceed(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // A process that has ended meanwhile says why.
            let _gone = stdin.write_all(b"\n").await;
        }
    }

    async fn next(&mut self, within: Duration) -> anyhow::Result<(Instant, Message)> {
        let start = clock::now();
        loop {
            let left = within.saturating_sub(start.elapsed());
            let Ok(message) = tokio::time::timeout(left, self.messages.recv()).await else {
                bail!("it says nothing for {within:?}")
            };
            match message {
                Some((at, Message::Requesting)) => self.requested_at = at,
                Some(message) => return Ok(message),
                None => bail!("it has ended"),
            }
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.process.abort();
    }
}

/// Passes on what a process says until its end.
async fn follow(
    mut child: Child,
    kind: ClientKind,
    sender: mpsc::UnboundedSender<(Instant, Message)>,
) {
    let stdout = child.stdout.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    let stderr_text = tokio::spawn(async move {
        let mut text = Vec::new();
        // What there is counts, also if the rest cannot be read.
        let _broken = stderr.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    // Nobody listens any more if sending fails.
    let send = |message| drop(sender.send((clock::now(), message)));
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        send(Message::parse(&line));
    }
    let status = child.wait().await;
    let stderr_text = stderr_text.await.unwrap_or_default();
    let code = status.as_ref().ok().and_then(std::process::ExitStatus::code);
    if kind == ClientKind::Throttlectl {
        send(Message::Ended(WorkerOutcome::new(
            OutcomeKind::from_throttlectl_status(code),
            &stderr_text,
        )));
        send(Message::Exited(Ok(())));
    } else {
        // Of a traceback the last line says what the matter is.
        let last_line = stderr_text.trim_end().lines().next_back().unwrap_or_default();
        let is_success = code == Some(0);
        let message = || format!("it exits with status {code:?}: {last_line}");
        send(Message::Exited(is_success.then_some(()).ok_or_else(message)));
    }
}

/// How long somebody who knows of a loss may take to say so.
const RELEASE_TIME: Duration = Duration::from_secs(5);

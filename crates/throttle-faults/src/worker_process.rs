//! Starts and drives a worker process, and records when it prints what.

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

/// A worker process. It is killed when this is dropped.
#[derive(Debug)]
pub struct WorkerProcess {
    stdin: Option<ChildStdin>,
    messages: mpsc::UnboundedReceiver<(Instant, Message)>,
    process: JoinHandle<()>,
    process_id: u32,
    requested_at: Instant,
}

/// A message of a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Message {
    Requesting,
    Held(u64),
    Noticed,
    Ended(WorkerOutcome),
    /// The process has ended. The error is set if it was not the end of a healthy worker.
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
                        &format!("the worker prints {text:?}"),
                    ))
                },
            ),
        }
    }
}

impl WorkerProcess {
    /// Starts a worker process.
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
        let process_id = child.id().unwrap_or_default();
        let (sender, messages) = mpsc::unbounded_channel();
        let process = tokio::spawn(follow(child, kind, sender));
        Ok(Self { stdin, messages, process, process_id, requested_at: clock::now() })
    }

    /// The number that the system gave to the process.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Kills the process.
    pub async fn kill(mut self) {
        self.process.abort();
        // Waits until the task has dropped the process, which kills it.
        let _aborted = (&mut self.process).await;
    }

    /// When it requested its lock. For `throttlectl`, which does not print this, when it was started.
    pub fn requested_at(&self) -> Instant {
        self.requested_at
    }

    /// Waits until it holds the lock. Returns the instant and the fencing token.
    ///
    /// # Errors
    ///
    /// It prints another message, or none within this time.
    pub async fn wait_for_lock(&mut self, within: Duration) -> anyhow::Result<(Instant, u64)> {
        match self.wait_for_lock_or_outcome(within).await? {
            Ok(held) => Ok(held),
            Err(outcome) => bail!("the worker should hold the lock, but ends: {outcome}"),
        }
    }

    /// Waits until it holds the lock, or fails to get it. Returns the instant and the fencing token, or the
    /// outcome.
    ///
    /// # Errors
    ///
    /// It prints another message, or none within this time.
    pub async fn wait_for_lock_or_outcome(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<Result<(Instant, u64), WorkerOutcome>> {
        match self.next(within).await.context("the worker should hold the lock")? {
            (at, Message::Held(token)) => Ok(Ok((at, token))),
            (_, Message::Ended(outcome)) => Ok(Err(outcome)),
            (_, Message::Exited(Err(message))) => {
                bail!("the worker should hold the lock, but {message}")
            }
            (_, message) => bail!("the worker should hold the lock, but says {message:?}"),
        }
    }

    /// Makes it release the lock. Returns the outcome.
    ///
    /// # Errors
    ///
    /// It prints no outcome within this time.
    pub async fn release(&mut self, within: Duration) -> anyhow::Result<WorkerOutcome> {
        self.proceed().await;
        Ok(self.wait_for_outcome(within).await?.1)
    }

    /// Waits until it reports the loss of the lock without being asked. Returns the instant.
    ///
    /// # Errors
    ///
    /// It reports no loss within this time, or its outcome is not a loss.
    pub async fn wait_for_loss(&mut self, within: Duration) -> anyhow::Result<Instant> {
        let (at, message) = self.next(within).await.context("the worker should notice the loss")?;
        let outcome = match message {
            Message::Noticed => self.release(RELEASE_TIME).await?,
            Message::Ended(outcome) => outcome,
            message => bail!("the worker should notice the loss, but says {message:?}"),
        };
        anyhow::ensure!(
            outcome.kind == OutcomeKind::Lost,
            "the worker should end with a loss, but: {outcome}"
        );
        Ok(at)
    }

    /// Waits for its outcome. Returns the instant and the outcome.
    ///
    /// # Errors
    ///
    /// It prints another message, or no outcome within this time.
    pub async fn wait_for_outcome(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<(Instant, WorkerOutcome)> {
        loop {
            match self.next(within).await.context("the worker should come to an end")? {
                (at, Message::Ended(outcome)) => return Ok((at, outcome)),
                (_, Message::Noticed) => self.proceed().await,
                (_, Message::Exited(Err(message))) => {
                    bail!("the worker prints no outcome: {message}")
                }
                (_, message) => bail!("the worker should come to an end, but says {message:?}"),
            }
        }
    }

    /// Closes its input and waits until the process has ended.
    ///
    /// # Errors
    ///
    /// It prints anything, it fails, or it does not end within this time.
    pub async fn wait_for_exit(mut self, within: Duration) -> anyhow::Result<()> {
        self.stdin = None;
        match self.next(within).await.context("the worker should exit")? {
            (_, Message::Exited(result)) => result.map_err(|message| anyhow::anyhow!("{message}")),
            (_, message) => bail!("the worker should exit, but says {message:?}"),
        }
    }

    /// The same for a worker that may still get the lock, which it then releases at once.
    ///
    /// # Errors
    ///
    /// It fails, or it does not end within this time.
    pub async fn close_input_and_wait(mut self, within: Duration) -> anyhow::Result<()> {
        self.stdin = None;
        loop {
            if let (_, Message::Exited(result)) =
                self.next(within).await.context("the worker should exit")?
            {
                return result.map_err(|message| anyhow::anyhow!("{message}"));
            }
        }
    }

    async fn proceed(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // If the process has ended, its next message has the reason.
            let _gone = stdin.write_all(b"\n").await;
        }
    }

    async fn next(&mut self, within: Duration) -> anyhow::Result<(Instant, Message)> {
        let start = clock::now();
        loop {
            let left = within.saturating_sub(start.elapsed());
            let Ok(message) = tokio::time::timeout(left, self.messages.recv()).await else {
                bail!("the worker says nothing for {within:?}")
            };
            match message {
                Some((at, Message::Requesting)) => self.requested_at = at,
                Some(message) => return Ok(message),
                None => bail!("the worker has ended"),
            }
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.process.abort();
    }
}

/// Sends the messages of a process until its end.
async fn follow(
    mut child: Child,
    kind: ClientKind,
    sender: mpsc::UnboundedSender<(Instant, Message)>,
) {
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let stderr_text = tokio::spawn(async move {
        let mut text = Vec::new();
        // If reading fails, the text so far is used.
        let _broken = stderr.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    // Sending fails if the `WorkerProcess` is dropped.
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
        // The last line of a traceback is the exception.
        let last_line = stderr_text.trim_end().lines().next_back().unwrap_or_default();
        let is_success = code == Some(0);
        let message = || format!("the worker exits with status {code:?}: {last_line}");
        send(Message::Exited(is_success.then_some(()).ok_or_else(message)));
    }
}

/// How long the release of a lost lock may take.
const RELEASE_TIME: Duration = Duration::from_secs(5);

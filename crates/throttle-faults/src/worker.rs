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
    clock,
    form::{Ask, Form, Programs},
    outcome::{End, Outcome},
};

/// A process that takes a lock. It is killed when this is dropped.
#[derive(Debug)]
pub struct Worker {
    stdin: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<(Instant, Line)>,
    process: JoinHandle<()>,
    asked: Instant,
}

/// What a worker says.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Line {
    Asking,
    Held(u64),
    Noticed,
    Ended(Outcome),
    /// The process has ended; with a message if it should not have ended like that.
    Exited(Result<(), String>),
}

impl Line {
    fn parse(text: &str) -> Self {
        let held = || text.strip_prefix("held ")?.parse().ok().map(Self::Held);
        match text {
            "asking" => Self::Asking,
            "noticed" => Self::Noticed,
            _ => held().or_else(|| Outcome::parse(text).map(Self::Ended)).unwrap_or_else(|| {
                Self::Ended(Outcome::new(End::Failed, &format!("it prints {text:?}")))
            }),
        }
    }
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    ///
    /// The program cannot be run.
    pub fn start(form: Form, programs: &Programs, ask: &Ask) -> anyhow::Result<Self> {
        let mut command = form.command(programs, ask);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().with_context(|| {
            format!("cannot run {}", command.as_std().get_program().to_string_lossy())
        })?;
        let stdin = child.stdin.take();
        let (sender, lines) = mpsc::unbounded_channel();
        let process = tokio::spawn(follow(child, form, sender));
        Ok(Self { stdin, lines, process, asked: clock::now() })
    }

    /// When it asked for its lock: for programs that do not say so, when they were started.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// Waits until it holds the lock; returns since when, and its token.
    ///
    /// # Errors
    ///
    /// It says something else, or nothing within this time.
    pub async fn held(&mut self, within: Duration) -> anyhow::Result<(Instant, u64)> {
        match self.asks(within).await? {
            Ok(held) => Ok(held),
            Err(outcome) => bail!("it should hold the lock, but ends: {outcome}"),
        }
    }

    /// Waits until it holds the lock, or ends without. Returns the same, or how it ended.
    ///
    /// # Errors
    ///
    /// It says something else, or nothing within this time.
    pub async fn asks(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<Result<(Instant, u64), Outcome>> {
        match self.next(within).await.context("it should hold the lock")? {
            (at, Line::Held(token)) => Ok(Ok((at, token))),
            (_, Line::Ended(outcome)) => Ok(Err(outcome)),
            (_, Line::Exited(Err(message))) => bail!("it should hold the lock, but {message}"),
            (_, line) => bail!("it should hold the lock, but says {line:?}"),
        }
    }

    /// Lets it give the lock back; returns how that ended.
    ///
    /// # Errors
    ///
    /// It does not end within this time.
    pub async fn release(&mut self, within: Duration) -> anyhow::Result<Outcome> {
        self.proceed().await;
        Ok(self.ended(within).await?.1)
    }

    /// Waits until it notices by itself that the lock is lost; returns when.
    ///
    /// # Errors
    ///
    /// It does not notice within this time, or it denies the loss in the end.
    pub async fn lost(&mut self, within: Duration) -> anyhow::Result<Instant> {
        let (at, line) = self.next(within).await.context("it should notice the loss")?;
        let outcome = match line {
            Line::Noticed => self.release(END).await?,
            Line::Ended(outcome) => outcome,
            line => bail!("it should notice the loss, but says {line:?}"),
        };
        anyhow::ensure!(outcome.end == End::Lost, "it should end with a loss, but: {outcome}");
        Ok(at)
    }

    /// Waits for its outcome; returns when it was there.
    ///
    /// # Errors
    ///
    /// It goes on, or does something else.
    pub async fn ended(&mut self, within: Duration) -> anyhow::Result<(Instant, Outcome)> {
        loop {
            match self.next(within).await.context("it should come to an end")? {
                (at, Line::Ended(outcome)) => return Ok((at, outcome)),
                (_, Line::Noticed) => self.proceed().await,
                (_, Line::Exited(Err(message))) => bail!("it tells no outcome: {message}"),
                (_, line) => bail!("it should come to an end, but says {line:?}"),
            }
        }
    }

    /// Waits until the process is gone.
    ///
    /// # Errors
    ///
    /// It goes on, or exits as it should not.
    pub async fn exit(mut self, within: Duration) -> anyhow::Result<()> {
        self.stdin = None;
        match self.next(within).await.context("it should exit")? {
            (_, Line::Exited(result)) => result.map_err(|message| anyhow::anyhow!("{message}")),
            (_, line) => bail!("it should exit, but says {line:?}"),
        }
    }

    /// Tells it that nobody has more to say, and waits until the process is gone. A lock that it gets
    /// meanwhile it gives back.
    ///
    /// # Errors
    ///
    /// It goes on, or exits as it should not.
    pub async fn finish(mut self, within: Duration) -> anyhow::Result<()> {
        self.stdin = None;
        loop {
            if let (_, Line::Exited(result)) = self.next(within).await.context("it should exit")? {
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

    async fn next(&mut self, within: Duration) -> anyhow::Result<(Instant, Line)> {
        let start = clock::now();
        loop {
            let left = within.saturating_sub(start.elapsed());
            let Ok(line) = tokio::time::timeout(left, self.lines.recv()).await else {
                bail!("it says nothing for {within:?}")
            };
            match line {
                Some((at, Line::Asking)) => self.asked = at,
                Some(line) => return Ok(line),
                None => bail!("it has ended"),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.abort();
    }
}

/// Passes on what a process says until its end.
async fn follow(mut child: Child, form: Form, sender: mpsc::UnboundedSender<(Instant, Line)>) {
    let stdout = child.stdout.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    let complaints = tokio::spawn(async move {
        let mut text = Vec::new();
        // What there is counts, also if the rest cannot be read.
        let _broken = stderr.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    // Nobody listens any more if sending fails.
    let send = |line| drop(sender.send((clock::now(), line)));
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        send(Line::parse(&line));
    }
    let status = child.wait().await;
    let complaints = complaints.await.unwrap_or_default();
    let code = status.as_ref().ok().and_then(std::process::ExitStatus::code);
    if form == Form::Throttlectl {
        send(Line::Ended(Outcome::new(End::of_status(code), &complaints)));
        send(Line::Exited(Ok(())));
    } else {
        // Of a traceback the last line says what the matter is.
        let complaint = complaints.trim_end().lines().next_back().unwrap_or_default();
        let is_success = code == Some(0);
        let message = || format!("it exits with status {code:?}: {complaint}");
        send(Line::Exited(is_success.then_some(()).ok_or_else(message)));
    }
}

/// How long somebody who knows of a loss may take to say so.
const END: Duration = Duration::from_secs(5);

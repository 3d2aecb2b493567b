//! Plays a script on a subject and writes down what came of it.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::{Act, Peer, act};

/// A layer that scripts are played on.
pub trait Subject {
    /// Does it, at the present instant.
    ///
    /// Returns `granted`, `queued`, `ok`, `true`, a number, or the code of an error; for a request
    /// that stays open `waits`.
    fn perform(&mut self, act: &Act) -> impl Future<Output = String>;

    /// Lets time pass until `at`, counted from the beginning.
    fn pass(&mut self, at: Duration) -> impl Future<Output = ()>;

    /// Whose open requests were answered since the last call, and how.
    fn heard(&mut self) -> impl Future<Output = Vec<(Peer, String)>>;

    /// Where a peer stands now.
    fn standing(&mut self, peer: Peer) -> impl Future<Output = Standing>;
}

/// Where a peer stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Whether the peer is known.
    pub alive: bool,
    /// The semaphores that it holds.
    pub held: Vec<String>,
    /// The semaphore that it waits for.
    pub pending: Option<String>,
}

/// Plays `script` on what `start` makes of the semaphores, and returns the transcript.
///
/// # Panics
///
/// If the script cannot be read.
pub async fn play<S: Subject>(
    script: &str,
    start: impl FnOnce(Vec<(String, u64, i32)>) -> S,
) -> String {
    let mut lines = script.trim().lines().map(str::trim).peekable();
    let (mut transcript, mut semaphores) = (String::new(), Vec::new());
    while let Some(line) = lines.next_if(|line| line.contains(" = ")) {
        semaphores.push(semaphore(line));
        writeln!(transcript, "{line}").expect("strings take everything");
    }
    let mut stage = Stage { subject: start(semaphores), cast: BTreeMap::new() };
    for line in lines {
        let (script, _) = line.split_once(':').unwrap_or((line, ""));
        let (at, words) = script.split_once(' ').expect("a line begins with its time");
        let outcome = stage.play(act::duration(at), &Act::parse(words)).await;
        writeln!(transcript, "{script}: {outcome}").expect("strings take everything");
    }
    transcript
}

/// `A = 3` or `A = 3 level 1`
fn semaphore(line: &str) -> (String, u64, i32) {
    match *line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [name, "=", max] => (name.to_owned(), max.parse().expect("a maximum"), 0),
        [name, "=", max, "level", level] => {
            (name.to_owned(), max.parse().expect("a maximum"), level.parse().expect("a level"))
        }
        _ => panic!("{line:?} is no semaphore"),
    }
}

/// The subject, and where all who have appeared so far stood after the last line.
struct Stage<S> {
    subject: S,
    cast: BTreeMap<Peer, Standing>,
}

impl<S: Subject> Stage<S> {
    async fn play(&mut self, at: Duration, act: &Act) -> String {
        self.subject.pass(at).await;
        let answer = self.subject.perform(act).await;
        let mut outcome = vec![answer];
        let mut heard = self.subject.heard().await;
        heard.sort();
        let mut cast = self.cast.clone();
        if let Some(actor) = act.actor() {
            cast.entry(actor).or_default();
        }
        for (&peer, before) in &mut cast {
            let now = self.subject.standing(peer).await;
            let mut told = heard.iter().filter(|(listener, _)| *listener == peer).peekable();
            if told.peek().is_some() {
                outcome.extend(told.map(|(_, news)| format!("{peer} hears {news}")));
            } else if act.actor() != Some(peer) {
                outcome.extend(change(before, &now).map(|change| format!("{peer} {change}")));
            }
            *before = now;
        }
        self.cast = cast;
        outcome.join(", ")
    }
}

/// What became of a peer that did nothing itself and heard nothing.
fn change(before: &Standing, now: &Standing) -> Option<String> {
    if before.alive && !now.alive {
        return Some("is gone".to_owned());
    }
    if let Some(lock) = before.held.iter().find(|lock| !now.held.contains(lock)) {
        return Some(format!("loses {lock}"));
    }
    let lock = before.pending.as_ref().filter(|_| now.pending.is_none())?;
    let granted = now.held.contains(lock);
    Some(if granted { "is granted" } else { "waits no more" }.to_owned())
}

//! Plays a script on a subject and writes the transcript.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::{Act, Peer, act};

/// A layer that scripts are played on.
pub trait Subject {
    /// Whether this layer has the operation. A script with an act that it cannot play is skipped.
    fn can_play(act: &Act) -> bool {
        let _ = act;
        true
    }

    /// Performs the act at the present instant.
    ///
    /// Returns `granted`, `queued`, `ok`, `true`, `false`, a number, or the code of an error; `waits` for a
    /// request that stays open; `removed` or `retired` for a semaphore that is removed, and `deferred` for a
    /// configuration whose level is not in force yet.
    fn perform(&mut self, act: &Act) -> impl Future<Output = String>;

    /// Advances time to `at`, counted from the start of the script.
    fn advance_to(&mut self, at: Duration) -> impl Future<Output = ()>;

    /// The answers to open requests since the last call.
    fn take_answers(&mut self) -> impl Future<Output = Vec<(Peer, String)>>;

    /// A peer as it is now.
    fn peer_state(&mut self, peer: Peer) -> impl Future<Output = PeerState>;
}

/// What the player compares of a peer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeerState {
    /// Whether the peer exists.
    pub exists: bool,
    /// The semaphores it holds.
    pub held: Vec<String>,
    /// The semaphore it waits for.
    pub pending: Option<String>,
}

/// Plays `script` on the subject that `start` creates with the semaphores, and returns the transcript. It is the
/// script itself if the subject [cannot play](Subject::can_play) an act of it.
///
/// # Panics
///
/// If the script is invalid.
#[expect(clippy::print_stderr, reason = "the tests show what was skipped")]
pub async fn play<S: Subject>(
    script: &str,
    start: impl FnOnce(Vec<(String, u64, i32)>) -> S,
) -> String {
    let mut lines = script.trim().lines().map(str::trim).peekable();
    let (mut transcript, mut semaphores) = (String::new(), Vec::new());
    while let Some(line) = lines.next_if(|line| line.contains(" = ")) {
        semaphores.push(semaphore(line));
        writeln!(transcript, "{line}").expect("writing to a string succeeds");
    }
    let acts = lines.map(|line| {
        let (script, _) = line.split_once(':').unwrap_or((line, ""));
        let (at, words) = script.split_once(' ').expect("a line begins with its time");
        (line, script, act::duration(at), Act::parse(words))
    });
    let acts: Vec<_> = acts.collect();
    if let Some((.., act)) = acts.iter().find(|(.., act)| !S::can_play(act)) {
        eprintln!("skipped: this layer cannot play {act:?}");
        let lines = acts.iter().map(|(line, ..)| format!("{line}\n"));
        return transcript + &lines.collect::<String>();
    }
    let mut player = Player { subject: start(semaphores), peers: BTreeMap::new() };
    for (_, script, at, act) in acts {
        let outcome = player.play(at, &act).await;
        writeln!(transcript, "{script}: {outcome}").expect("writing to a string succeeds");
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

/// The subject, and the peers that have acted so far as they were after the last line.
struct Player<S> {
    subject: S,
    peers: BTreeMap<Peer, PeerState>,
}

impl<S: Subject> Player<S> {
    async fn play(&mut self, at: Duration, act: &Act) -> String {
        self.subject.advance_to(at).await;
        let answer = self.subject.perform(act).await;
        let mut outcome = vec![answer];
        let mut answers = self.subject.take_answers().await;
        answers.sort();
        let mut peers = self.peers.clone();
        if let Some(actor) = act.actor() {
            peers.entry(actor).or_default();
        }
        for (&peer, before) in &mut peers {
            let now = self.subject.peer_state(peer).await;
            let mut received = answers.iter().filter(|(waiter, _)| *waiter == peer).peekable();
            if received.peek().is_some() {
                outcome.extend(received.map(|(_, answer)| format!("{peer} receives {answer}")));
            } else if act.actor() != Some(peer) {
                outcome.extend(change(before, &now).map(|change| format!("{peer} {change}")));
            }
            *before = now;
        }
        self.peers = peers;
        outcome.join(", ")
    }
}

/// How a peer changed that neither acted nor received an answer.
fn change(before: &PeerState, now: &PeerState) -> Option<String> {
    if before.exists && !now.exists {
        return Some("is gone".to_owned());
    }
    if let Some(lock) = before.held.iter().find(|lock| !now.held.contains(lock)) {
        return Some(format!("loses {lock}"));
    }
    let lock = before.pending.as_ref().filter(|_| now.pending.is_none())?;
    let granted = now.held.contains(lock);
    Some(if granted { "is granted" } else { "waits no more" }.to_owned())
}

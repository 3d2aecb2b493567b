//! Recovery composes: for each transcript, the machine ends after each line and is rebuilt from its records,
//! and the rest of the transcript plays the same, but for what is meant to differ.
//!
//! What is meant to differ, and nothing else: every peer has its full lease from then on, and a waiter that was
//! parked is an ordinary one that nobody attends. So the rest is compared, line by line, with that of a machine
//! that goes on, but to which all peers send a heartbeat at that instant, and all parked waiters a request that
//! is answered at once. A client with an open request repeats it after the recovery, as it does on a broken
//! connection.
//!
//! Most lines are in addition the same as in the transcript itself.

use std::{fs, path::Path};

use futures_util::FutureExt as _;
use throttle_core::{
    Admission, FencingToken, LockRequest, PeerRecord, Recovery, SemaphoreId, SemaphoreStatus,
    Settings, Throttle, Ticket, Time,
};
use throttle_transcripts::play;

use crate::core::{Core, id};

/// Something that happens between two lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// After how many lines.
    pub(crate) after: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The machine ends, and another one is rebuilt from its records.
    Recovery,
    /// The machine goes on, but all peers send a heartbeat, and parked waiters ask again.
    Renewal,
}

/// D6, D7
#[test]
fn recovery_composes_with_every_transcript() {
    let (mut compared, mut unchanged, mut transcripts) = (0, 0, 0);
    for script in scripts() {
        let whole = lines(&script);
        let acts = whole.iter().filter(|line| !line.contains(" = ")).count();
        transcripts += 1;
        for after in 1..acts {
            let rest = |kind| {
                let played = play(&script, |semaphores| Core {
                    stop: Some(Stop { after, kind }),
                    ..Core::start(semaphores)
                });
                let played = lines(&played.now_or_never().expect("the core never waits"));
                assert_eq!(played.len(), whole.len(), "every line is played");
                played[whole.len() - acts + after..].to_vec()
            };
            let recovered = rest(Kind::Recovery);
            assert_eq!(recovered, rest(Kind::Renewal), "after line {after} of:\n{script}");
            compared += recovered.len();
            let as_written = &whole[whole.len() - acts + after..];
            let same = recovered.iter().zip(as_written).filter(|(one, other)| one == other);
            unchanged += same.count();
        }
    }
    assert!(transcripts >= 70 && compared >= 2_000, "{transcripts} transcripts, {compared} lines");
    assert!(unchanged * 20 >= compared * 19, "{unchanged} of {compared} lines as written");
}

/// The transcripts of the corpus, as they are written.
fn scripts() -> Vec<String> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../throttle-transcripts/corpus");
    let files = fs::read_dir(corpus).expect("the corpus is a directory");
    let texts = files.map(|file| {
        fs::read_to_string(file.expect("a directory has entries").path()).expect("a file has text")
    });
    let scripts = texts.flat_map(|text| {
        let scripts = text.split("expect![[r#\"").skip(1);
        let scripts = scripts.map(|rest| rest.split("\"#]]").next().unwrap_or_default().to_owned());
        scripts.collect::<Vec<_>>()
    });
    scripts.collect()
}

fn lines(script: &str) -> Vec<String> {
    script.trim().lines().map(|line| line.trim().to_owned()).collect()
}

impl Stop {
    pub(crate) fn happen(self, core: &mut Core) {
        match self.kind {
            Kind::Recovery => recover(core),
            Kind::Renewal => renew(core),
        }
        core.process_events();
    }
}

/// What an embedder keeps of a machine: it names semaphores by their names.
struct Records {
    semaphores: Vec<(SemaphoreStatus<String>, FencingToken)>,
    peers: Vec<PeerRecord<String>>,
    absent: Vec<(throttle_core::PeerId, throttle_core::Sequence, Time)>,
    token_floor: FencingToken,
    are_grants_suspended: bool,
}

impl Records {
    fn of(core: &Core) -> Self {
        let throttle = &core.throttle;
        let name = |id: SemaphoreId| {
            let mut names = core.names.iter().filter(|(_, known)| **known == id);
            names.next().map(|(name, _)| name.clone()).ok_or("a semaphore in use has a name")
        };
        let semaphores = core.names.iter().map(|(name, &id)| {
            let status = throttle.semaphore_status(id).expect("a name has a semaphore");
            (status.named(name.clone()), throttle.last_token(id).expect("it is known"))
        });
        let peers = throttle.records(None).map(|(_, record)| {
            record.map(name, |since| since).expect("a semaphore in use has a name")
        });
        Self {
            semaphores: semaphores.collect(),
            peers: peers.collect(),
            absent: throttle.absent_peers().collect(),
            token_floor: throttle.token_floor(),
            are_grants_suspended: throttle.are_grants_suspended(),
        }
    }
}

fn recover(core: &mut Core) {
    let records = Records::of(core);
    let now = core.now;
    let mut throttle = Throttle::new(Settings::default()).with_last_token(records.token_floor);
    if records.are_grants_suspended {
        throttle.suspend_grants(now);
    }
    for (semaphore, _) in &records.semaphores {
        let id = throttle.add_semaphore(now, semaphore.max, semaphore.level);
        core.names.insert(semaphore.name.clone(), id);
    }
    let mut recovery = Recovery::new(throttle, now);
    for (semaphore, last_token) in &records.semaphores {
        let id = core.names[&semaphore.name];
        recovery.semaphore(id, *last_token).expect("a live machine is not damaged");
        if semaphore.retired {
            recovery.retire(id).expect("a live machine is not damaged");
        }
    }
    for record in records.peers {
        let id = |name: String| core.names.get(&name).copied().ok_or(name);
        let record = record.map(id, |since| since).expect("every name is known");
        recovery.peer(record).expect("a live machine is not damaged");
    }
    for (peer, sequence, since) in records.absent {
        recovery.absent(peer, sequence, since);
    }
    core.throttle = recovery.finish();
    for (semaphore, _) in records.semaphores {
        if let Some(level) = semaphore.next_level {
            let id = core.names[&semaphore.name];
            assert_eq!(core.throttle.set_level(now, id, level), Ok(false), "it is in use");
        }
    }
    core.process_events();
    for waiting in
        core.open.iter().map(|request| (request.peer, request.ticket)).collect::<Vec<_>>()
    {
        let (peer, ticket) = waiting;
        let again = ask_again(core, id(peer), true);
        assert!(again == Some(ticket), "{peer} waits where it waited");
    }
}

fn renew(core: &mut Core) {
    let now = core.now;
    let peers: Vec<_> = core.throttle.records(None).map(|(_, record)| record).collect();
    for record in &peers {
        core.throttle.heartbeat(now, record.id, record.expires_in).expect("the peer exists");
    }
    let mut waiting: Vec<_> =
        peers.iter().filter_map(|peer| Some((peer.pending?.ticket, peer.id))).collect();
    waiting.sort_unstable();
    for (_, peer) in waiting {
        let status = core.throttle.peer_status(peer, 0).expect("the peer exists");
        if status.pending.is_some_and(|lock| lock.parked) {
            ask_again(core, peer, false);
        }
    }
}

/// A waiting client repeats its request. Returns its ticket if it still waits.
fn ask_again(core: &mut Core, peer: throttle_core::PeerId, attended: bool) -> Option<Ticket> {
    let record = core.throttle.peer_record(peer).expect("a waiter exists");
    let pending = record.pending?;
    let request = LockRequest { attended, ..(pending.semaphore, pending.count).into() };
    match core.throttle.acquire(core.now, peer, request) {
        Ok(Admission::Queued { ticket, .. }) => Some(ticket),
        Ok(Admission::Granted { .. }) | Err(_) => None,
    }
}

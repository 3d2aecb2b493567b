//! `[store]` and `[restart]`: what keeps the state of the server when its process ends.

use std::{fmt, path::Path};

use serde::Serialize;

use super::{
    file::{FileName, OptionalFile},
    reader::Reader,
    value::Span,
};

section! {
    /// A durable store: a file that keeps peers, locks and queues however the process ends. After a restart,
    /// holders hold what they held under the same fencing tokens, waiters stand where they stood, and every
    /// peer has its full lease. Each change is on the disk before anyone is told of it. Without this section
    /// the state is in memory only.
    #[derive(Serialize)]
    pub struct Store {
        options {
            /// The file. It is made if it does not exist, but its directory must exist. A relative name starts
            /// at the working directory of the server. One server at a time can use a file. Keep it on a disk
            /// of this machine, not on a file system of the network.
            path: FileName = FileName::new("throttle.redb"),
        }
        tables {}
    }
}

section! {
    /// What protects locks over a restart without a store.
    #[derive(Serialize)]
    pub struct Restart {
        options {
            /// A file into which the state is written when the server is stopped in order, such as for an
            /// upgrade. The next start reads it and deletes it. After a crash there is none. A relative name
            /// starts at the working directory of the server; the directory must exist. "" for none. Together
            /// with a section store, which keeps the state anyway, it is an error.
            state_file: OptionalFile = OptionalFile::none(),
            /// For so long after a start nothing new is granted: holders renew and restore their locks, and
            /// requests queue in order. Then the queues are served. Choose the longest lease that clients use,
            /// and nobody is granted a lock that its holder still counts on. A server that recovers a state
            /// goes on with what is left of the period since that state was begun.
            grace_period: Span = Span::from_secs(0),
        }
        tables {}
    }
}

/// What keeps the state when the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Persistence<'a> {
    /// Nothing.
    Memory,
    /// A file that is written at the end and read at the next start.
    StateFile(&'a Path),
    /// A store in this file.
    Store(&'a Path),
}

impl<'a> Persistence<'a> {
    pub(super) fn new(store: Option<&'a Store>, restart: &'a Restart) -> Self {
        let store = store.map(|store| Self::Store(store.path.path()));
        store.or_else(|| restart.state_file.path().map(Self::StateFile)).unwrap_or(Self::Memory)
    }
}

/// Where the state is, to follow words such as "its state is".
impl fmt::Display for Persistence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("in memory"),
            Self::StateFile(file) => {
                write!(f, "in memory, and in {} from a stop to the next start", file.display())
            }
            Self::Store(file) => write!(f, "durable in {}", file.display()),
        }
    }
}

/// Refuses a state file together with a store: after a crash the file of an earlier stop would contradict it.
pub(super) fn check(store: Option<&Store>, restart: &Restart, reader: &mut Reader) {
    let Restart { state_file, .. } = restart;
    if store.is_some() && state_file.path().is_some() {
        reader.within("restart", |reader| {
            reader.within("state_file", |reader| {
                let contradiction = "a state file, although there is a section `store`, which keeps \
                    the state over every restart";
                reader.refuse(state_file.span(), contradiction);
            });
        });
    }
}

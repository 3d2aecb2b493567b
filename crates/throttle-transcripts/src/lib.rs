//! Scenarios as transcripts, and the player that checks them against any layer.
//!
//! A transcript is its own script. It lists the semaphores, then one act per line with its time. After the
//! colon come the answer and the effects on other peers:
//!
//! ```text
//! A = 3
//! 0s p1 new_peer 1m: ok
//! 0s p2 new_peer 1m: ok
//! 0s p1 acquire A 2: granted
//! 0s p2 acquire A 2 block_for 10s: waits
//! 5s p1 release A: ok, p2 receives granted
//! ```
//!
//! [`play`] performs the part before each colon on a [`Subject`] and writes the outcome after it; a test
//! compares the result with the script. The tests of the core, of the runtime and of the routes all
//! include the files in `corpus/`.

#![forbid(unsafe_code)]

mod act;
mod player;

pub use crate::{
    act::{Act, Peer},
    player::{PeerState, Subject, play},
};

//! Scenarios as transcripts, and the player that checks them against any layer.
//!
//! A transcript is its own script. It says what the semaphores are, and then line by line when who
//! does what; behind the colon stand the answer and the news for others:
//!
//! ```text
//! A = 3
//! 0s p1 join 1m: ok
//! 0s p2 join 1m: ok
//! 0s p1 acquire A 2: granted
//! 0s p2 acquire A 2 blocking 10s: waits
//! 5s p1 release A: ok, p2 hears granted
//! ```
//!
//! [`play`] performs what stands before each colon on a [`Subject`] and writes down what came of it,
//! so that comparing the result with the script is the whole test. The files in `corpus/` are
//! included by the tests of the core, of the runtime and of the routes alike.

#![forbid(unsafe_code)]

mod act;
mod player;

pub use crate::{
    act::{Act, Peer},
    player::{Standing, Subject, play},
};

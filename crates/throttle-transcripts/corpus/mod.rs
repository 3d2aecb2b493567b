//! The corpus. A test that includes it defines a function `check`, which plays a transcript.

mod capacity_and_fairness;
mod expiry;
mod refusals;
mod repetition;
mod resizing;
mod restore;
mod retirement;
mod sequence;
mod suspension;
mod waiting;

use super::check;

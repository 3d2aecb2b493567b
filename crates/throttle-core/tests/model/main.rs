//! The machine against the specification, in lives made of random commands.
//!
//! [`agreement`] compares everything that can be seen with a [`naive`] model of the specification,
//! command by command. [`properties`] are promises that need no model to be checked, each with a test
//! of its own; [`ledger`] keeps the books for those that speak about events. The generator, [`world`],
//! stands on its own, for others to include.
//!
//! `THROTTLE_LIVES` sets how many lives each test lives, `THROTTLE_SEED` which ones, and
//! `ARBTEST_SEED` repeats the one that failed.

mod agreement;
mod coverage;
mod ledger;
mod life;
mod naive;
mod properties;
mod snapshot;
mod world;

//! The machine against the specification, in *lives*: sequences of random commands.
//!
//! [`agreement`] compares everything observable with a [`naive`] model of the specification, command by
//! command. [`properties`] are promises that can be checked without a model, each with a test of its own;
//! [`ledger`] tracks the events for them. [`recovery`] rebuilds a machine from its records, between any two
//! commands. The generator, [`world`], depends on nothing else here, so that
//! other programs can include it.
//!
//! `THROTTLE_LIVES` sets the number of lives per test, `THROTTLE_SEED` selects other ones, and
//! `ARBTEST_SEED` repeats the one that failed.

mod agreement;
mod coverage;
mod ledger;
mod life;
mod naive;
mod properties;
mod recovery;
mod snapshot;
mod world;

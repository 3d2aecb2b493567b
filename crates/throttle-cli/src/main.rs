//! `throttlectl`: runs commands under a lock, and shows who holds what.
//!
//! Everything that keeps a lock alive is in `throttle_client`; this program connects it to processes,
//! signals and terminals ([`lock`]), and prints what the server tells ([`show`]).

#![forbid(unsafe_code)]

mod args;
mod exit;
mod lock;
mod pages;
mod say;
#[expect(clippy::print_stdout, reason = "not yet moved to `say`")]
mod show;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use crate::{
    args::{Arguments, Verb},
    exit::{Code, Failure},
};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // To a closed pipe nothing can be told.
            let _ = error.print();
            return if error.use_stderr() { Code::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let code = run(arguments).unwrap_or_else(|Failure { code, error }| {
        say::message(format_args!("{error:#}"));
        code
    });
    say::flush();
    code.into()
}

fn run(Arguments { server, verb }: Arguments) -> Result<Code, Failure> {
    let verb = match verb {
        Verb::Bond(bond) => return lock::bond(&bond),
        Verb::Completions { shell } => return pages::completions(shell),
        Verb::Man => return pages::man(),
        verb => verb,
    };
    // One thread: a child that shall end with its parent ends with the thread that made it.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match verb {
            Verb::Lock(arguments) => lock::run(&server, &arguments).await,
            verb => show::run(&server.client()?, verb).await,
        }
    })
}

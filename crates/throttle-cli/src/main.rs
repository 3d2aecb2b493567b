//! `throttlectl`: runs commands under a lock, and shows who holds what.
//!
//! `throttle_client` keeps locks alive. This program connects it to processes, signals and terminals
//! ([`lock`]), and prints the answers of the server ([`server_commands`]).

#![forbid(unsafe_code)]

mod args;
mod completions;
mod escape;
mod exit_status;
mod help_text;
#[cfg(unix)]
mod ignored_signals;
mod lock;
mod manual;
mod output;
mod server_args;
mod server_commands;
mod verbose;

use std::{
    env,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::{
    Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tokio::runtime::Builder;

use crate::{
    args::{Arguments, Verb},
    exit_status::{ExitStatus, Failure},
};

fn main() -> ExitCode {
    let status =
        completions::answer_shell().unwrap_or_else(run).unwrap_or_else(output::print_failure);
    output::flush();
    status.into()
}

fn run() -> Result<ExitStatus, Failure> {
    let Arguments { server, verbose, verb } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return print_clap_error(error),
    };
    verbose::start(verbose);
    let verb = match verb {
        Verb::DieWithParent(arguments) => return lock::become_command(&arguments),
        Verb::Completions { shell } => return completions::print_script(shell),
        Verb::Man => return manual::print(),
        verb => verb,
    };
    // One thread: Linux kills a child that dies with its parent when the thread that started the child ends.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        match verb {
            Verb::Lock(arguments) => lock::run(&server, &arguments).await,
            verb => server_commands::run(&server, verb).await,
        }
    });
    // A lookup of a host name may still run. Do not wait for it.
    runtime.shutdown_background();
    ended
}

/// Prints the text of `--help` or `--version`, or what is wrong with the command line.
fn print_clap_error(mut error: clap::Error) -> Result<ExitStatus, Failure> {
    let has_argument = |word: &str| env::args_os().skip(1).any(|argument| argument == word);
    if error.kind() == ErrorKind::UnknownArgument && has_argument("lock") && !has_argument("--") {
        // For example `lock A make -j4`.
        let tip = "the command follows `--`, as in `throttlectl lock NAME -- COMMAND`";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    let text = |is_terminal| {
        let text = error.render();
        if is_terminal { text.ansi().to_string() } else { text.to_string() }
    };
    if error.use_stderr() {
        output::to_stderr(text(io::stderr().is_terminal()));
        return Ok(ExitStatus::USAGE);
    }
    output::print_result(&text(io::stdout().is_terminal()))?;
    Ok(ExitStatus::SUCCESS)
}

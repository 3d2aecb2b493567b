//! Completions for shells.
//!
//! The script that a shell loads runs this program at each press of Tab. So it offers the commands and
//! options of the installed version, and the semaphores of the server.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
    time::Duration,
};

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::{
    ArgValueCompleter, CompleteEnv, CompletionCandidate, PathCompleter, Shell,
    engine::ValueCompleter, env::Shells,
};
use throttle_client::RetryPolicy;
use tokio::{runtime::Builder, time::timeout};

use crate::{
    args::Arguments,
    exit_status::{ExitStatus, Failure},
    output,
    server_args::ServerArgs,
    server_commands,
};

/// The environment variable that names the shell, if the program runs for a completion.
const VARIABLE: &str = "THROTTLECTL_COMPLETE";

/// How long a press of Tab waits for the server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints the script that a shell loads. The script calls the program by name, not by path, so that it can be
/// packaged on one machine and used on others.
pub(crate) fn print_script(shell: Shell) -> Result<ExitStatus, Failure> {
    let shells = Shells::builtins();
    let shell = shells.completer(&shell.to_string()).expect("all shells are built in");
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    output::print_result(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::SUCCESS)
}

const NAME: &str = "throttlectl";

/// Prints the completions of a command line if a shell runs the program for that; otherwise returns `None`.
pub(crate) fn answer_shell() -> Option<Result<ExitStatus, Failure>> {
    let directory = env::current_dir().ok();
    let completion = CompleteEnv::with_factory(command).var(VARIABLE);
    match completion.try_complete(env::args_os(), directory.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(Ok(ExitStatus::SUCCESS)),
        // No message: the shell would show it in the middle of the command line.
        Err(_) => Some(Ok(ExitStatus::USAGE)),
    }
}

/// The command line without hidden commands, with completers for its arguments.
fn command() -> Command {
    let command = Arguments::command();
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments())
        .subcommands(visible.map(|command| command.clone().mut_args(add_completer)))
}

fn add_completer(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "name" | "names" | "semaphores" | "command" => {
            argument.add(ArgValueCompleter::new(candidates))
        }
        _ => argument,
    }
}

/// Candidates for the current word: semaphores before `--`, a command after it, then files as its arguments.
fn candidates(prefix: &OsStr) -> Vec<CompletionCandidate> {
    let is_bare_name = Path::new(prefix).parent() == Some(Path::new(""));
    match command_word_index() {
        None => semaphores(prefix),
        Some(0) if is_bare_name => commands(prefix),
        Some(_) => PathCompleter::any().complete(prefix),
    }
}

/// The words of the command line to complete. The shell passes them after `--`.
fn words() -> impl Iterator<Item = OsString> {
    env::args_os().skip_while(|word| word != "--").skip(1)
}

/// The index of the current word in the command after `--`; none before it.
fn command_word_index() -> Option<usize> {
    // A shell that sets no index passes no words after the current one.
    let index = env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    let index = index.unwrap_or_else(|| words().count().saturating_sub(1));
    let dashes = words().position(|word| word == "--")?;
    index.checked_sub(dashes + 1)
}

/// The semaphores of the server, if it answers within [`SERVER_TIMEOUT`].
fn semaphores(prefix: &OsStr) -> Vec<CompletionCandidate> {
    let Some(prefix) = prefix.to_str() else { return Vec::new() };
    let names = semaphore_names().unwrap_or_default().into_iter();
    let names = names.filter(|name| name.starts_with(prefix) && is_plain_word(name));
    names.map(CompletionCandidate::new).collect()
}

/// Whether a shell reads the name as one word without special characters. The shell inserts it unescaped, and
/// the name may come from other people.
fn is_plain_word(name: &str) -> bool {
    let is_plain = |it: char| it.is_alphanumeric() || "_-./@%+,".contains(it);
    !name.starts_with('-') && name.chars().all(is_plain)
}

fn semaphore_names() -> Option<Vec<String>> {
    let client =
        server_args()?.client().ok()?.timeout(SERVER_TIMEOUT).retry(RetryPolicy::none()).build();
    let client = client.ok()?;
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let names =
        runtime.block_on(async { timeout(SERVER_TIMEOUT, server_commands::names(&client)).await });
    // A lookup of the host name may still run.
    runtime.shutdown_background();
    names.ok()?.ok()
}

/// The server that the command line to complete names.
fn server_args() -> Option<ServerArgs> {
    let matches = Arguments::command().ignore_errors(true).try_get_matches_from(words()).ok()?;
    ServerArgs::from_arg_matches(&matches).ok()
}

/// The programs in the directories of `PATH` whose names begin with `prefix`.
fn commands(prefix: &OsStr) -> Vec<CompletionCandidate> {
    let path = env::var_os("PATH").unwrap_or_default();
    let files = env::split_paths(&path).filter_map(|it| it.read_dir().ok()).flatten().flatten();
    let mut names: Vec<OsString> = files.map(|file| file.file_name()).collect();
    names.retain(|name| name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()));
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

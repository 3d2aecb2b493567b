//! The manual page, and what `--help` tells beyond the command line itself.

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use roff::{Inline, Roff, bold, roman};

use crate::{
    args::Arguments,
    exit::{Code, Failure},
    say,
};

/// What each exit status means.
const STATUS: &[(&str, &str)] = &[
    ("0", "done; of lock: the command ended with 0"),
    ("64", "the command line makes no sense"),
    ("67", "of remove-peer: there is no such peer"),
    (
        "69",
        "the server cannot be reached, or is of no use; of status and health: it takes on no work",
    ),
    ("71", "something failed on this machine"),
    ("74", "the result cannot be written to standard output"),
    (
        "75",
        "the lock was not free, or not in time (of lock: -E chooses another status), or the server takes no \
         more at this moment; of check: it could not be locked now",
    ),
    ("76", "the lock was lost, and the command was ended"),
    (
        "78",
        "the server refused: no such semaphore, a count that it can never grant, an order of locks that \
         could deadlock, a wrong configuration",
    ),
    ("126", "the command cannot be executed"),
    ("127", "there is no such command"),
    ("128+N", "signal N ended the command, or came while it waited for the lock"),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("THROTTLE_URL", "the server, as --url"),
    ("THROTTLE_TOKEN", "the bearer token, as --token"),
    ("THROTTLE_CA", "a file with certificates of authorities, as --ca"),
    ("THROTTLE_CLIENT_CERT", "a file with a certificate and its key, as --client-cert"),
    (
        "http_proxy, https_proxy, all_proxy, no_proxy",
        "the proxy by which the server is asked, and the hosts for which there is none, also in capitals; \
         localhost counts like any other host",
    ),
    ("SSL_CERT_FILE", "on Linux: certificates that are trusted instead of the system's"),
    ("THROTTLE_SEMAPHORE", "set for the command of lock: the first semaphore on the command line"),
    (
        "THROTTLE_PEER",
        "set for the command of lock: the id of the peer that holds it; a lock within that command is refused \
         if the two could deadlock",
    ),
    ("THROTTLE_LOCKS", "set for the command of lock: all locks that are held, as JSON"),
    (
        "THROTTLE_FENCING_TOKEN",
        "set for the command of lock: a number that grows with each grant, for what must not be written twice",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("throttlectl lock A -- make deploy", "hold one of A while a command runs"),
    ("throttlectl lock B A:2 -- ./both.sh", "hold one of B and two of A"),
    ("throttlectl lock A --nonblocking -- ./nightly.sh", "end with 75 if it is not free"),
    ("throttlectl lock A --wait 10m --lease 30s -- ./import.sh", "wait no longer than ten minutes"),
    ("throttlectl check A && echo free", "ask whether it could be locked"),
    ("throttlectl semaphores -o json | jq '.[] | select(.waiters > 0).name'", "what is waited for"),
    (
        "throttlectl --url http://throttle-a:8000,http://throttle-b:8000 status",
        "two ways to a server",
    ),
];

/// What follows the options in `--help`.
pub(crate) fn after_help() -> String {
    let section = |title: &str, entries: &[(&str, &str)]| {
        let lines = entries.iter().map(|(term, text)| format!("  {term}\n          {text}\n"));
        format!("{title}:\n{}", lines.collect::<String>())
    };
    let mut status = "Exit status:\n".to_owned();
    for (number, meaning) in STATUS {
        status += &format!("  {number:<6} {meaning}\n");
    }
    [section("Environment", ENVIRONMENT), status, section("Examples", EXAMPLES)].join("\n")
}

/// Prints the manual page: one for the program and all of its commands.
pub(crate) fn print() -> Result<Code, Failure> {
    say::result(&String::from_utf8_lossy(&page()?))?;
    Ok(Code::SUCCESS)
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    Roff::new().control("SH", ["SYNOPSIS"]).text([usage(&command)]).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in command.get_subcommands() {
        if !command.is_hide_set() && command.get_name() != "help" {
            render(command, &mut page)?;
        }
    }
    for (title, entries) in
        [("EXIT STATUS", STATUS), ("ENVIRONMENT", ENVIRONMENT), ("EXAMPLES", EXAMPLES)]
    {
        let mut section = Roff::new();
        section.control("SH", [title]);
        for (term, text) in entries {
            section.control("TP", []).text([bold(*term)]).text([roman(*text)]);
        }
        section.to_writer(&mut page)?;
    }
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// A section for a command: its usage, what it does, and its options without those of the program.
fn render(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let name = command.get_name().to_uppercase();
    Roff::new().control("SH", [&*name]).text([usage(command)]).to_writer(page)?;
    let man = Man::new(command.clone().mut_args(|argument| {
        let is_told = argument.is_global_set() || argument.get_id() == "help";
        let is_hidden = argument.is_hide_set();
        argument.hide(is_told || is_hidden)
    }));
    let mut sections = Vec::new();
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    // They are paragraphs of the section of their command.
    for line in String::from_utf8_lossy(&sections).lines() {
        let line = if line.starts_with(".SH ") { ".PP" } else { line };
        page.extend([line, "\n"].concat().into_bytes());
    }
    Ok(())
}

fn usage(command: &Command) -> Inline {
    let usage = command.clone().render_usage().to_string();
    bold(usage.trim_start_matches("Usage: ").to_owned())
}

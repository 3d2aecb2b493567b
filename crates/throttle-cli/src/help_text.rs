//! Exit statuses, environment variables and examples, for `--help` and the manual page.

/// Exit statuses with their meanings.
pub(crate) const EXIT_STATUSES: &[(&str, &str)] = &[
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
         more at this moment; of available: it could not be locked now",
    ),
    ("76", "the lock was lost, and the command was ended; of check: it is not held"),
    (
        "78",
        "the server refused: no such semaphore, a count that it can never grant, an order of locks that \
         could deadlock, a wrong configuration",
    ),
    ("126", "the command cannot be executed"),
    ("127", "there is no such command"),
    ("128+N", "signal N ended the command, or came while it waited for the lock"),
];

pub(crate) const ENVIRONMENT: &[(&str, &str)] = &[
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

pub(crate) const EXAMPLES: &[(&str, &str)] = &[
    ("throttlectl lock A -- make deploy", "hold one of A while a command runs"),
    ("throttlectl lock B A:2 -- ./both.sh", "hold one of B and two of A"),
    ("throttlectl lock A --nonblocking -- ./nightly.sh", "end with 75 if it is not free"),
    ("throttlectl lock A --wait 10m --lease 30s -- ./import.sh", "wait no longer than ten minutes"),
    ("throttlectl available A && echo free", "ask whether it could be locked"),
    ("throttlectl check A 7 && ./write.sh", "write only while the lock with the token 7 is held"),
    ("throttlectl semaphores -o json | jq '.[] | select(.waiters > 0).name'", "what is waited for"),
    (
        "throttlectl --url http://throttle-a:8000,http://throttle-b:8000 status",
        "two ways to a server",
    ),
];

/// The text after the options in `--help`.
pub(crate) fn after_help() -> String {
    let section = |title: &str, entries: &[(&str, &str)]| {
        let lines = entries.iter().map(|(term, text)| format!("  {term}\n          {text}\n"));
        format!("{title}:\n{}", lines.collect::<String>())
    };
    let mut status = "Exit status:\n".to_owned();
    for (number, meaning) in EXIT_STATUSES {
        status += &format!("  {number:<6} {meaning}\n");
    }
    [section("Environment", ENVIRONMENT), status, section("Examples", EXAMPLES)].join("\n")
}

//! Counts what a history exercised. A run that exercised too little proves nothing.

use std::fmt::{self, Display, Formatter};

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Coverage {
    /// Requests with an answer.
    pub answers: usize,
    /// Requests for a change whose connection broke before the answer.
    pub unanswered: usize,
    /// Those of them that a later answer showed as served.
    pub served_unanswered: usize,
    /// Those of them that a later answer showed as not served.
    pub not_served: usize,
    /// How often the server was killed.
    pub kills: usize,
    /// Kills with requests under way.
    pub kills_with_requests: usize,
    /// Kills before the server was ready, most of them during the recovery.
    pub kills_while_starting: usize,
    /// Further kills, during the first start without a file.
    pub kills_of_first_starts: usize,
    /// Kills between the commit of a change and its answer: the change was there afterwards, without an answer.
    pub kills_within_commit: usize,
    /// Kills before the commit of a change: it was under way, and was not there afterwards.
    pub kills_before_commit: usize,
    /// Locks that were held before a kill and after it.
    pub locks_recovered: usize,
    /// Locks that were pending before a kill, and pending or granted after it.
    pub waiters_recovered: usize,
    /// Locks that were pending before a kill and held after it, so they were granted by the next process.
    pub granted_after_restart: usize,
    /// Requests that came too late and were refused, after a restart.
    pub stale_refused: usize,
    /// Locks taken by the clients in Rust and Python and by `throttlectl`.
    pub entries: usize,
}

impl Coverage {
    /// What is missing for a run that proves something.
    ///
    /// # Errors
    ///
    /// The first count that is too low. `has_clients` tells whether other clients took part besides raw HTTP.
    pub fn suffices(&self, has_clients: bool) -> anyhow::Result<()> {
        let kills = self.kills;
        let least = [
            ("kills with requests under way", self.kills_with_requests, kills / 3),
            ("kills before the server was ready", self.kills_while_starting, kills / 40),
            ("kills of first starts", self.kills_of_first_starts, kills / 10),
            ("kills between a commit and its answer", self.kills_within_commit, kills / 40),
            ("kills before a commit", self.kills_before_commit, kills / 40),
            ("locks recovered", self.locks_recovered, kills),
            ("waiters recovered", self.waiters_recovered, kills / 2),
            ("grants of recovered waiters", self.granted_after_restart, kills / 4),
            ("late requests refused", self.stale_refused, kills / 4),
            ("requests without an answer", self.unanswered, kills),
            ("entries of other clients", self.entries, if has_clients { kills / 3 } else { 0 }),
        ];
        for (what, count, least) in least {
            anyhow::ensure!(
                count >= least.max(usize::from(has_clients || what != "entries of other clients")),
                "too little happened to prove anything: {count} {what}, of at least {least}\n{self}"
            );
        }
        Ok(())
    }
}

impl Display for Coverage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} kills, and {} of first starts: {} with requests under way, {} before the server was ready, {} \
             between a commit and its answer, {} before a commit",
            self.kills,
            self.kills_of_first_starts,
            self.kills_with_requests,
            self.kills_while_starting,
            self.kills_within_commit,
            self.kills_before_commit
        )?;
        writeln!(
            f,
            "{} answers; {} requests for a change without one, of which {} had been served and {} had not",
            self.answers, self.unanswered, self.served_unanswered, self.not_served
        )?;
        write!(
            f,
            "{} locks and {} waiters recovered, {} of these granted afterwards; {} late requests refused; \
             {} locks taken by other clients",
            self.locks_recovered,
            self.waiters_recovered,
            self.granted_after_restart,
            self.stale_refused,
            self.entries
        )
    }
}

//! A row: a fault, what is right then, and how to find out.

use std::{
    fmt::{self, Debug, Display, Formatter},
    pin::Pin,
};

use super::Trial;

/// What a lock goes through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It is asked for by somebody whom the server does not know yet.
    Requesting,
    /// It is waited for.
    Waiting,
    /// It is held.
    Holding,
    /// It is given back.
    Releasing,
}

type Check = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A row of the table.
pub struct Scenario {
    phase: Phase,
    fault: String,
    expected: &'static str,
    script: Box<dyn Fn(Trial) -> Check + Send + Sync>,
}

impl Scenario {
    /// A row whose script fails if a form does not do what is `right`.
    pub fn new<F>(
        phase: Phase,
        fault: impl Into<String>,
        expected: &'static str,
        script: impl Fn(Trial) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self {
            phase,
            fault: fault.into(),
            expected,
            script: Box::new(move |trial| Box::pin(script(trial))),
        }
    }

    /// What the outcome must be.
    pub fn expected(&self) -> &'static str {
        self.expected
    }

    /// Plays the script with one form.
    ///
    /// # Errors
    ///
    /// What the form does wrong.
    pub async fn run(&self, trial: Trial) -> anyhow::Result<()> {
        (self.script)(trial).await
    }
}

impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}: {}", self.phase, self.fault))
    }
}

impl Debug for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("phase", &self.phase)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requesting => "asking",
            Self::Waiting => "waiting",
            Self::Holding => "holding",
            Self::Releasing => "releasing",
        })
    }
}

//! A scenario: a fault in one phase of a lock, the expected outcome, and the script that checks it.

use std::{
    fmt::{self, Debug, Display, Formatter},
    pin::Pin,
};

use super::Trial;

/// The phase of a lock in which the fault happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// A new peer requests the lock.
    Requesting,
    /// The lock is pending.
    Waiting,
    /// The lock is held.
    Holding,
    /// The lock is released.
    Releasing,
}

type BoxedScript = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A row of the table.
pub struct Scenario {
    phase: Phase,
    fault: String,
    expected: &'static str,
    script: Box<dyn Fn(Trial) -> BoxedScript + Send + Sync>,
}

impl Phase {
    /// A scenario of this phase. The script fails if the outcome is not the `expected` one.
    pub fn scenario<F>(
        self,
        fault: impl Into<String>,
        expected: &'static str,
        script: impl Fn(Trial) -> F + Send + Sync + 'static,
    ) -> Scenario
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Scenario {
            phase: self,
            fault: fault.into(),
            expected,
            script: Box::new(move |trial| Box::pin(script(trial))),
        }
    }
}

impl Scenario {
    /// The expected outcome.
    pub fn expected(&self) -> &'static str {
        self.expected
    }

    /// Runs the script with one client kind.
    ///
    /// # Errors
    ///
    /// The first difference from the expected outcome.
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

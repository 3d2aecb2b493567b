//! A row: a fault, what is right then, and how to find out.

use std::{
    fmt::{self, Debug, Display, Formatter},
    pin::Pin,
};

use super::Case;

/// What a lock goes through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It is asked for by somebody whom the server does not know yet.
    Creating,
    /// It is waited for.
    Waiting,
    /// It is held.
    Holding,
    /// It is given back.
    Releasing,
}

type Check = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A row of the table.
pub struct Row {
    phase: Phase,
    fault: String,
    right: &'static str,
    script: Box<dyn Fn(Case) -> Check + Send + Sync>,
}

impl Row {
    /// A row whose script fails if a form does not do what is `right`.
    pub fn new<F>(
        phase: Phase,
        fault: impl Into<String>,
        right: &'static str,
        script: impl Fn(Case) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self {
            phase,
            fault: fault.into(),
            right,
            script: Box::new(move |case| Box::pin(script(case))),
        }
    }

    /// What the outcome must be.
    pub fn right(&self) -> &'static str {
        self.right
    }

    /// Plays the script with one form.
    ///
    /// # Errors
    ///
    /// What the form does wrong.
    pub async fn play(&self, case: Case) -> anyhow::Result<()> {
        (self.script)(case).await
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}: {}", self.phase, self.fault))
    }
}

impl Debug for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("phase", &self.phase)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "asking",
            Self::Waiting => "waiting",
            Self::Holding => "holding",
            Self::Releasing => "releasing",
        })
    }
}

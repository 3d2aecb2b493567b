//! What a peer says about itself, for the people who look at who holds what.

use alloc::{boxed::Box, string::String};
use core::fmt;

/// Names and values that a peer carries, such as `host = worker-7`. Ordered by name, each name once.
///
/// The core keeps them with the peer and gives them no meaning. Bounds on their number and size are
/// set where they enter.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names with their values, in order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(String, String)> for Labels {
    /// Of several values for one name the last one counts.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        let unique = labels
            .into_iter()
            .map(|(name, value)| (name.into_boxed_str(), value.into_boxed_str()))
            .collect::<alloc::collections::BTreeMap<_, _>>();
        Self(unique.into_iter().collect())
    }
}

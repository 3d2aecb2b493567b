//! What is known for certain about requests for locks, and whether it can be true.
//!
//! A [`Claim`] follows one request for a lock: when it was sent, when the server first showed it as pending or
//! held, and when it can have ended at the earliest. Only answers count. A request without an answer may have
//! been served or not, so it proves nothing for its peer and nothing against the others: a claim begins with
//! the answer that shows the lock, and ends when a request that may have ended it was *sent*, or when the lease
//! can have run out.
//!
//! [`check`] finds claims that cannot all be true: more holders than the maximum ([`Rule::Exclusion`]), a waiter
//! that was overtaken ([`Rule::Order`]), or tokens that do not grow ([`Rule::Tokens`]). It is a pure function.

mod claim;
mod exclusion;
mod order;
#[cfg(test)]
mod tests;
mod violation;

use std::collections::BTreeMap;

pub use self::{
    claim::{Claim, Moment},
    violation::{Rule, Violation},
};

/// The maximum of each semaphore.
pub type Maxima = BTreeMap<&'static str, u64>;

/// Checks the claims of all semaphores against each other.
///
/// O(n log n) in the number of claims.
///
/// # Errors
///
/// The first contradiction, of the first semaphore by name.
pub fn check(claims: &[Claim], maxima: &Maxima) -> Result<(), Violation> {
    violations(claims, maxima).into_iter().next().map_or(Ok(()), Err)
}

/// The first violation of each rule for each semaphore.
pub fn violations(claims: &[Claim], maxima: &Maxima) -> Vec<Violation> {
    let mut by_semaphore = BTreeMap::<_, Vec<_>>::new();
    for claim in claims {
        by_semaphore.entry(claim.semaphore).or_default().push(claim);
    }
    let mut violations = Vec::new();
    for (semaphore, claims) in by_semaphore {
        let max = maxima.get(semaphore).copied().unwrap_or_default();
        violations.extend(exclusion::check(&claims, max).err());
        violations.extend(order::check_tokens(&claims, max).err());
        violations.extend(order::check_queue(&claims).err());
    }
    violations
}

//! The counts held never exceed the maximum.

use std::collections::BTreeSet;

use super::{Claim, Rule, Violation};

/// Adds up what was certainly held at each moment. `claims` are of one semaphore.
pub(super) fn check(claims: &[&Claim], max: u64) -> Result<(), Violation> {
    let mut steps = Vec::new();
    for (number, claim) in claims.iter().enumerate() {
        let mut before = 0;
        for (at, count) in claim.counts() {
            // At the same moment, what is given up comes first.
            steps.push((at, count > before, number, before, count));
            before = count;
        }
    }
    steps.sort_unstable();
    let (mut sum, mut inside) = (0_u64, BTreeSet::new());
    for (at, is_more, number, before, count) in steps {
        sum = sum + count - before;
        if count == 0 {
            inside.remove(&number);
            continue;
        }
        inside.insert(number);
        if is_more && sum > max {
            let holders = inside.iter().map(|&holder| claims[holder].to_string());
            let holders = holders.collect::<Vec<_>>().join("; ");
            let semaphore = claims[number].semaphore;
            return Err(Violation::new(
                Rule::Exclusion,
                format!("at {at} {sum} of {max} of {semaphore:?} are held, by {holders}"),
            ));
        }
    }
    Ok(())
}

//! Tokens grow from grant to grant, and the queue is served in order.
//!
//! Both compare events whose order is certain: one was answered before the request for the other was sent.

use super::{Claim, Moment, Rule, Violation};

/// No token is granted twice, and of two grants the later one has the greater token.
///
/// A grant happened after the latest moment at which the lock was certainly pending, and before the answer that
/// first showed it held. If the maximum is 1 and a lock was certainly held when this answer arrived, then every
/// lock that was shown earlier was granted earlier, because the two cannot overlap.
pub(super) fn check_tokens(claims: &[&Claim], max: u64) -> Result<(), Violation> {
    let mut by_token = claims.iter().filter(|it| it.token.is_some()).collect::<Vec<_>>();
    by_token.sort_unstable_by_key(|claim| claim.token);
    for pair in by_token.windows(2) {
        if pair[0].token == pair[1].token {
            return Err(tokens(format!("the same token for {} and {}", pair[0], pair[1])));
        }
    }
    let mut grants = claims
        .iter()
        .filter_map(|claim| {
            let held_by = claim.held_by?;
            let pending = claim.still_pending.unwrap_or_default().max(claim.requested);
            let was_alone = max == 1 && claim.was_held_when_shown();
            Some(Grant {
                claim,
                earliest: if was_alone { held_by } else { pending },
                latest: held_by,
                token: claim.token?,
            })
        })
        .collect::<Vec<_>>();
    let mut by_latest = grants.clone();
    by_latest.sort_unstable_by_key(|grant| grant.latest);
    grants.sort_unstable_by_key(|grant| grant.earliest);
    let (mut earlier, mut greatest) = (by_latest.iter().peekable(), None::<&Grant<'_>>);
    for grant in &grants {
        while let Some(before) = earlier.next_if(|before| before.latest < grant.earliest) {
            greatest = greatest.filter(|it| it.token > before.token).or(Some(before));
        }
        if let Some(before) = greatest.filter(|before| before.token > grant.token) {
            return Err(tokens(format!(
                "{} was granted before {}, with a greater token",
                before.claim, grant.claim
            )));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Grant<'a> {
    claim: &'a Claim,
    earliest: Moment,
    latest: Moment,
    token: u64,
}

/// Of two requests of which one was certainly queued before the other was sent, the first is granted first.
pub(super) fn check_queue(claims: &[&Claim]) -> Result<(), Violation> {
    let mut queued = claims.iter().filter_map(|it| Some((it.queued_by?, *it))).collect::<Vec<_>>();
    queued.sort_unstable_by_key(|(queued_by, _)| *queued_by);
    let mut requested = claims.iter().filter(|it| it.held_by.is_some()).collect::<Vec<_>>();
    requested.sort_unstable_by_key(|claim| claim.requested);
    let mut before = queued.into_iter().peekable();
    // Of those that were queued before: the last one to be granted, and the last one to be still pending.
    let (mut granted_last, mut pending_last) = (None::<&Claim>, None::<&Claim>);
    for claim in requested {
        while let Some((_, first)) = before.next_if(|(queued_by, _)| *queued_by < claim.requested) {
            if first.token.is_some() {
                granted_last = granted_last.filter(|it| it.token > first.token).or(Some(first));
            }
            if first.still_pending.is_some() {
                let is_later = |it: &&Claim| it.still_pending > first.still_pending;
                pending_last = pending_last.filter(is_later).or(Some(first));
            }
        }
        let overtaken = granted_last.filter(|it| claim.token.is_some() && it.token > claim.token);
        let overtaken =
            overtaken.or_else(|| pending_last.filter(|it| it.still_pending > claim.held_by));
        if let Some(first) = overtaken {
            return Err(Violation::new(
                Rule::Order,
                format!("{claim} was granted before {first}, which was in the queue earlier"),
            ));
        }
    }
    Ok(())
}

fn tokens(message: String) -> Violation {
    Violation::new(Rule::Tokens, message)
}

//! A claim: one request for a lock, from the moment when it was sent to the earliest possible end of the lock.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

/// A moment of a run, in nanoseconds since its beginning. Where no clock is needed, the number of an event.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub u64);

/// What is known for certain about one request for a lock and about the lock itself.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who asked, for messages.
    pub who: String,
    /// The semaphore.
    pub semaphore: &'static str,
    /// The count that was asked for.
    pub count: u64,
    /// The fencing token, once an answer showed it.
    pub token: Option<u64>,
    /// When the first request for it was sent.
    pub requested: Moment,
    /// When the first answer arrived that shows it in the queue or held.
    pub queued_by: Option<Moment>,
    /// The latest moment at which it was certainly still in the queue.
    pub still_pending: Option<Moment>,
    /// When the first answer arrived that shows it held.
    pub held_by: Option<Moment>,
    /// The latest moment at which it was certainly still held.
    pub still_held: Option<Moment>,
    /// When the lease can have ended at the earliest.
    pub lease_end: Moment,
    /// Requests that may have lowered the count.
    cuts: Vec<Cut>,
}

/// A request that lowers the count, or ends the lock, if it was served.
#[derive(Clone, Copy, Debug)]
struct Cut {
    request: u64,
    sent: Moment,
    left: u64,
}

impl Moment {
    /// This moment plus a span.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Claim {
    /// A claim whose first request is sent now. Its lease does not end, until [`lease_end`](Self::lease_end) is set.
    pub fn new(who: String, semaphore: &'static str, count: u64, requested: Moment) -> Self {
        Self {
            who,
            semaphore,
            count,
            token: None,
            requested,
            queued_by: None,
            still_pending: None,
            held_by: None,
            still_held: None,
            lease_end: Moment(u64::MAX),
            cuts: Vec::new(),
        }
    }

    /// An answer shows it in the queue. It was there at some moment between the two.
    pub fn shown_pending(&mut self, sent: Moment, received: Moment) {
        self.queued_by.get_or_insert(received);
        self.still_pending = self.still_pending.max(Some(sent));
    }

    /// An answer shows it held, with this count. It was held at some moment between the two.
    ///
    /// Requests that were sent earlier and would have left a smaller count were not served.
    pub fn shown_held(&mut self, sent: Moment, received: Moment, count: u64) {
        self.queued_by.get_or_insert(received);
        self.held_by.get_or_insert(received);
        self.still_held = self.still_held.max(Some(sent));
        self.cuts.retain(|cut| cut.sent >= sent || cut.left >= count);
    }

    /// A request is sent that leaves this count, if it is served.
    pub fn may_be_cut(&mut self, request: u64, sent: Moment, left: u64) {
        self.cuts.push(Cut { request, sent, left });
    }

    /// The request was refused.
    pub fn is_not_cut(&mut self, request: u64) {
        self.cuts.retain(|cut| cut.request != request);
    }

    /// Whether it was certainly held when the first answer arrived that shows it held.
    pub(super) fn was_held_when_shown(&self) -> bool {
        !self.counts().is_empty()
    }

    /// The counts that were certainly held, each with the moment from which on; the last one is zero. Empty if
    /// nothing was held for certain.
    pub(super) fn counts(&self) -> Vec<(Moment, u64)> {
        let Some(held_by) = self.held_by else { return Vec::new() };
        let end = self.still_held.map_or(self.lease_end, |held| held.max(self.lease_end));
        let mut counts = vec![(held_by, self.count)];
        let mut cuts = self.cuts.iter().map(|cut| (cut.sent, cut.left)).collect::<Vec<_>>();
        cuts.push((end, 0));
        cuts.sort_unstable();
        for (at, left) in cuts {
            let &(from, count) = counts.last().expect("it has the first count at least");
            if left >= count {
                continue;
            }
            if at <= from {
                counts.pop();
            }
            counts.push((at.max(held_by), left));
        }
        if counts.len() == 1 && counts[0].1 == 0 { Vec::new() } else { counts }
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", Duration::from_nanos(self.0).as_secs_f64())
    }
}

impl Display for Claim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} (requested {}", self.who, self.requested)?;
        for (what, at) in [
            ("shown queued", self.queued_by),
            ("still pending", self.still_pending),
            ("shown held", self.held_by),
            ("still held", self.still_held),
        ] {
            if let Some(at) = at {
                write!(f, ", {what} {at}")?;
            }
        }
        if let Some(token) = self.token {
            write!(f, ", token {token}")?;
        }
        for cut in &self.cuts {
            write!(f, ", perhaps lowered to {} at {}", cut.left, cut.sent)?;
        }
        if self.lease_end < Moment(u64::MAX) {
            write!(f, ", lease ends {} at the earliest", self.lease_end)?;
        }
        f.write_str(")")
    }
}

//! The effect of each command, as the specification states it.

use std::{cmp::Ordering, time::Duration};

use throttle_core::{
    Admission, CancelCause, Command, Count, Error, Event, Labels, Level, LockRequest, NewPeer,
    PeerId, Release, Reply, Restoration, SemaphoreId, Sequence, Ticket, Time,
};

use super::{Held, Model, Peer, Pending, Semaphore};

impl Model {
    pub(super) fn perform(&mut self, command: &Command) -> Result<Reply, Error> {
        match *command {
            Command::Acquire { peer, request } => self.acquire(peer, request).map(Reply::Admitted),
            Command::AddSemaphore { max, level } => Ok(self.add_semaphore(max, level)),
            Command::CatchUp { .. } => Ok(Reply::CaughtUp(Time::from_nanos(self.now))),
            Command::EndWait { peer, ticket } => {
                let closed = self.close_request(peer, ticket, "request: answered pending");
                let pending = closed.and_then(|_| self.peer(peer).pending);
                Ok(Reply::Ended(pending.map(|pending| pending.count)))
            }
            Command::Expire => Ok(Reply::Expired(!self.events.is_empty())),
            Command::Heartbeat { peer, expires_in } => self.heartbeat(peer, expires_in),
            Command::NewPeer { peer, ref attributes } => {
                if self.find(peer).is_ok() {
                    return Err(Error::PeerExists);
                }
                let NewPeer { expires_in, labels } = attributes;
                self.check_room_for_a_peer(labels)?;
                self.admit(peer, *expires_in, labels.clone());
                self.events.push(Event::PeerCreated { peer });
                Ok(Reply::Done)
            }
            Command::Park { peer, ticket } => {
                self.park(peer, ticket);
                Ok(Reply::Done)
            }
            Command::ReinstateSemaphore { semaphore, max, level } => {
                let known = self.semaphore_mut(semaphore)?;
                if std::mem::replace(&mut known.retired, false) {
                    self.seen.note("retired: reinstated");
                }
                self.resize(semaphore, max)?;
                self.set_level(semaphore, level)
            }
            Command::Release { peer, semaphore, sequence } => {
                self.release(peer, semaphore, sequence).map(Reply::Released)
            }
            Command::RemovePeer { peer, sequence } => {
                Ok(Reply::Removed(self.remove_peer(peer, sequence)))
            }
            Command::RemoveSemaphore { semaphore } => self.remove_semaphore(semaphore),
            Command::Resize { semaphore, max } => self.resize(semaphore, max),
            Command::Restore(ref restoration) => self.restore(restoration),
            Command::ResumeSomeGrants { budget } => Ok(self.resume_some_grants(budget)),
            Command::SetLevel { semaphore, level } => self.set_level(semaphore, level),
            Command::SuspendGrants => {
                self.suspended_from = Some(0);
                self.seen.note("suspended");
                Ok(Reply::Done)
            }
        }
    }

    fn acquire(&mut self, id: PeerId, request: LockRequest) -> Result<Admission, Error> {
        let LockRequest { semaphore, count, expires_in, attended, sequence } = request;
        if self.semaphore_mut(semaphore)?.retired {
            let holds = self.find(id).is_ok_and(|peer| peer.held_on(semaphore).is_some());
            if !holds {
                self.seen.note("retired: unknown to others");
                return Err(Error::UnknownSemaphore);
            }
            self.seen.note("retired: repeated by a holder");
        }
        self.accept_sequence(id, sequence)?;
        if let Some(expires_in) = expires_in {
            self.heartbeat(id, expires_in)?;
        }
        let peer = self.peer(id);
        match (peer.held_on(semaphore).copied(), peer.pending) {
            (Some(held), pending) => self.acquire_held(id, held, pending.is_some(), count)?,
            (None, Some(pending)) => self.acquire_pending(id, pending, semaphore, count)?,
            (None, None) => self.acquire_new(id, semaphore, count)?,
        }
        let held = self.peer(id).held_on(semaphore).map(|lock| (lock.count, lock.token));
        if let Some((count, token)) = held {
            if attended {
                self.renew(id);
            }
            return Ok(Admission::Granted { count, token });
        }
        let pending = self.peer_mut(id).pending.as_mut().expect("held or pending");
        pending.open_requests += u32::from(attended);
        Ok(Admission::Queued { count: pending.count, ticket: pending.ticket })
    }

    /// S4, S7: repeats the request for a held lock, or shrinks the lock.
    fn acquire_held(
        &mut self,
        id: PeerId,
        held: Held,
        waits_for_another: bool,
        count: Count,
    ) -> Result<(), Error> {
        let semaphore = held.semaphore;
        match count.cmp(&held.count) {
            Ordering::Equal if waits_for_another => {
                self.seen.note("repeated: held while waiting for another");
            }
            Ordering::Equal => self.seen.note("repeated: held"),
            Ordering::Less => {
                self.seen.note("shrunk: held");
                let mut held = self.peer_mut(id).held.iter_mut();
                let lock =
                    held.find(|lock| lock.semaphore == semaphore).expect("the caller has found it");
                let from = std::mem::replace(&mut lock.count, count);
                self.events.push(Event::Shrunk { peer: id, semaphore, from, to: count });
                self.serve_noting("shrunk: held, and granted");
            }
            Ordering::Greater => {
                self.check_acquirable(semaphore, count)?;
                self.check_hierarchy(id, semaphore)?;
                unreachable!("a level is not below itself");
            }
        }
        Ok(())
    }

    /// S4, S5, S7, S15: repeats the request for a pending lock, or shrinks the lock. The place in the queue
    /// is kept or resumed.
    fn acquire_pending(
        &mut self,
        id: PeerId,
        pending: Pending,
        semaphore: SemaphoreId,
        count: Count,
    ) -> Result<(), Error> {
        self.check_acquirable(semaphore, count)?;
        if semaphore != pending.semaphore || count > pending.count {
            return Err(Error::AlreadyPending);
        }
        let lock = self.peer_mut(id).pending.as_mut().expect("the caller has found it");
        let was_parked = lock.parked_until.take().is_some();
        let from = std::mem::replace(&mut lock.count, count);
        self.seen.note("repeated: pending");
        if was_parked {
            self.seen.note("parked: resumed");
            self.events.push(Event::Resumed { peer: id, semaphore });
        }
        if count < from {
            self.seen.note("shrunk: pending");
            self.events.push(Event::Shrunk { peer: id, semaphore, from, to: count });
        }
        match (was_parked, count < from) {
            (true, _) => self.serve_noting("parked: resumed and granted"),
            (false, true) => self.serve_noting("shrunk: pending, and granted"),
            (false, false) => {}
        }
        Ok(())
    }

    fn acquire_new(
        &mut self,
        id: PeerId,
        semaphore: SemaphoreId,
        count: Count,
    ) -> Result<(), Error> {
        self.check_acquirable(semaphore, count)?;
        self.check_hierarchy(id, semaphore)?;
        let fits = self.fits(semaphore, count);
        let waiters = self.waiters(semaphore).count();
        if fits && self.head_of_queue(semaphore).is_none() {
            let parked = "granted: at once beside parked waiters";
            self.seen.note(if waiters > 0 { parked } else { "granted: at once" });
            self.grant(id, semaphore, count, Some(self.now));
            return Ok(());
        }
        let limit = self.settings.max_waiters;
        if waiters >= limit as usize {
            return Err(Error::TooManyWaiters { limit });
        }
        self.seen.note(if fits { "queued: although it would fit" } else { "queued" });
        if !self.peer(id).held.is_empty() {
            self.seen.note("queued: holding");
        }
        let ticket = self.minted.ticket.take();
        let ticket = ticket.unwrap_or_else(|| panic!("{id} is not queued for {semaphore:?}"));
        assert!(self.last_ticket < Some(ticket), "S2: {ticket:?} is not after all earlier ones");
        self.last_ticket = Some(ticket);
        let since = self.now;
        let (open_requests, parked_until) = (0, None);
        let pending = Pending { semaphore, count, ticket, since, open_requests, parked_until };
        self.peer_mut(id).pending = Some(pending);
        self.events.push(Event::Queued { peer: id, semaphore, count });
        Ok(())
    }

    fn release(
        &mut self,
        id: PeerId,
        semaphore: SemaphoreId,
        sequence: Option<Sequence>,
    ) -> Result<Release, Error> {
        self.semaphore_mut(semaphore)?;
        self.accept_sequence(id, sequence)?;
        let now = self.now;
        let peer = self.peer_mut(id);
        if let Some(at) = peer.held.iter().position(|lock| lock.semaphore == semaphore) {
            let lock = peer.held.remove(at);
            self.events.push(lock.released(id, now));
            self.seen.note("released");
            return Ok(Release::Released);
        }
        if peer.pending_on(semaphore).is_some() {
            self.cancel(id, CancelCause::Withdrawn);
            self.seen.note("cancelled: withdrawn");
            return Ok(Release::Cancelled);
        }
        self.seen.note("released: nothing");
        Ok(Release::Nothing)
    }

    fn heartbeat(&mut self, id: PeerId, expires_in: Duration) -> Result<Reply, Error> {
        if self.find(id)?.lease_end() <= u128::from(self.present) {
            self.seen.note("renewed: in the backlog");
        }
        let before = std::mem::replace(&mut self.peer_mut(id).lease, expires_in);
        // The machine counts up to 584 years.
        let longest = Duration::from_nanos(u64::MAX);
        if before.min(longest) != expires_in.min(longest) {
            self.seen.note("renewed: with another length");
            self.events.push(Event::LeaseChanged { peer: id });
        }
        self.renew(id);
        Ok(Reply::Done)
    }

    fn remove_peer(&mut self, id: PeerId, sequence: Option<Sequence>) -> bool {
        let known = self.find(id).is_ok();
        if known {
            self.peer_mut(id).sequences.extend(sequence);
            self.note_end(id, ["removed: idle", "removed: holding", "removed: waiting"]);
            let (locks, labels) = self.remove(id);
            self.events.push(Event::Removed { peer: id, locks, labels });
        } else if let Some(sequence) = sequence {
            self.leave_sequence(id, sequence);
        }
        known
    }

    /// S9.
    fn restore(&mut self, restoration: &Restoration) -> Result<Reply, Error> {
        let Restoration { peer: id, expires_in, locks, labels, sequence } = restoration;
        for &semaphore in locks.keys() {
            self.semaphore_mut(semaphore)?;
        }
        if let Some(sequence) = *sequence {
            self.check_sequence(*id, sequence)?;
        }
        if let Ok(peer) = self.find(*id) {
            let mut held: Vec<_> =
                peer.held.iter().map(|lock| (lock.semaphore, lock.count)).collect();
            held.sort_unstable();
            if peer.pending.is_some() || !held.into_iter().eq(locks.clone()) {
                return Err(Error::RestoreConflict);
            }
            self.seen.note("restored: again");
            if locks.keys().any(|&id| self.semaphores.iter().any(|it| it.id == id && it.retired)) {
                self.seen.note("retired: holding peer restored again");
            }
            self.peer_mut(*id).sequences.extend(sequence);
            return self.heartbeat(*id, *expires_in);
        }
        for (&semaphore, count) in locks {
            if self.semaphore_mut(semaphore)?.retired {
                self.seen.note("retired: unknown to restores");
                return Err(Error::UnknownSemaphore);
            }
            if self.held(semaphore) + u128::from(count.get()) > Count::MAX.get().into() {
                return Err(Error::LockCountTooLarge);
            }
        }
        self.check_room_for_a_peer(labels)?;
        self.seen.note("restored");
        let sequence = sequence.or_else(|| self.absent_sequence(*id));
        self.admit(*id, *expires_in, labels.clone());
        self.peer_mut(*id).sequences.extend(sequence);
        self.events.push(Event::Restored { peer: *id });
        for (&semaphore, &count) in locks {
            if !self.fits(semaphore, count) {
                self.seen.note("restored: above the maximum");
            }
            if self.head_of_queue(semaphore).is_some() {
                self.seen.note("restored: past a queue");
            }
            self.grant(*id, semaphore, count, None);
        }
        Ok(Reply::Done)
    }

    /// S4: the peer exists, and no later request of it was accepted before.
    fn accept_sequence(&mut self, id: PeerId, sequence: Option<Sequence>) -> Result<(), Error> {
        let Some(sequence) = sequence else { return self.find(id).map(drop) };
        self.check_sequence(id, sequence)?;
        if let Err(unknown) = self.find(id) {
            self.leave_sequence(id, sequence);
            return Err(unknown);
        }
        self.peer_mut(id).sequences.push(sequence);
        self.seen.note("sequence: accepted");
        Ok(())
    }

    /// S4, S9: no later request of the peer was accepted before, even if the peer is absent now.
    fn check_sequence(&mut self, id: PeerId, sequence: Sequence) -> Result<(), Error> {
        let latest = match self.find(id) {
            Ok(peer) => peer.sequences.iter().copied().max(),
            Err(_) => self.absent_sequence(id),
        };
        let latest = latest.unwrap_or_default();
        if latest <= sequence {
            return Ok(());
        }
        let known = self.find(id).is_ok();
        self.seen.note(if known { "stale: overtaken" } else { "stale: peer absent" });
        Err(Error::StaleRequest { sequence, latest })
    }

    /// S15.
    fn park(&mut self, id: PeerId, ticket: Ticket) {
        let until = u128::from(self.present) + self.settings.abandoned_after.as_nanos();
        if self.close_request(id, ticket, "request: broken") == Some(0) {
            self.seen.note("parked");
            let pending = self.peer_mut(id).pending.as_mut().expect("its request was open");
            pending.parked_until = Some(until);
            let semaphore = pending.semaphore;
            self.events.push(Event::Parked { peer: id, semaphore });
        }
    }

    /// Closes an open request. Returns how many of the peer are still open; `None` if it was not open.
    fn close_request(&mut self, id: PeerId, ticket: Ticket, how: &'static str) -> Option<u32> {
        let peer = self.peers.iter_mut().find(|peer| peer.id == id);
        let open =
            peer.and_then(|peer| peer.pending.as_mut().filter(|lock| lock.open_requests > 0));
        let pending = match open {
            Some(pending) if pending.ticket == ticket => pending,
            Some(_) => {
                self.seen.note("request: of an earlier wait");
                return None;
            }
            None => {
                self.seen.note("request: already over");
                return None;
            }
        };
        pending.open_requests -= 1;
        let still_open = pending.open_requests;
        if still_open == 0 {
            self.seen.note(how);
            self.renew(id);
        } else {
            self.seen.note("request: one of several closed");
        }
        Some(still_open)
    }

    fn add_semaphore(&mut self, max: Count, level: Level) -> Reply {
        let id = self.minted.semaphore.take().expect("adding a semaphore never fails");
        assert!(self.semaphores.iter().all(|known| known.id < id), "ids are never reused");
        self.added += 1;
        // It may guard the same resource as one that was removed.
        let last_token = self.token_floor;
        let (next_level, retired) = (None, false);
        self.semaphores.push(Semaphore { id, max, level, next_level, retired, last_token });
        Reply::Added(id)
    }

    /// A semaphore costs a unit, and so does a grant. A semaphore that uses up the budget has its turn again.
    fn resume_some_grants(&mut self, budget: u32) -> Reply {
        let mut budget = budget.max(1);
        while let Some(index) = self.suspended_from.filter(|_| budget > 0) {
            if index >= self.added {
                self.suspended_from = None;
                self.seen.note("resumed");
                break;
            }
            self.suspended_from = Some(index + 1);
            let mut known = self.semaphores.iter().map(|known| known.id);
            let id = known.find(|id| id.index() == index);
            let mut grants = 0;
            while grants < budget && id.is_some_and(|id| self.serve_next(id)) {
                self.seen.note("resumed: and granted");
                grants += 1;
            }
            if grants == budget {
                self.suspended_from = Some(index);
            }
            budget = budget.saturating_sub(grants + 1);
        }
        if self.suspended_from.is_some() {
            self.seen.note("resumed: in part");
        }
        Reply::Resumed(self.suspended_from.is_some())
    }

    fn resize(&mut self, id: SemaphoreId, max: Count) -> Result<Reply, Error> {
        let known = self.semaphore_mut(id)?;
        if known.retired {
            return Err(Error::UnknownSemaphore);
        }
        let from = std::mem::replace(&mut known.max, max);
        if max == from {
            return Ok(Reply::Done);
        }
        self.events.push(Event::Resized { semaphore: id, from, to: max });
        if max > from {
            self.serve_noting("resized: up, and granted");
            return Ok(Reply::Done);
        }
        self.seen.note("resized: down");
        let waiters = self.peers.iter().filter_map(|peer| Some((peer.id, peer.pending_on(id)?)));
        let mut too_large: Vec<_> = waiters.filter(|(_, lock)| lock.count > max).collect();
        too_large.sort_by_key(|(_, lock)| lock.ticket);
        let too_large = too_large.into_iter().map(|(peer, lock)| (peer, lock.count));
        for (peer, count) in too_large.collect::<Vec<_>>() {
            self.seen.note("cancelled: no longer acquirable");
            self.cancel(peer, CancelCause::NeverAcquirable { count, max });
        }
        Ok(Reply::Done)
    }

    /// D9: in use, it is retired.
    fn remove_semaphore(&mut self, id: SemaphoreId) -> Result<Reply, Error> {
        self.semaphore_mut(id)?;
        if !self.is_in_use(id) {
            self.discard(id);
            self.seen.note("semaphore: removed");
            return Ok(Reply::InForce(true));
        }
        let known = self.semaphore_mut(id)?;
        (known.retired, known.next_level) = (true, None);
        let mut waiters: Vec<_> = self
            .peers
            .iter()
            .filter_map(|peer| Some((peer.pending_on(id)?.ticket, peer.id)))
            .collect();
        waiters.sort_unstable();
        for (_, peer) in waiters {
            self.seen.note("retired: waiters cancelled");
            self.cancel(peer, CancelCause::SemaphoreRetired);
        }
        let held = self.held(id) > 0;
        self.seen.note(if held { "retired: with holders" } else { "retired: all waiters left" });
        Ok(Reply::InForce(false))
    }

    /// D9: in use, it gets its level later.
    fn set_level(&mut self, id: SemaphoreId, level: Level) -> Result<Reply, Error> {
        let in_use = self.is_in_use(id);
        let known = self.semaphore_mut(id)?;
        if known.retired {
            return Err(Error::UnknownSemaphore);
        }
        let before = known.next_level.take();
        if in_use && known.level != level {
            known.next_level = Some(level);
            self.seen.note("level: deferred");
            return Ok(Reply::InForce(false));
        }
        known.level = level;
        self.seen.note("semaphore: changed its level");
        if before.is_some() {
            self.seen.note("level: no longer deferred");
        }
        Ok(Reply::InForce(true))
    }

    fn check_acquirable(&mut self, id: SemaphoreId, count: Count) -> Result<(), Error> {
        let max = self.semaphore_mut(id)?.max;
        if count <= max { Ok(()) } else { Err(Error::NeverAcquirable { count, max }) }
    }

    /// S6: strictly below the lowest level held.
    fn check_hierarchy(&self, id: PeerId, semaphore: SemaphoreId) -> Result<(), Error> {
        let level = |id| self.semaphores.iter().find(|known| known.id == id).expect("in use").level;
        let lowest = self.peer(id).held.iter().map(|lock| level(lock.semaphore)).min();
        let requested = level(semaphore);
        match lowest.filter(|&current| current <= requested) {
            Some(current) => Err(Error::LockHierarchyViolation { current, requested }),
            None => Ok(()),
        }
    }

    fn check_room_for_a_peer(&self, labels: &Labels) -> Result<(), Error> {
        let limit = self.settings.max_peers;
        if self.peers.len() >= limit as usize {
            return Err(Error::TooManyPeers { limit });
        }
        if labels.is_empty() {
            return Ok(());
        }
        let others = self.peers.iter().map(|peer| &peer.labels);
        let labels = others.chain([labels]).flat_map(Labels::iter);
        let bytes: usize = labels.map(|(name, value)| name.len() + value.len() + 64).sum();
        let limit = self.settings.max_label_bytes;
        if bytes as u64 > limit { Err(Error::TooManyLabelBytes { limit }) } else { Ok(()) }
    }

    fn admit(&mut self, id: PeerId, lease: Duration, labels: Labels) {
        let (deadline, sequences, held, pending) = (0, Vec::new(), Vec::new(), None);
        self.peers.push(Peer { id, lease, deadline, sequences, labels, held, pending });
        self.renew(id);
    }

    fn serve_noting(&mut self, what: &'static str) {
        let before = self.events.len();
        self.serve();
        if self.events.len() > before {
            self.seen.note(what);
        }
    }
}

//! The state as a consumer of the events alone knows it: the holders and the queue of each semaphore.

use std::collections::BTreeMap;

use throttle_core::{Command, Count, Event, FencingToken, PeerId, Reply, SemaphoreId};

use crate::{life::Step, snapshot::Snapshot};

/// The state, updated event by event.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<SemaphoreId, Account>,
    peers: Vec<PeerId>,
    last_token_of_removed: Option<FencingToken>,
}

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) max: Count,
    pub(crate) retired: bool,
    pub(crate) holders: Vec<Holder>,
    pub(crate) queue: Vec<Waiter>,
    pub(crate) last_token: Option<FencingToken>,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Holder {
    pub(crate) peer: PeerId,
    pub(crate) count: Count,
    pub(crate) token: FencingToken,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Waiter {
    pub(crate) peer: PeerId,
    pub(crate) count: Count,
    pub(crate) parked: bool,
}

/// A grant, with the semaphore as it was just before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) account: &'a Account,
    pub(crate) peer: PeerId,
    pub(crate) count: Count,
    pub(crate) token: FencingToken,
    /// Whether the lock comes back by a restore.
    pub(crate) restored: bool,
}

impl Ledger {
    /// Applies the events of a step, and calls `check` before each grant.
    pub(crate) fn apply(&mut self, step: &Step, mut check: impl FnMut(Grant<'_>)) {
        for event in &step.meanwhile {
            self.apply_event(event, &mut check);
        }
        match (&step.command, &step.reply) {
            (&Command::AddSemaphore { max, .. }, &Ok(Reply::Added(id))) => {
                let last_token = self.last_token_of_removed;
                let (holders, queue, retired) = (Vec::new(), Vec::new(), false);
                let account = Account { max, retired, holders, queue, last_token };
                self.accounts.insert(id, account);
            }
            (&Command::RemoveSemaphore { semaphore }, Ok(Reply::InForce(true))) => {
                self.remove_semaphore(semaphore);
            }
            (&Command::RemoveSemaphore { semaphore }, Ok(_)) => {
                self.account(semaphore).retired = true;
            }
            (&Command::ReinstateSemaphore { semaphore, .. }, Ok(_)) => {
                self.account(semaphore).retired = false;
            }
            _ => {}
        }
        for event in &step.events {
            self.apply_event(event, &mut check);
        }
    }

    fn remove_semaphore(&mut self, id: SemaphoreId) {
        let removed = self.accounts.remove(&id).expect("a semaphore that is removed existed");
        assert!(removed.holders.is_empty() && removed.queue.is_empty(), "it is unused");
        self.last_token_of_removed = self.last_token_of_removed.max(removed.last_token);
    }

    fn apply_event(&mut self, event: &Event, check: &mut impl FnMut(Grant<'_>)) {
        match *event {
            Event::Cancelled { peer, semaphore, count, .. } => {
                let waiter = self
                    .account(semaphore)
                    .leave_queue(peer)
                    .expect("a cancelled lock was pending");
                assert_eq!(waiter.count, count);
            }
            Event::Expired { peer, .. } | Event::Removed { peer, .. } => {
                self.peers.retain(|&known| known != peer);
                let mut accounts = self.accounts.values();
                let has = |account: &Account| account.has(peer);
                assert!(!accounts.any(has), "the locks of a peer go before the peer");
            }
            Event::Granted { peer, semaphore, count, token, waited } => {
                let restored = waited.is_none();
                let account = self.account(semaphore);
                check(Grant { account, peer, count, token, restored });
                account.leave_queue(peer);
                account.holders.push(Holder { peer, count, token });
                account.last_token = Some(token);
            }
            Event::LeaseChanged { peer } => {
                assert!(self.peers.contains(&peer), "only living peers have a lease");
            }
            Event::LevelChanged { semaphore, .. } => {
                let account = self.account(semaphore);
                assert!(account.holders.is_empty() && account.queue.is_empty(), "it is unused");
            }
            Event::Parked { peer, semaphore } => self.account(semaphore).waiter(peer).parked = true,
            Event::PeerCreated { peer } | Event::Restored { peer } => self.peers.push(peer),
            Event::Queued { peer, semaphore, count } => {
                self.account(semaphore).queue.push(Waiter { peer, count, parked: false });
            }
            Event::Released { peer, semaphore, count, token, .. } => {
                let holders = &mut self.account(semaphore).holders;
                let released = Holder { peer, count, token };
                let at = holders.iter().position(|holder| *holder == released);
                holders.remove(at.expect("a released lock was held"));
            }
            Event::Resumed { peer, semaphore } => {
                self.account(semaphore).waiter(peer).parked = false;
            }
            Event::Resized { semaphore, from, to } => {
                assert_eq!(std::mem::replace(&mut self.account(semaphore).max, to), from);
            }
            Event::SemaphoreRemoved { semaphore } => {
                assert!(self.account(semaphore).retired, "only retired semaphores disappear");
                self.remove_semaphore(semaphore);
            }
            Event::Shrunk { peer, semaphore, from, to } => {
                let account = self.account(semaphore);
                let mut holders = account.holders.iter_mut();
                let count = match holders.find(|holder| holder.peer == peer) {
                    Some(holder) => &mut holder.count,
                    None => &mut account.waiter(peer).count,
                };
                assert_eq!(std::mem::replace(count, to), from);
            }
        }
    }

    /// The ledger agrees with the machine.
    pub(crate) fn assert_agrees_with(&self, seen: &Snapshot) {
        let mut peers = self.peers.clone();
        peers.sort_unstable();
        assert!(peers.into_iter().eq(seen.peers.iter().map(|peer| peer.id)));
        assert!(self.accounts.keys().copied().eq(seen.semaphores.iter().map(|known| known.id)));
        for (account, semaphore) in self.accounts.values().zip(&seen.semaphores) {
            assert_eq!(account.max, semaphore.status.max);
            assert_eq!(account.retired, semaphore.status.retired);
            let holders = semaphore.holders.iter().map(|seen| {
                let &throttle_core::Holder { peer, count, token, .. } = seen;
                Holder { peer, count, token }
            });
            assert_eq!(account.holders, holders.collect::<Vec<_>>());
            let waiters = semaphore.waiters.iter().map(|seen| {
                let &throttle_core::Waiter { peer, count, parked, .. } = seen;
                Waiter { peer, count, parked }
            });
            assert_eq!(account.queue, waiters.collect::<Vec<_>>());
        }
    }

    pub(crate) fn account(&mut self, id: SemaphoreId) -> &mut Account {
        self.accounts.get_mut(&id).expect("events name semaphores that exist")
    }
}

impl Account {
    pub(crate) fn held(&self) -> u128 {
        self.holders.iter().map(|holder| u128::from(holder.count.get())).sum()
    }

    fn has(&self, peer: PeerId) -> bool {
        let holds = self.holders.iter().any(|holder| holder.peer == peer);
        holds || self.queue.iter().any(|waiter| waiter.peer == peer)
    }

    fn waiter(&mut self, peer: PeerId) -> &mut Waiter {
        self.queue.iter_mut().find(|waiter| waiter.peer == peer).expect("the peer waits")
    }

    fn leave_queue(&mut self, peer: PeerId) -> Option<Waiter> {
        let at = self.queue.iter().position(|waiter| waiter.peer == peer)?;
        Some(self.queue.remove(at))
    }
}

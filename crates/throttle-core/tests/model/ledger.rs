//! What a consumer knows who was told nothing but the events: who holds what and who waits in line.

use std::collections::BTreeMap;

use throttle_core::{Command, Count, Event, FencingToken, PeerId, Reply, SemaphoreId};

use crate::{life::Step, snapshot::Snapshot};

/// A book kept from the events, entry by entry.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<SemaphoreId, Account>,
    peers: Vec<PeerId>,
    last_token_of_removed: Option<FencingToken>,
}

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) max: Count,
    pub(crate) holders: Vec<Holder>,
    pub(crate) line: Vec<Waiter>,
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

/// A lock that becomes held, as the books stand just before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) account: &'a Account,
    pub(crate) peer: PeerId,
    pub(crate) count: Count,
    pub(crate) token: FencingToken,
    /// Whether the peer tells the server what it holds, rather than the other way round.
    pub(crate) restored: bool,
}

impl Ledger {
    /// Enters a step, and has every grant looked at.
    pub(crate) fn enter(&mut self, step: &Step, mut look: impl FnMut(Grant<'_>)) {
        for event in &step.meanwhile {
            self.enter_event(event, &mut look);
        }
        match (&step.command, &step.reply) {
            (&Command::AddSemaphore { max, .. }, &Ok(Reply::Added(id))) => {
                let last_token = self.last_token_of_removed;
                let account = Account { max, holders: Vec::new(), line: Vec::new(), last_token };
                self.accounts.insert(id, account);
            }
            (Command::RemoveSemaphore { semaphore }, Ok(_)) => {
                let removed = self.accounts.remove(semaphore).expect("it was there");
                self.last_token_of_removed = self.last_token_of_removed.max(removed.last_token);
            }
            _ => {}
        }
        for event in &step.events {
            self.enter_event(event, &mut look);
        }
    }

    fn enter_event(&mut self, event: &Event, look: &mut impl FnMut(Grant<'_>)) {
        match *event {
            Event::Cancelled { peer, semaphore, count, .. } => {
                let waiter = self.account(semaphore).leave_line(peer).expect("it waited");
                assert_eq!(waiter.count, count);
            }
            Event::Expired { peer, .. } | Event::Removed { peer, .. } => {
                self.peers.retain(|&known| known != peer);
                let mut accounts = self.accounts.values();
                let has = |account: &Account| account.has(peer);
                assert!(!accounts.any(has), "a peer goes after its locks");
            }
            Event::Granted { peer, semaphore, count, token, waited } => {
                let restored = waited.is_none();
                let account = self.account(semaphore);
                look(Grant { account, peer, count, token, restored });
                account.leave_line(peer);
                account.holders.push(Holder { peer, count, token });
                account.last_token = Some(token);
            }
            Event::Parked { peer, semaphore } => self.account(semaphore).waiter(peer).parked = true,
            Event::PeerCreated { peer } | Event::Restored { peer } => self.peers.push(peer),
            Event::Queued { peer, semaphore, count } => {
                self.account(semaphore).line.push(Waiter { peer, count, parked: false });
            }
            Event::Released { peer, semaphore, count, token, .. } => {
                let holders = &mut self.account(semaphore).holders;
                let released = Holder { peer, count, token };
                let at = holders.iter().position(|holder| *holder == released);
                holders.remove(at.expect("what is released was held"));
            }
            Event::Resumed { peer, semaphore } => {
                self.account(semaphore).waiter(peer).parked = false;
            }
            Event::Resized { semaphore, from, to } => {
                assert_eq!(std::mem::replace(&mut self.account(semaphore).max, to), from);
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

    /// The books agree with what can be seen.
    pub(crate) fn assert_agrees_with(&self, seen: &Snapshot) {
        let mut peers = self.peers.clone();
        peers.sort_unstable();
        assert!(peers.into_iter().eq(seen.peers.iter().map(|peer| peer.id)));
        assert!(self.accounts.keys().copied().eq(seen.semaphores.iter().map(|known| known.id)));
        for (account, semaphore) in self.accounts.values().zip(&seen.semaphores) {
            assert_eq!(account.max, semaphore.status.max);
            let holders = semaphore.holders.iter().map(|seen| {
                let &throttle_core::Holder { peer, count, token, .. } = seen;
                Holder { peer, count, token }
            });
            assert_eq!(account.holders, holders.collect::<Vec<_>>());
            let waiters = semaphore.waiters.iter().map(|seen| {
                let &throttle_core::Waiter { peer, count, parked, .. } = seen;
                Waiter { peer, count, parked }
            });
            assert_eq!(account.line, waiters.collect::<Vec<_>>());
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
        holds || self.line.iter().any(|waiter| waiter.peer == peer)
    }

    fn waiter(&mut self, peer: PeerId) -> &mut Waiter {
        self.line.iter_mut().find(|waiter| waiter.peer == peer).expect("it waits")
    }

    fn leave_line(&mut self, peer: PeerId) -> Option<Waiter> {
        let at = self.line.iter().position(|waiter| waiter.peer == peer)?;
        Some(self.line.remove(at))
    }
}

//! The reasons for which records cannot be recovered.

use core::fmt;

use crate::{Count, FencingToken, PeerId, SemaphoreId, Ticket};

/// What is wrong with a record. No machine writes such records, so a store that has one is damaged.
///
/// `S` says which semaphore. An embedder that has names for them converts the ids by
/// [`Damage::map_semaphore`], so that the message has the name.
#[expect(missing_docs, reason = "fields are what the message names")]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Damage<S: fmt::Debug = SemaphoreId> {
    /// The peer waits for a semaphore that it holds.
    #[error("peer {peer} waits for semaphore {semaphore:?}, which it holds")]
    AwaitedWhileHeld { peer: PeerId, semaphore: S },
    /// With the lock of this peer, the sum held of the semaphore exceeds [`Count::MAX`].
    #[error(
        "the lock of peer {peer} raises the sum held of semaphore {semaphore:?} above {}",
        Count::MAX
    )]
    HeldCountTooLarge { peer: PeerId, semaphore: S },
    /// The peer holds the semaphore more than once.
    #[error("peer {peer} holds semaphore {semaphore:?} twice")]
    HeldTwice { peer: PeerId, semaphore: S },
    /// There was a record of this peer before.
    #[error("peer {peer} is recorded twice")]
    PeerTwice { peer: PeerId },
    /// After this ticket there would be hardly any left.
    #[error("the ticket of peer {peer} is too large: {}", ticket.get())]
    TicketTooLarge { peer: PeerId, ticket: Ticket },
    /// Another waiter of the semaphore has the same ticket.
    #[error("peer {peer} has the ticket of another waiter of semaphore {semaphore:?}: {}", ticket.get())]
    TicketTwice { peer: PeerId, semaphore: S, ticket: Ticket },
    /// After this token, above which new semaphores begin, there would be hardly any left.
    #[error("the token above which new semaphores begin is too large: {token}")]
    TokenFloorTooLarge { token: FencingToken },
    /// After this token there would be hardly any left.
    #[error("the last token of semaphore {semaphore:?} is too large: {token}")]
    TokenTooLarge { semaphore: S, token: FencingToken },
    /// Another holder of the semaphore has the same token.
    #[error("peer {peer} has the token of another holder of semaphore {semaphore:?}: {token}")]
    TokenTwice { peer: PeerId, semaphore: S, token: FencingToken },
    /// The semaphore was not added before the recovery.
    #[error("unknown semaphore: {semaphore:?}")]
    UnknownSemaphore { semaphore: S },
}

impl<S: fmt::Debug> Damage<S> {
    /// The same damage, with the semaphore converted by `name`.
    pub fn map_semaphore<T: fmt::Debug>(self, name: impl FnOnce(S) -> T) -> Damage<T> {
        match self {
            Self::AwaitedWhileHeld { peer, semaphore } => {
                Damage::AwaitedWhileHeld { peer, semaphore: name(semaphore) }
            }
            Self::HeldCountTooLarge { peer, semaphore } => {
                Damage::HeldCountTooLarge { peer, semaphore: name(semaphore) }
            }
            Self::HeldTwice { peer, semaphore } => {
                Damage::HeldTwice { peer, semaphore: name(semaphore) }
            }
            Self::PeerTwice { peer } => Damage::PeerTwice { peer },
            Self::TicketTooLarge { peer, ticket } => Damage::TicketTooLarge { peer, ticket },
            Self::TicketTwice { peer, semaphore, ticket } => {
                Damage::TicketTwice { peer, semaphore: name(semaphore), ticket }
            }
            Self::TokenFloorTooLarge { token } => Damage::TokenFloorTooLarge { token },
            Self::TokenTooLarge { semaphore, token } => {
                Damage::TokenTooLarge { semaphore: name(semaphore), token }
            }
            Self::TokenTwice { peer, semaphore, token } => {
                Damage::TokenTwice { peer, semaphore: name(semaphore), token }
            }
            Self::UnknownSemaphore { semaphore } => {
                Damage::UnknownSemaphore { semaphore: name(semaphore) }
            }
        }
    }
}

"""Locks on semaphores of Throttle that keep themselves alive.

>>> from throttle_client import lock
>>> with lock("http://localhost:8000", "A", count=2):  # doctest: +SKIP
...     print("nobody has more of A than there is")

The lease is kept alive by a thread outside of the interpreter, whatever Python does. Should the lock be
lost nevertheless, `lost` of the lock tells it, and leaving the block raises `LockLost`.
"""

import atexit
import logging
import os
from contextlib import ContextDecorator
from threading import local
from time import monotonic
from types import TracebackType
from typing import Callable, Dict, Optional, Type

from .client import Client, Refused, Span, UnknownPeer, Unreachable, seconds
from .peer import Loss, Peer, PeerWithHeartbeat, _farewell

__all__ = [
    "Client",
    "Lock",
    "LockLost",
    "Loss",
    "Peer",
    "PeerWithHeartbeat",
    "Refused",
    "Timeout",
    "UnknownPeer",
    "Unreachable",
    "clear_peers",
    "get_local_peer",
    "lock",
    "set_local_peer",
]

_log = logging.getLogger(__name__)

# How long one request waits for a lock. Then it is sent again.
_BLOCK_FOR = 5.0

# How long to wait for the server when something else is to be told already.
_FAREWELL = 5.0


class Timeout(Exception):
    """The lock was not to be had in time. Nothing is left of the wait at the server."""


class LockLost(Exception):
    """The lock was lost before it was given back; what was done last may have been done without it."""


class _Local(local):
    """The peers of a thread, by the URL of their server.

    A peer for each thread, because locks are nested within a peer.
    """

    def __init__(self) -> None:
        self.peers: Dict[str, Peer] = {}
        # A child has inherited the peers of its parent, and must have its own.
        self.process = os.getpid()


_threadlocal = _Local()


def _peers() -> Dict[str, Peer]:
    if _threadlocal.process != os.getpid():
        clear_peers()
    return _threadlocal.peers


def clear_peers() -> None:
    """Forgets the peers of this thread."""
    _threadlocal.peers = {}
    _threadlocal.process = os.getpid()


def get_local_peer(url: str) -> Peer:
    """The peer of this thread for a server, which is made if there is none."""
    peers = _peers()
    if url not in peers:
        peers[url] = PeerWithHeartbeat.from_server_url(url)
    return peers[url]


def set_local_peer(url: str, peer: Peer) -> Optional[Peer]:
    """Sets the peer of this thread for a server, and returns the one before.

    So a lease, a heartbeat or an id of your own can be chosen.
    """
    peers = _peers()
    old = peers.get(url)
    peers[url] = peer
    return old


class Lock(ContextDecorator):
    """A lock on a semaphore, held within a `with` block, or while a function it decorates runs."""

    def __init__(
        self,
        server_url: str,
        semaphore: str,
        count: int = 1,
        timeout: Optional[Span] = None,
        on_lost: Optional[Callable[[str], None]] = None,
    ):
        self.server_url = server_url
        self.semaphore = semaphore
        self.count = count
        self._timeout = None if timeout is None else seconds(timeout)
        self._on_lost = on_lost
        #: The peer that has the lock, as long as there is one.
        self.peer: Optional[Peer] = None

    def _recreate_cm(self) -> "Lock":
        # A decorated function may run in several threads.
        return Lock(self.server_url, self.semaphore, self.count, self._timeout, self._on_lost)

    @property
    def lost(self) -> Loss:
        """Whether the lock is lost: an object with `is_set()`, `wait(timeout)` and `reason`."""
        return self._held_by().lost

    @property
    def fencing_token(self) -> Optional[int]:
        """A number that grows with each grant of the semaphore.

        What the lock protects can reject whoever comes with a smaller one than it has seen.
        """
        return self._held_by().fencing_tokens.get(self.semaphore)

    def is_held(self) -> bool:
        """Whether it is certain at this moment that nobody else has the lock."""
        return self.peer is not None and not self.peer.lost.is_set()

    def _held_by(self) -> Peer:
        if self.peer is None:
            raise RuntimeError("the lock is not held")
        return self.peer

    def __enter__(self) -> Peer:
        peer = get_local_peer(self.server_url)
        if self.semaphore in peer.acquired:
            raise Refused(
                f"{self.semaphore!r} is held by this thread already", "already_held"
            )
        try:
            self._acquire(peer)
            self.peer = peer
            if self._on_lost is not None and isinstance(peer, PeerWithHeartbeat):
                peer._on_lost.append(self._on_lost)
            peer.start_heartbeat()
        except BaseException:
            # A timeout, an interrupt, whatever it is: nobody stays in the queue unattended, or has
            # what was granted in that moment.
            self._let_go(peer)
            self._withdraw(peer)
            raise
        return peer

    def _let_go(self, peer: Peer) -> None:
        """Forgets here what the peer had of the semaphore."""
        self.peer = None
        peer.acquired.pop(self.semaphore, None)
        peer.fencing_tokens.pop(self.semaphore, None)
        if isinstance(peer, PeerWithHeartbeat) and self._on_lost in peer._on_lost:
            peer._on_lost.remove(self._on_lost)

    def _acquire(self, peer: Peer) -> None:
        start = monotonic()
        block_for = _BLOCK_FOR
        while True:
            if self._timeout is not None:
                block_for = max(0.0, min(self._timeout - (monotonic() - start), _BLOCK_FOR))
            try:
                if peer.acquire(self.semaphore, count=self.count, block_for=block_for):
                    return
            except UnknownPeer:
                # Who has been removed knows it by the heartbeat, and does not come back.
                if peer.lost.is_set():
                    raise LockLost(peer.lost.reason) from None
                peer.restore()
                continue
            if self._timeout is not None and monotonic() - start >= self._timeout:
                raise Timeout(f"{self.semaphore!r} was not to be had in time")

    def _withdraw(self, peer: Peer) -> None:
        native = peer.client._native
        try:
            if peer.acquired:
                # The heartbeat must not bring it back.
                peer.start_heartbeat()
                native.release(peer.id, self.semaphore).wait(_FAREWELL)
            else:
                # With nothing in its hands it may as well go, also if it was asked in vain.
                _forget(self.server_url, peer)
                peer.stop_heartbeat()
                native.remove_peer(peer.id).wait(_FAREWELL)
        except (OSError, UnknownPeer, ValueError) as error:
            # Unknown peers and semaphores have no queue. Else the lease bounds it.
            _log.debug("could not leave the queue of %r: %s", self.semaphore, error)

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        peer = self._held_by()
        reason = peer.lost.reason
        self._let_go(peer)
        try:
            if not peer.acquired:
                _forget(self.server_url, peer)
                peer.stop_heartbeat()
            # Of what is lost the server has nothing any more.
            if reason is None:
                self._give_back(peer)
        except (Unreachable, UnknownPeer) as failure:
            # It is free when the lease ends.
            _log.warning("could not release %r: %s", self.semaphore, failure)
        if reason is not None and kind is None:
            raise LockLost(f"{self.semaphore!r}: {reason}")

    def _give_back(self, peer: Peer) -> None:
        if peer.acquired:
            # The heartbeat must not bring back what is given back.
            peer.start_heartbeat()
            peer.release(self.semaphore)
        else:
            peer.remove_from_server()


def lock(
    server_url: str,
    semaphore: str,
    count: int = 1,
    timeout: Optional[Span] = None,
    on_lost: Optional[Callable[[str], None]] = None,
) -> Lock:
    """A lock on a semaphore, to be held within a `with` block, which gets the peer that holds it.

    * `count`: how much of the semaphore.
    * `timeout`: raises `Timeout` if the lock is not to be had within this time, a `timedelta` or a
      number of seconds; 0 does not wait at all. Without it, it waits as long as it takes.
    * `on_lost`: is called with the reason, from another thread, should the lock be lost.

    >>> guard = lock("http://localhost:8000", "A")
    >>> with guard:  # doctest: +SKIP
    ...     write(guard.fencing_token)
    """
    return Lock(server_url, semaphore, count, timeout, on_lost)


def _forget(url: str, peer: Peer) -> None:
    if _peers().get(url) is peer:
        del _peers()[url]


atexit.register(_farewell)


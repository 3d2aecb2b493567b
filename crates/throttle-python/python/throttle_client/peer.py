"""Peers: the clients that hold locks at a server."""

# Modules of this package use private names of each other.
# pyright: reportPrivateUsage=false

import os
import sys
import time
import weakref
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from threading import Event
from typing import Dict, Generator, List, Mapping, Optional, Tuple, Type, TypeVar, Union

from . import _native
from ._blocking import run, wait
from ._callback_thread import forward_log
from ._event_loop import wait_async
from ._steps import Steps
from .client import Client, ClientBase, Span, check_count, seconds, timespan
from .errors import LockLost, LostReason, Timeout, Unreachable

__all__ = ["Loss", "Peer", "PeerWithHeartbeat"]

# How long a caller waits for the server to confirm a release, in seconds. It continues in the background.
RELEASE_TIMEOUT = 10.0

# The same if the caller has no time to wait: an exception leaves the block, or the program ends.
SHORT_RELEASE_TIMEOUT = 2.0

# The reason for a lock whose release the server has not confirmed: it may still be held there.
UNCONFIRMED = "unconfirmed"

#: When a release last remained unconfirmed.
last_unconfirmed_at = float("-inf")

_P = TypeVar("_P", bound="Peer")

# All that exist, by `id()`.
_peers: "weakref.WeakValueDictionary[int, Peer]" = weakref.WeakValueDictionary()


def open_peers() -> "List[_native.Peer]":
    """The native peers of this interpreter that are not closed."""
    peers = [reference() for reference in _peers.valuerefs()]
    return [peer._native for peer in peers if peer is not None and peer._native is not None]


class Peer:
    """A peer without automatic heartbeats. Each request renews its lease.

    After the end of its lease it reports its locks as lost. It is registered at the server with the first
    lock, and removed with the last one. Locks of one peer are nested: the level of each further one is lower.
    """

    _sends_heartbeats = False

    def __init__(
        self,
        client: ClientBase,
        id: Optional[int] = None,
        acquired: Optional[Mapping[str, int]] = None,
        expiration_time: Optional[Span] = None,
        *,
        labels: Optional[Mapping[str, str]] = None,
        default_labels: bool = True,
    ):
        """
        * `id`, `acquired`: take over an existing peer and its locks. The first request restores it at the
          server.
        * `expiration_time`: the length of the lease. Default: five minutes.
        * `labels`: what the server shows about the peer.
        * `default_labels`: whether the labels include host, user, process and script. The environment variable
          `THROTTLE_LABELS=0` switches them off for the whole program.
        """
        self.client = client
        #: The length of the lease.
        self.expiration_time = (
            timedelta(minutes=5)
            if expiration_time is None
            else timespan(expiration_time, "expiration_time")
        )
        #: The count of each held lock, by the name of the semaphore.
        self.acquired: Dict[str, int] = dict(acquired or {})
        #: The fencing token of each lock, by the name of the semaphore.
        self.fencing_tokens: Dict[str, Optional[int]] = {}
        self._labels = dict(labels or {})
        self._default_labels = default_labels
        self._interval: Optional[float] = None
        self._locks: Dict[str, _native.Lock] = {}
        self._native: Optional[_native.Peer] = None
        # The id to take over with the first request.
        self._id = id
        # The number of lock requests under way.
        self._pending_requests = 0

    @classmethod
    def from_server_url(cls: Type[_P], baseurl: str) -> _P:
        """A peer of the server at a URL."""
        return cls(client=Client(base_url=baseurl))

    @property
    def id(self) -> int:
        """The id of the peer at the server. Registers the peer if it has none yet."""
        known = None if self._native is None else self._native.id
        if known is not None:
            return known
        if self._id is None:
            lease = self.expiration_time.total_seconds()
            self._id = wait(self.client._server.new_peer(lease))
            self._native = None
        run(self._ensure_native())
        return self._id

    @property
    def fencing_token(self) -> Optional[int]:
        """The fencing token of the only lock that the peer holds.

        Raises `RuntimeError` if it holds none or several; `fencing_tokens` has them by semaphore.
        """
        if len(self.fencing_tokens) != 1:
            count = len(self.fencing_tokens)
            raise RuntimeError(f"the peer has {count} locks: look into `fencing_tokens`")
        return next(iter(self.fencing_tokens.values()))

    @property
    def lost(self) -> "Loss":
        """The loss of the peer with all its locks."""
        return Loss(self._native)

    def has_acquired(self) -> bool:
        """Whether the peer holds any lock."""
        return len(self.acquired) != 0

    def is_held(self) -> bool:
        """Whether the peer holds any lock, and its lease has not ended."""
        return self.has_acquired() and self._native is not None and self._native.time_left() > 0

    def acquire(
        self, semaphore: str, count: int = 1, block_for: Optional[Span] = None
    ) -> bool:
        """Requests a lock, waits for it at most `block_for`, and returns whether it is held.

        If it is not, the peer leaves the queue.
        """
        if self.acquired.get(semaphore) == count and self.is_held():
            return True
        timeout = 0.0 if block_for is None else seconds(block_for, "block_for")
        try:
            run(self._acquire(semaphore, count, timeout))
        except Unreachable:
            raise
        except Timeout:
            return False
        return True

    def release(self, semaphore: str) -> None:
        """Releases a lock. Does nothing if the peer does not hold it."""
        lock = self._locks.get(semaphore)
        run(self._release(semaphore, lock, is_last=False, timeout=RELEASE_TIMEOUT))

    def heartbeat(self) -> None:
        """Sends a heartbeat. Restores the peer with its locks if the server does not know it any more."""
        run(self._renew())

    def restore(self) -> None:
        """Does the same as `heartbeat`."""
        run(self._renew())

    def remove_from_server(self) -> None:
        """Removes the peer from the server, with all its locks."""
        run(self._close(RELEASE_TIMEOUT))

    def start_heartbeat(self) -> None:
        """Does nothing. See `PeerWithHeartbeat`."""

    def stop_heartbeat(self) -> None:
        """Does nothing. See `PeerWithHeartbeat`."""

    def _ensure_native(self) -> "Steps[_native.Peer]":
        client = self.client._server
        if not client.is_ready():
            yield client.prepare()
        if self._native is None:
            resumed = None if self._id is None else (self._id, self.acquired)
            self._native = _native.Peer(
                client,
                self.expiration_time.total_seconds(),
                self._interval,
                self._labels,
                _process_labels(os.getpid()) if self._uses_default_labels() else {},
                self._sends_heartbeats,
                resumed,
            )
            _peers[id(self)] = self
            forward_log()
        return self._native

    def _uses_default_labels(self) -> bool:
        return self._default_labels and os.environ.get("THROTTLE_LABELS") != "0"

    def _acquire(
        self, semaphore: str, count: int, timeout: Optional[float]
    ) -> "Steps[_native.Lock]":
        check_count(count)
        native = yield from self._ensure_native()
        self._pending_requests += 1
        try:
            lock: _native.Lock = yield native.lock(semaphore, count, timeout)
        finally:
            self._pending_requests -= 1
        try:
            self._locks[semaphore] = lock
            self.acquired[semaphore] = count
            self.fencing_tokens[semaphore] = lock.fencing_token
        except BaseException:
            # An interrupt right after the grant.
            self._release_in_background(semaphore, lock)
            raise
        return lock

    def _forget_lock(self, semaphore: str, lock: "Optional[_native.Lock]") -> Optional[int]:
        """Forgets a lock and returns its count; `None` if another lock on the semaphore is held by now."""
        if self._locks.get(semaphore) is not lock:
            return None
        self._locks.pop(semaphore, None)
        self.fencing_tokens.pop(semaphore, None)
        return self.acquired.pop(semaphore, None)

    def _release(
        self,
        semaphore: str,
        lock: "Optional[_native.Lock]",
        is_last: bool,
        timeout: float,
    ) -> "Steps[Optional[Tuple[str, str]]]":
        """Releases a lock, and returns its loss, if it was lost.

        With `is_last` this also removes a peer that has no other lock.
        """
        count = self._forget_lock(semaphore, lock)
        if count is None:
            return None
        if lock is None:
            # The lock was taken over with the peer. The request makes the native lock for it.
            native = yield from self._ensure_native()
            taken: _native.Lock = yield native.lock(semaphore, count, timeout)
            lock = taken
        is_last = is_last and not self.acquired and not self._pending_requests
        if is_last:
            self._native = self._id = None
        lost: Optional[Tuple[str, str]] = yield lock.release(is_last, timeout)
        if lost is not None and lost[0] == UNCONFIRMED:
            global last_unconfirmed_at
            last_unconfirmed_at = time.monotonic()
        return lost

    def _release_in_background(self, semaphore: str, lock: "Optional[_native.Lock]") -> None:
        """Releases the lock, if there is one, and closes an idle peer, without waiting."""
        if lock is not None:
            self._forget_lock(semaphore, lock)
            # The release may have begun already, or the lock may belong to the parent of this process.
            with suppress(RuntimeError):
                lock.release(False, 0.0)
        if not self.acquired and not self._pending_requests:
            native, self._native, self._id = self._native, None, None
            if native is not None:
                native.close(0.0)

    def _renew(self) -> "Steps[None]":
        native = yield from self._ensure_native()
        lost = yield native.renew()
        if lost is not None:
            reason, sentence = lost
            raise LockLost(f"the peer of {self.client.base_url} is lost: {sentence}", reason)

    def _undo_acquire(
        self, semaphore: str, lock: "Optional[_native.Lock]", timeout: float
    ) -> "Steps[None]":
        """Releases the lock, if it was granted, and closes an idle peer."""
        if lock is not None:
            yield from self._release(semaphore, lock, True, timeout)
        if not self.acquired and not self._pending_requests:
            yield from self._close(timeout)

    def _close(self, timeout: float) -> "Steps[None]":
        native, self._native, self._id = self._native, None, None
        # Keeps the locks until the peer is closed: dropped before, each would be released by its own request.
        locks, self._locks = self._locks, {}
        self.acquired.clear()
        self.fencing_tokens.clear()
        if native is not None:
            yield native.close(timeout)
        del locks


class PeerWithHeartbeat(Peer):
    """A peer whose heartbeats a native thread sends.

    It sends more than three within `expiration_time`, or one every `heartbeat_interval` if that is shorter.
    `lock` starts the heartbeats. A program that uses the methods of the peer calls `start_heartbeat`.
    """

    def __init__(
        self,
        client: ClientBase,
        id: Optional[int] = None,
        acquired: Optional[Mapping[str, int]] = None,
        expiration_time: Optional[Span] = None,
        heartbeat_interval: Optional[Span] = None,
        *,
        labels: Optional[Mapping[str, str]] = None,
        default_labels: bool = True,
    ):
        super().__init__(
            client, id, acquired, expiration_time, labels=labels, default_labels=default_labels
        )
        if heartbeat_interval is not None:
            interval = timespan(heartbeat_interval, "heartbeat_interval")
            self._interval = interval.total_seconds()

    def start_heartbeat(self) -> None:
        """Starts the heartbeats. The first one restores the peer with its locks."""
        run(self._set_heartbeats(True))

    def stop_heartbeat(self) -> None:
        """Stops the heartbeats. The peer stays at the server until its lease ends."""
        run(self._set_heartbeats(False))

    def _set_heartbeats(self, sends_heartbeats: bool) -> "Steps[None]":
        if self._sends_heartbeats == sends_heartbeats:
            return
        self._sends_heartbeats = sends_heartbeats
        native, self._native = self._native, None
        if native is not None:
            self._id = native.id
            # Keeps the locks until the heartbeats have stopped: dropped before, each would be released.
            locks, self._locks = self._locks, {}
            yield native.stop_heartbeat()
            del locks
        if self.acquired:
            yield from self._ensure_native()


class Loss:
    """The loss of locks, with the methods of a `threading.Event`. It can also be awaited."""

    def __init__(self, native: "Optional[Union[_native.Lock, _native.Peer]]"):
        self._native = native

    def is_set(self) -> bool:
        """Whether the locks are lost, so that other peers may have been granted them."""
        return self._lost() is not None

    def wait(self, timeout: Optional[Span] = None) -> bool:
        """Waits for the loss, at most `timeout`, and returns whether the locks are lost."""
        limit = None if timeout is None else seconds(timeout, "timeout")
        if self._native is None:
            return Event().wait(limit)
        lost = wait(self._native.wait_lost(limit))
        return lost is not None and lost[0] != LostReason.CLOSED

    def __await__(self) -> Generator[object, None, Optional[LostReason]]:
        return self._await().__await__()

    async def _await(self) -> Optional[LostReason]:
        if self._native is None:
            return None
        lost = await wait_async(self._native.wait_lost(None))
        return None if lost is None else LostReason(lost[0])

    @property
    def reason(self) -> Optional[LostReason]:
        """The reason of the loss, if the locks are lost."""
        lost = self._lost()
        return None if lost is None else LostReason(lost[0])

    @property
    def detail(self) -> Optional[str]:
        """The reason of the loss as a sentence, if the locks are lost."""
        lost = self._lost()
        return None if lost is None else lost[1]

    @property
    def time_left(self) -> float:
        """The number of seconds for which the locks are held for sure, even if all further heartbeats fail."""
        return 0.0 if self._native is None else self._native.time_left()

    def _lost(self) -> Optional[Tuple[str, str]]:
        return None if self._native is None else self._native.lost()

    def __bool__(self) -> bool:
        return self.is_set()

    def __repr__(self) -> str:
        return f"Loss({self.reason!r})"


@lru_cache(maxsize=1)
def _process_labels(process: int) -> Dict[str, str]:
    labels = _native.process_labels()
    script = os.path.basename(sys.argv[0]) if sys.argv else ""
    if script not in ("", "-c", "-m"):
        labels["script"] = script
    return labels

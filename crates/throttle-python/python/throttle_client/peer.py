"""Peers: sessions with a server, and what they hold."""

import os
import sys
import time
import weakref
from datetime import timedelta
from threading import Event
from typing import Callable, Dict, List, Optional, Type, TypeVar

from . import _native
from .client import Client, Span, Unreachable, seconds

# A clock that goes on while the machine sleeps, where there is one.
_CLOCK: Optional[int] = getattr(time, "CLOCK_BOOTTIME", None)
if sys.platform == "darwin":
    _CLOCK = time.CLOCK_MONOTONIC


def _now() -> float:
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


_P = TypeVar("_P", bound="Peer")


class Peer:
    """A peer without a heartbeat: it lives as long as somebody asks for something in time.

    It remembers what it holds, so that it can tell a server that forgot it.
    """

    def __init__(
        self,
        client: Client,
        id: Optional[int] = None,
        acquired: Optional[Dict[str, int]] = None,
        expiration_time: Optional[timedelta] = None,
    ):
        self.expiration_time = expiration_time or timedelta(minutes=5)
        self.client = client
        self._sent = _now()
        self.id = client.new_peer(expires_in=self.expiration_time) if id is None else id
        self.acquired: Dict[str, int] = {} if acquired is None else acquired
        #: The fencing token of each lock, by the name of the semaphore.
        self.fencing_tokens: Dict[str, Optional[int]] = {}

    @classmethod
    def from_server_url(cls: Type[_P], baseurl: str) -> _P:
        """A peer of the server at a URL."""
        return cls(client=Client(base_url=baseurl))

    def acquire(
        self, semaphore: str, count: int = 1, block_for: Optional[Span] = None
    ) -> bool:
        """Asks for a lock, and returns whether it is held. `block_for` lets the answer wait for it."""
        sent = _now()
        held, token = self.client._acquire(
            self.id,
            semaphore,
            count=count,
            block_for=block_for,
            expires_in=self.expiration_time,
        )
        self._sent = sent
        if held:
            self.acquired[semaphore] = count
            self.fencing_tokens[semaphore] = token
        return held

    def restore(self) -> None:
        """Tells a server that forgot this peer what it holds."""
        sent = _now()
        self.client.restore(self.id, self.acquired, expires_in=self.expiration_time)
        self._sent = sent

    def release(self, semaphore: str) -> None:
        """Releases a lock, or leaves the queue for it."""
        self.client.release_lock(self.id, semaphore)

    def heartbeat(self) -> None:
        """Shows a sign of life."""
        sent = _now()
        self.client.heartbeat(self.id, expires_in=self.expiration_time)
        self._sent = sent

    def has_acquired(self) -> bool:
        """Whether it holds anything."""
        return len(self.acquired) != 0

    def remove_from_server(self) -> None:
        """Removes the peer from the server, with all that it holds."""
        self.client.release(self.id)

    def start_heartbeat(self) -> None:
        """Nothing here; see `PeerWithHeartbeat`."""

    def stop_heartbeat(self) -> None:
        """Nothing here; see `PeerWithHeartbeat`."""

    @property
    def lost(self) -> "Loss":
        """Whether everything that it held is lost. Without a heartbeat nobody knows."""
        return Loss(None)


class PeerWithHeartbeat(Peer):
    """A peer that shows signs of life from a thread of its own, outside of the interpreter.

    They are shown at least every third of `expiration_time`, or every `heartbeat_interval` if that is
    shorter, as long as the heartbeat is started and something is held.
    """

    def __init__(
        self,
        client: Client,
        id: Optional[int] = None,
        acquired: Optional[Dict[str, int]] = None,
        expiration_time: Optional[timedelta] = None,
        heartbeat_interval: Optional[timedelta] = None,
    ):
        self._keeper: Optional[_native.Keeper] = None
        self._on_lost: List[Callable[[str], None]] = []
        self._interval = None if heartbeat_interval is None else seconds(heartbeat_interval)
        super().__init__(client, id, acquired, expiration_time)
        if id is not None:
            # When it last gave a sign of life nobody knows.
            self._sent = _now()

    def start_heartbeat(self) -> None:
        """Begins to show signs of life if anything is held, and knows from now on what that is."""
        if not self.has_acquired():
            return
        if self._keeper is not None and self._keeper.lost() is None:
            self._keeper.hold(self.acquired)
            return
        self._keeper = _native.Keeper(
            self.client.base_url,
            self.id,
            self.acquired,
            self.expiration_time.total_seconds(),
            self._interval,
            _now() - self._sent,
            _Announce(self),
        )
        _beating.add(self)

    def stop_heartbeat(self) -> None:
        """Ends the signs of life, and returns when none is on its way any more."""
        keeper, self._keeper = self._keeper, None
        _beating.discard(self)
        if keeper is not None:
            keeper.stop()

    @property
    def lost(self) -> "Loss":
        """Whether everything that it held is lost: an object with `is_set`, `wait` and `reason`."""
        return Loss(self._keeper)


class Loss:
    """The loss of locks, to be asked and waited for like a `threading.Event`."""

    def __init__(self, keeper: Optional["_native.Keeper"]):
        self._keeper = keeper

    def is_set(self) -> bool:
        """Whether the locks are lost."""
        return self.reason is not None

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits for the loss, at most `timeout` seconds, and returns whether it has come."""
        if self._keeper is not None:
            return self._keeper.wait_lost(timeout) is not None
        return Event().wait(timeout)

    @property
    def reason(self) -> Optional[str]:
        """Why the locks are lost, if they are."""
        return None if self._keeper is None else self._keeper.lost()

    @property
    def time_left(self) -> float:
        """For how many seconds the locks are certain even if nobody shows a sign of life."""
        return 0.0 if self._keeper is None else self._keeper.time_left()

    def __bool__(self) -> bool:
        return self.is_set()

    def __repr__(self) -> str:
        return f"Loss({self.reason!r})"


class _Announce:
    """Tells all who want to hear it that a peer is lost, without keeping the peer."""

    def __init__(self, peer: PeerWithHeartbeat):
        self._callbacks = peer._on_lost

    def __call__(self, reason: str) -> None:
        for callback in list(self._callbacks):
            callback(reason)


# Peers with a heartbeat that was not stopped.
_beating: "weakref.WeakSet[PeerWithHeartbeat]" = weakref.WeakSet()


def _farewell() -> None:
    """When the interpreter ends, others need not wait for the leases to end."""
    for peer in list(_beating):
        peer.stop_heartbeat()
        try:
            peer.client._native.remove_peer(peer.id).wait(_FAREWELL)
        except (OSError, TimeoutError, Unreachable, ValueError):
            pass
    # From now on no thread of ours wants anything of the interpreter.
    _native.close()


_FAREWELL = 2.0

if hasattr(os, "register_at_fork"):
    # What a child inherits belongs to its parent.
    os.register_at_fork(after_in_child=_native.after_fork)
    os.register_at_fork(after_in_child=_beating.clear)

"""Locks for threads and greenlets."""

# Modules of this package use private names of each other.
# pyright: reportPrivateUsage=false

import functools
import os
import threading
from types import TracebackType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type, TypeVar, Union, cast

from ._blocking import run
from ._callback_thread import callback_thread
from ._lock_base import (
    HeldLock,
    LockBase,
    OnLost,
    is_coroutine_function,
    reject_coroutine,
    reject_generators,
)
from .client import ClientBase, Pem, Span, Urls
from .errors import Refused, Timeout, Unreachable
from .peer import Peer, PeerWithHeartbeat

__all__ = ["Lock", "clear_peers", "get_local_peer", "lock", "set_local_peer"]

_F = TypeVar("_F", bound=Callable[..., Any])

# The peers of each thread, by the URL of their server. The locks of one peer are nested, so threads cannot
# share a peer. The `threading.local` is made at the first lock, because gevent and eventlet may replace
# `threading` until then.
_local: Any = None


def _peers() -> Dict[str, Peer]:
    global _local
    if _local is None:
        _local = threading.local()
    if getattr(_local, "process", None) != os.getpid():
        # A forked child has inherited the peers of its parent, and needs its own.
        clear_peers()
    peers: Dict[str, Peer] = _local.peers
    return peers


def clear_peers() -> None:
    """Forgets the peers of this thread."""
    global _local
    if _local is None:
        _local = threading.local()
    _local.process = os.getpid()
    _local.peers = {}


def get_local_peer(url: str) -> Peer:
    """The peer of this thread for a server. Makes one if there is none."""
    peers = _peers()
    if url not in peers:
        peers[url] = PeerWithHeartbeat.from_server_url(url)
    return peers[url]


def set_local_peer(url: str, peer: Peer) -> Optional[Peer]:
    """Sets the peer of this thread for a server, and returns the previous one.

    Use it to choose the lease, the heartbeat interval or the id of the peer.
    """
    peers = _peers()
    old = peers.get(url)
    peers[url] = peer
    return old


class Lock(LockBase):
    """A lock on a semaphore, held within a `with` block or while a decorated function runs.

    Threads can share the object: each holds a lock of its own while it is within a block.
    """

    def __enter__(self) -> Peer:
        return self._acquire_lock(self._timeout).peer

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        # One `try` around everything: an interrupt may be raised at any call.
        held = None
        try:
            held = self._require_held()
            run(self._release_steps(held, error))
        except BaseException:
            held = held or self._find_held()
            if held is not None:
                self._release_in_background(held)
                self._forget_idle_peer(held.peer)
            raise
        self._forget_idle_peer(held.peer)

    def acquire(self, blocking: bool = True, timeout: Span = -1) -> bool:
        """Waits for the lock, and returns whether it is held, as `threading.Lock` does.

        If `blocking` is false, it does not wait. `timeout` replaces the timeout of the lock.
        """
        try:
            self._acquire_lock(self._timeout_of(blocking, timeout))
        except Unreachable:
            raise
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Releases the lock. Raises `LockLost` if it was lost before."""
        self.__exit__(None, None, None)

    def extend(self) -> float:
        """Sends a heartbeat now, and returns `time_left`.

        Heartbeats are sent anyway. Use this if the next step needs a full lease. Raises `LockLost` if the lock
        is lost, at the latest at the end of the lease if the server does not answer.
        """
        held = self._require_held()
        run(held.peer._renew())
        return held.lock.time_left()

    def __call__(self, function: _F) -> _F:
        """Decorates a function, so that it holds the lock while it runs.

        A coroutine function is decorated with a lock of `throttle_client.aio`.
        """
        reject_generators(function)
        if is_coroutine_function(function):
            from . import aio

            return aio.Lock(self.client, self.semaphore, **self._options())(function)

        @functools.wraps(function)
        def holding(*args: Any, **kwargs: Any) -> Any:
            with self:
                result = function(*args, **kwargs)
                reject_coroutine(result)
                return result

        return cast(_F, holding)

    def _owner(self) -> object:
        return threading.get_ident()

    def _acquire_lock(self, timeout: Optional[float]) -> HeldLock:
        peers = _peers()
        peer = peers.get(self.server_url)
        if peer is None:
            # Nested locks share the peer of the outermost one.
            peer = peers[self.server_url] = self._new_peer(None)
        if self.semaphore in peer.acquired:
            error = Refused(
                f"{self.semaphore!r} is held by this thread already: a lock cannot be entered again",
                "already_held",
            )
            self._add_context(error)
            raise error
        try:
            return run(self._acquire_steps(peer, timeout))
        except BaseException:
            self._forget_idle_peer(peer)
            raise

    def _forget_idle_peer(self, peer: Peer) -> None:
        """Forgets a peer that holds nothing: it is closed, and the next lock needs a new one."""
        peers = _peers()
        # A signal handler can take and release a lock while this thread waits for another one.
        is_used = peer.acquired or peer._pending_requests
        if not is_used and peers.get(self.server_url) is peer:
            del peers[self.server_url]

    def _watch_loss(self, held: HeldLock) -> None:
        on_lost = self._on_lost
        if on_lost is None:
            return

        def notify(lost: Optional[Tuple[str, str]]) -> None:
            reason = self._reason_to_report(lost)
            if reason is not None:
                on_lost(reason)

        operation = held.lock.wait_lost(None)
        callback_thread().watch(operation, notify)
        held.stop_watching = operation.cancel


def lock(
    server_url: Union[Urls, ClientBase, None],
    semaphore: str,
    count: int = 1,
    timeout: Optional[Span] = None,
    on_lost: Optional[OnLost] = None,
    *,
    expiration_time: Optional[Span] = None,
    hold_at_least: Optional[Span] = None,
    labels: Optional[Mapping[str, str]] = None,
    default_labels: bool = True,
    headers: Optional[Mapping[str, str]] = None,
    token: Optional[str] = None,
    ca: Optional[Pem] = None,
    client_cert: Optional[Union[Pem, Tuple[Pem, Pem]]] = None,
) -> Lock:
    """A lock on a semaphore that is held within a `with` block. `as` gets the peer that holds it.

    * `server_url`: a URL, several of them, or a `Client`. `None`: the environment variable `THROTTLE_URL`.
    * `count`: the count to lock.
    * `timeout`: how long to wait for the lock, as a `timedelta` or a number of seconds; 0 does not wait. Then
      `Timeout` is raised if the lock was not granted, `Unreachable` if the server did not answer, or
      `NoAnswer`, which is both. Default: no limit.
    * `on_lost`: called with the `LostReason` if the lock is lost, in another thread.
    * `expiration_time`: the length of the lease. If this program dies, others wait that long; if the server
      is away for longer, the lock is lost. Default: five minutes.
    * `hold_at_least`: holds the lock at least this long, even if the block ends sooner. Jobs that several
      machines start at nearly the same time then run only once.
    * `labels`, `default_labels`: what the server shows about the holder of the lock, as for `Peer`.
    * `headers`, `token`, `ca`, `client_cert`: as for `Client`.

    A lock within another one of the same thread and server uses the peer of the outer lock, with its lease,
    labels and credentials.

    >>> guard = lock("http://localhost:8000", "A")
    >>> with guard:  # doctest: +SKIP
    ...     write(guard.fencing_token)
    """
    return Lock(
        server_url,
        semaphore,
        count,
        timeout,
        on_lost,
        expiration_time=expiration_time,
        hold_at_least=hold_at_least,
        labels=labels,
        default_labels=default_labels,
        headers=headers,
        token=token,
        ca=ca,
        client_cert=client_cert,
    )

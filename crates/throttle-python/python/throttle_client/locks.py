"""Locks for threads, and for greenlets."""

# What begins with an underscore is the business of this package.
# pyright: reportPrivateUsage=false

import functools
import os
import threading
from types import TracebackType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type, TypeVar, Union, cast

from ._blocking import run
from ._dispatcher import dispatcher
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

# The peers of each thread, by the URL of their server: one for each thread, because locks are nested within
# a peer. Made when it is needed, for by then it is known whether threads are greenlets.
_local: Any = None


def _peers() -> Dict[str, Peer]:
    global _local
    if _local is None:
        _local = threading.local()
    if getattr(_local, "process", None) != os.getpid():
        # A child has inherited the peers of its parent, and must have its own.
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


class Lock(LockBase):
    """A lock on a semaphore, held within a `with` block, or while a function it decorates runs.

    Threads can share it: each of them has a lock of its own while it is within a block.
    """

    def __enter__(self) -> Peer:
        return self._acquire_lock(self._timeout).peer

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        # All in one, for an interrupt may come at each call.
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

        Without `blocking` it does not wait. `timeout` takes the place of that of the guard.
        """
        try:
            self._acquire_lock(self._timeout_of(blocking, timeout))
        except Unreachable:
            raise
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Gives the lock back. Raises `LockLost` if it was lost before."""
        self.__exit__(None, None, None)

    def extend(self) -> float:
        """Sends a heartbeat now, and returns for how many seconds the lock is certain.

        The heartbeat makes this unnecessary, unless a certain time has to be left. Raises `LockLost`, at the
        end of the lease if the server does not answer.
        """
        held = self._require_held()
        run(held.peer._renew())
        return held.lock.time_left()

    def __call__(self, function: _F) -> _F:
        """Decorates a function, which holds the lock while it runs.

        A coroutine function holds a lock as that of `throttle_client.aio`.
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
        """A peer that holds nothing is gone; the next lock has another one."""
        peers = _peers()
        # The handler of a signal may have a lock while this thread asks for another one.
        is_used = peer.acquired or peer._pending_requests
        if not is_used and peers.get(self.server_url) is peer:
            del peers[self.server_url]

    def _watch_loss(self, held: HeldLock) -> None:
        on_lost = self._on_lost
        if on_lost is None:
            return

        def tell(lost: Optional[Tuple[str, str]]) -> None:
            reason = self._reason_to_report(lost)
            if reason is not None:
                on_lost(reason)

        operation = held.lock.wait_lost(None)
        dispatcher().watch(operation, tell)
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
    """A lock on a semaphore, to be held within a `with` block, which gets the peer that holds it.

    * `server_url`: where the server is: a URL, several of them, or a `Client`. `None`: where the environment
      variable `THROTTLE_URL` says.
    * `count`: how much of the semaphore.
    * `timeout`: raises `Timeout` if the lock is not free within this time, a `timedelta` or a number of
      seconds, and `Unreachable` (or `NoAnswer`, which is both) if the server does not answer; 0 does not
      wait at all. Without it, it waits as long as it takes.
    * `on_lost`: is called with the `LostReason`, from another thread, should the lock be lost.
    * `expiration_time`: the lease, which is how long others wait if this program dies, and how long the
      server may be away. Default: five minutes.
    * `hold_at_least`: keeps the lock for this time at least, also if the block ends sooner, so that jobs that
      start at nearly the same time on several machines run once.
    * `labels`, `default_labels`: what the server tells about who holds the lock, as for `Peer`.
    * `headers`, `token`, `ca`, `client_cert`: as for `Client`.

    Locks that are nested in another one of the same thread and server have the peer of that one, with its
    lease, labels and credentials.

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

"""Locks for programs with asyncio.

>>> from throttle_client import aio
>>> async def work():
...     async with aio.lock("http://localhost:8000", "A") as guard:
...         print(guard.fencing_token)

Heartbeats continue while the event loop is blocked. If a waiting task is cancelled, it leaves the queue. Each
lock has a peer of its own unless `peer` names one; the locks of one peer are nested.
"""

# A cancelled task cancels its native operation in `_event_loop`; what an acquire has to undo is in `_lock_base`.
# Modules of this package use private names of each other.
# pyright: reportPrivateUsage=false

import asyncio
import functools
import sys
import weakref
from datetime import timedelta
from types import TracebackType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type, TypeVar, Union, cast

from ._event_loop import run_async, start, wait_async
from ._lock_base import HeldLock, LockBase, OnLost, is_coroutine_function, reject_generators
from .client import ClientBase, Pem, Span, Urls, seconds
from .errors import LockLost, Refused, Timeout, Unreachable
from .peer import PeerWithHeartbeat

__all__ = ["Client", "Lock", "lock"]

_F = TypeVar("_F", bound=Callable[..., Any])

# The default length of a lease.
_LEASE = timedelta(minutes=1)


class Client(ClientBase):
    """`throttle_client.Client` for asyncio: the same methods, as coroutines."""

    async def new_peer(self, expires_in: Span) -> int:
        """Registers a new peer and returns its id. The peer expires `expires_in` after its last heartbeat."""
        return await wait_async(self._server.new_peer(seconds(expires_in, "expires_in")))

    async def acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Span] = None,
        block_for: Optional[Span] = None,
    ) -> bool:
        """Requests a lock, and returns whether it is held. If not, it is pending in the queue."""
        operation = self._acquire(peer_id, semaphore, count, expires_in, block_for)
        return (await wait_async(operation))[0]

    async def restore(self, peer_id: int, acquired: Dict[str, int], expires_in: Span) -> None:
        """Restores a peer with its locks at a server that does not know it any more."""
        lease = seconds(expires_in, "expires_in")
        await wait_async(self._server.restore(peer_id, acquired, lease))

    async def remainder(self, semaphore: str) -> int:
        """The free count of a semaphore. Negative if restored peers hold more than the maximum."""
        return await wait_async(self._server.remainder(semaphore))

    async def is_acquired(self, peer_id: int) -> bool:
        """Whether the peer has no pending lock."""
        return await wait_async(self._server.is_acquired(peer_id))

    async def is_held(self, semaphore: str, token: int) -> bool:
        """Whether the lock with this fencing token is held at the moment of the answer."""
        return await wait_async(self._is_held(semaphore, token))

    async def release(self, peer_id: int) -> None:
        """Removes the peer with all its locks, held and pending."""
        await wait_async(self._server.remove_peer(peer_id))

    async def release_lock(self, peer_id: int, semaphore: str) -> None:
        """Releases the lock of the peer on this semaphore, held or pending."""
        await wait_async(self._server.release(peer_id, semaphore))

    async def heartbeat(self, peer_id: int, expires_in: Span) -> None:
        """Renews the lease of the peer."""
        await wait_async(self._server.heartbeat(peer_id, seconds(expires_in, "expires_in")))


class Lock(LockBase):
    """A lock on a semaphore, held within an `async with` block or while a decorated function runs.

    Tasks can share the object: each holds a lock of its own while it is within a block.
    """

    _owners = "tasks"

    def __init__(
        self,
        server_url: Union[Urls, ClientBase, None],
        semaphore: str,
        count: int = 1,
        timeout: Optional[Span] = None,
        on_lost: Optional[OnLost] = None,
        expiration_time: Optional[Span] = None,
        peer: Optional[PeerWithHeartbeat] = None,
        *,
        cancel_on_lost: bool = False,
        **options: Any,
    ):
        super().__init__(
            server_url, semaphore, count, timeout, on_lost, expiration_time=expiration_time, **options
        )
        self._shared_peer = peer
        self._cancel_on_lost = cancel_on_lost

    async def __aenter__(self) -> "Lock":
        await self._acquire_lock(self._timeout)
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self._release_lock(error)

    async def acquire(self, blocking: bool = True, timeout: Span = -1) -> bool:
        """Waits for the lock, and returns whether it is held.

        If `blocking` is false, it does not wait. `timeout` replaces the timeout of the lock.
        """
        try:
            await self._acquire_lock(self._timeout_of(blocking, timeout))
        except Unreachable:
            raise
        except Timeout:
            return False
        return True

    async def release(self) -> None:
        """Releases the lock. Raises `LockLost` if it was lost before."""
        await self._release_lock(None)

    async def extend(self) -> float:
        """Sends a heartbeat now, and returns `time_left`.

        Heartbeats are sent anyway. Use this if the next step needs a full lease. Raises `LockLost` if the lock
        is lost, at the latest at the end of the lease if the server does not answer.
        """
        held = self._require_held()
        await run_async(held.peer._renew())
        return held.lock.time_left()

    def __call__(self, function: _F) -> _F:
        """Decorates a coroutine function, so that it holds the lock while it runs."""
        reject_generators(function)
        if not is_coroutine_function(function):
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(f"{name} is no coroutine function: `throttle_client.lock` is for those")

        @functools.wraps(function)
        async def holding(*args: Any, **kwargs: Any) -> Any:
            async with self:
                return await function(*args, **kwargs)

        return cast(_F, holding)

    def _owner(self) -> object:
        task = _current_task()
        # A weak reference: a task that nothing refers to is collected, which releases its lock.
        return None if task is None else weakref.ref(task)

    async def _acquire_lock(self, timeout: Optional[float]) -> HeldLock:
        peer = self._shared_peer or self._new_peer(_LEASE)
        if self.semaphore in peer.acquired:
            error = Refused(
                f"{self.semaphore!r} is held by this peer already: a lock cannot be entered again",
                "already_held",
            )
            self._add_context(error)
            raise error
        return await run_async(self._acquire_steps(peer, timeout))

    async def _release_lock(self, error: Optional[BaseException]) -> None:
        held = self._require_held()
        if _current_task() is None:
            # The coroutine is closed without a running loop, so nothing can be awaited.
            self._release_in_background(held)
            return
        is_alone = held.uncancel is not None and held.uncancel()
        is_ours = is_alone and isinstance(error, asyncio.CancelledError)
        try:
            # The release continues even if the task is cancelled meanwhile.
            await run_async(self._release_steps(held, None if is_ours else error), cancel=False)
        except LockLost as lost:
            if not is_ours:
                raise
            raise lost from error

    def _watch_loss(self, held: HeldLock) -> None:
        if self._on_lost is None and not self._cancel_on_lost:
            return
        task = asyncio.current_task()
        operation = held.lock.wait_lost(None)

        def notify(_: "asyncio.Future[None]") -> None:
            try:
                reason = self._reason_to_report(operation.result())
            except RuntimeError:
                # The operation was cancelled because the lock is released.
                return
            if reason is None or held.is_released:
                return
            if self._cancel_on_lost and task is not None:
                held.uncancel = _cancel(task)
            if self._on_lost is not None:
                self._on_lost(reason)

        start(operation).add_done_callback(notify)
        held.stop_watching = operation.cancel


def _current_task() -> "Optional[asyncio.Task[Any]]":
    try:
        return asyncio.current_task()
    except RuntimeError:
        # No event loop is running.
        return None


def _cancel(task: "asyncio.Task[Any]") -> Callable[[], bool]:
    """Cancels a task. The function that it returns is `HeldLock.uncancel`."""
    if sys.version_info < (3, 11):
        task.cancel()
        return lambda: True
    others = task.cancelling()
    task.cancel()
    return lambda: task.uncancel() <= others


def lock(
    server_url: Union[Urls, ClientBase, None],
    semaphore: str,
    count: int = 1,
    timeout: Optional[Span] = None,
    on_lost: Optional[OnLost] = None,
    expiration_time: Optional[Span] = None,
    peer: Optional[PeerWithHeartbeat] = None,
    *,
    cancel_on_lost: bool = False,
    hold_at_least: Optional[Span] = None,
    labels: Optional[Mapping[str, str]] = None,
    default_labels: bool = True,
    headers: Optional[Mapping[str, str]] = None,
    token: Optional[str] = None,
    ca: Optional[Pem] = None,
    client_cert: Optional[Union[Pem, Tuple[Pem, Pem]]] = None,
) -> Lock:
    """A lock on a semaphore that is held within an `async with` block.

    * `on_lost`: called with the `LostReason` if the lock is lost, in the event loop.
    * `expiration_time`: the length of the lease. Default: one minute.
    * `peer`: the peer of the lock; it may hold other locks already. Default: a new one.
    * `cancel_on_lost`: cancels the task within the block if the lock is lost. The block then raises
      `LockLost`.

    The other arguments are those of `throttle_client.lock`.
    """
    return Lock(
        server_url,
        semaphore,
        count,
        timeout,
        on_lost,
        expiration_time,
        peer,
        cancel_on_lost=cancel_on_lost,
        hold_at_least=hold_at_least,
        labels=labels,
        default_labels=default_labels,
        headers=headers,
        token=token,
        ca=ca,
        client_cert=client_cert,
    )

"""Locks for programs with asyncio.

>>> from throttle_client import aio
>>> async def work():
...     async with aio.lock("http://localhost:8000", "A") as guard:
...         print(guard.fencing_token)

The heartbeat goes on while the event loop is blocked. To cancel a task that waits takes it out of the
queue. Each lock has a peer of its own, unless one is handed in: within one peer locks are nested.
"""

# What begins with an underscore is the business of this package.
# pyright: reportPrivateUsage=false

import asyncio
import functools
import sys
import weakref
from datetime import timedelta
from types import TracebackType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type, TypeVar, Union, cast

from ._event_loop import begin, finish, run_async
from ._lock_base import HeldLock, LockBase, OnLost, is_coroutine_function, reject_generators
from .client import ClientBase, Pem, Span, Urls, seconds
from .errors import LockLost, Refused, Timeout, Unreachable
from .peer import PeerWithHeartbeat

__all__ = ["Client", "Lock", "lock"]

_F = TypeVar("_F", bound=Callable[..., Any])

# The lease of the peer that is made for a lock.
_LEASE = timedelta(minutes=1)


class Client(ClientBase):
    """`throttle_client.Client` for programs with asyncio: the same methods, to be awaited."""

    async def new_peer(self, expires_in: Span) -> int:
        """Registers a new peer and returns its id. It lives for `expires_in` without a heartbeat."""
        return await finish(self._server.new_peer(seconds(expires_in, "expires_in")))

    async def acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Span] = None,
        block_for: Optional[Span] = None,
    ) -> bool:
        """Asks for a lock, and returns whether it is held; if not, the peer stands in the queue."""
        operation = self._acquire(peer_id, semaphore, count, expires_in, block_for)
        return (await finish(operation))[0]

    async def restore(self, peer_id: int, acquired: Dict[str, int], expires_in: Span) -> None:
        """Tells a server that forgot the peer which locks it holds."""
        lease = seconds(expires_in, "expires_in")
        await finish(self._server.restore(peer_id, acquired, lease))

    async def remainder(self, semaphore: str) -> int:
        """What is free of a semaphore. Negative while more is held after restores."""
        return await finish(self._server.remainder(semaphore))

    async def is_acquired(self, peer_id: int) -> bool:
        """Whether the peer waits for nothing."""
        return await finish(self._server.is_acquired(peer_id))

    async def release(self, peer_id: int) -> None:
        """Removes the peer with all its locks, held and pending."""
        await finish(self._server.remove_peer(peer_id))

    async def release_lock(self, peer_id: int, semaphore: str) -> None:
        """Releases one lock of the peer, or takes it out of the queue."""
        await finish(self._server.release(peer_id, semaphore))

    async def heartbeat(self, peer_id: int, expires_in: Span) -> None:
        """Lets the lease of the peer begin anew."""
        await finish(self._server.heartbeat(peer_id, seconds(expires_in, "expires_in")))


class Lock(LockBase):
    """A lock on a semaphore, held within an `async with` block, or while a function it decorates runs.

    Tasks can share it: each of them has a lock of its own while it is within a block.
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

        Without `blocking` it does not wait. `timeout` takes the place of that of the guard.
        """
        try:
            await self._acquire_lock(self._timeout_of(blocking, timeout))
        except Unreachable:
            raise
        except Timeout:
            return False
        return True

    async def release(self) -> None:
        """Gives the lock back. Raises `LockLost` if it was lost before."""
        await self._release_lock(None)

    async def extend(self) -> float:
        """Sends a heartbeat now, and returns for how many seconds the lock is certain.

        The heartbeat makes this unnecessary, unless a certain time has to be left. Raises `LockLost`, at the
        end of the lease if the server does not answer.
        """
        held = self._require_held()
        await run_async(held.peer._renew())
        return held.lock.time_left()

    def __call__(self, function: _F) -> _F:
        """Decorates a coroutine function, which holds the lock while it runs."""
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
        # A task that nobody has any more shall end, and give the lock back.
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
            # The loop is closed, and the coroutine with it. Nothing can be awaited.
            self._release_in_background(held)
            return
        is_alone = held.uncancel is not None and held.uncancel()
        is_ours = is_alone and isinstance(error, asyncio.CancelledError)
        try:
            # It is given back also if the task is cancelled meanwhile.
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

        def tell(_: "asyncio.Future[None]") -> None:
            try:
                reason = self._reason_to_report(operation.result())
            except RuntimeError:
                # It was given up, for the lock is released.
                return
            if reason is None or held.is_released:
                return
            if self._cancel_on_lost and task is not None:
                held.uncancel = _cancel(task)
            if self._on_lost is not None:
                self._on_lost(reason)

        begin(operation).add_done_callback(tell)
        held.stop_watching = operation.cancel


def _current_task() -> "Optional[asyncio.Task[Any]]":
    try:
        return asyncio.current_task()
    except RuntimeError:
        # There is no loop.
        return None


def _cancel(task: "asyncio.Task[Any]") -> Callable[[], bool]:
    """Cancels a task. What is returned takes that back, and tells whether nobody else wants to cancel it."""
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
    """A lock on a semaphore, to be held within an `async with` block.

    * `on_lost`: is called with the `LostReason`, in the loop.
    * `expiration_time`: the lease of the peer that is made for the lock. Default: a minute.
    * `peer`: a peer that may hold other locks already.
    * `cancel_on_lost`: cancels the task within the block should the lock be lost. The block then raises
      `LockLost`.

    Everything else is as for `throttle_client.lock`.
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

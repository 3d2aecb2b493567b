"""Locks for programs with asyncio.

>>> from throttle_client import aio
>>> async def work():
...     async with aio.lock("http://localhost:8000", "A") as guard:
...         print(guard.fencing_token)

The heartbeat goes on while the event loop is blocked. To cancel a task that waits takes it out of the
queue. Each lock has a peer of its own, unless one is handed in: within one peer locks are nested.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Callable, Optional, Type, TypeVar, cast

from . import LockLost, Timeout, _native
from .client import Client, Refused, Span, UnknownPeer, Unreachable, seconds
from .peer import Loss, PeerWithHeartbeat, _now

__all__ = ["Lock", "lock"]

# How long one request waits for a lock. Then it is sent again.
_BLOCK_FOR = 5.0

# How long to wait for the server when something else is to be told already.
_FAREWELL = 5.0


class Lock:
    """A lock on a semaphore, held within an `async with` block."""

    def __init__(
        self,
        server_url: str,
        semaphore: str,
        count: int = 1,
        timeout: Optional[Span] = None,
        on_lost: Optional[Callable[[str], None]] = None,
        expiration_time: timedelta = timedelta(minutes=1),
        peer: Optional[PeerWithHeartbeat] = None,
    ):
        self.semaphore = semaphore
        self.count = count
        #: The peer that has the lock, as long as there is one.
        self.peer = peer
        self._is_own_peer = peer is None
        self._client = Client(server_url)
        self._timeout = None if timeout is None else seconds(timeout)
        self._on_lost = on_lost
        self._expiration_time = expiration_time
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._cancel: Optional[Callable[[str], None]] = None

    @property
    def lost(self) -> Loss:
        """Whether the lock is lost: an object with `is_set()` and `reason`."""
        return self._held_by().lost

    @property
    def fencing_token(self) -> Optional[int]:
        """A number that grows with each grant of the semaphore."""
        return self._held_by().fencing_tokens.get(self.semaphore)

    def is_held(self) -> bool:
        """Whether it is certain at this moment that nobody else has the lock."""
        return self.peer is not None and not self.peer.lost.is_set()

    def _held_by(self) -> PeerWithHeartbeat:
        if self.peer is None:
            raise RuntimeError("the lock is not held")
        return self.peer

    async def __aenter__(self) -> "Lock":
        peer = self.peer = self.peer or await self._open()
        if self.semaphore in peer.acquired:
            raise Refused(f"{self.semaphore!r} is held by this peer already", "already_held")
        try:
            await self._acquire(peer)
            self._subscribe(peer)
            await _in_thread(peer.start_heartbeat)
        except BaseException:
            # Shielded, for a task that is cancelled leaves the queue as well, or gives back what it
            # was granted in that moment.
            with suppress(asyncio.TimeoutError):
                await asyncio.shield(asyncio.wait_for(self._give_back(), _FAREWELL))
            raise
        return self

    async def _open(self) -> PeerWithHeartbeat:
        native = self._client._native
        sent = _now()
        opening = asyncio.ensure_future(
            _answer(native.new_peer(self._expiration_time.total_seconds()))
        )
        try:
            id = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The server may have made it already.
            with suppress(asyncio.TimeoutError, Unreachable, ValueError):
                id = await asyncio.wait_for(opening, _FAREWELL)
                await asyncio.wait_for(_answer(native.remove_peer(id)), _FAREWELL)
            raise
        peer = PeerWithHeartbeat(self._client, id, expiration_time=self._expiration_time)
        peer._sent = sent
        return peer

    async def _acquire(self, peer: PeerWithHeartbeat) -> None:
        start = monotonic()
        block_for = _BLOCK_FOR
        while True:
            if self._timeout is not None:
                block_for = max(0.0, min(self._timeout - (monotonic() - start), _BLOCK_FOR))
            sent = _now()
            lease = peer.expiration_time.total_seconds()
            native = self._client._native
            try:
                held, token = await _answer(
                    native.acquire(peer.id, self.semaphore, self.count, lease, block_for)
                )
            except UnknownPeer:
                if peer.lost.is_set():
                    raise LockLost(peer.lost.reason) from None
                await _answer(native.restore(peer.id, peer.acquired, lease))
                continue
            peer._sent = sent
            if held:
                peer.acquired[self.semaphore] = self.count
                peer.fencing_tokens[self.semaphore] = token
                return
            if self._timeout is not None and monotonic() - start >= self._timeout:
                raise Timeout(f"{self.semaphore!r} was not to be had in time")

    def _subscribe(self, peer: PeerWithHeartbeat) -> None:
        on_lost = self._on_lost
        if on_lost is None:
            return
        loop = asyncio.get_running_loop()

        def tell(reason: str) -> None:
            try:
                loop.call_soon_threadsafe(on_lost, reason)
            except RuntimeError:
                # The loop is closed, and nobody is there to be told.
                pass

        self._cancel = tell
        peer._on_lost.append(tell)

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        reason = self._held_by().lost.reason
        await asyncio.shield(self._give_back(reason is not None))
        if reason is not None and kind is None:
            raise LockLost(f"{self.semaphore!r}: {reason}")

    async def _give_back(self, is_lost: bool = False) -> None:
        peer = self._held_by()
        native = self._client._native
        was_held = peer.acquired.pop(self.semaphore, None) is not None
        peer.fencing_tokens.pop(self.semaphore, None)
        if self._cancel is not None:
            peer._on_lost.remove(self._cancel)
            self._cancel = None
        if self._is_own_peer:
            self.peer = None
        try:
            if not peer.acquired:
                await _in_thread(peer.stop_heartbeat)
            elif was_held and not is_lost:
                # The heartbeat must not bring back what is given back.
                await _in_thread(peer.start_heartbeat)
            # Of what is lost the server has nothing any more.
            if is_lost:
                return
            if self._is_own_peer:
                await _answer(native.remove_peer(peer.id))
            else:
                await _answer(native.release(peer.id, self.semaphore))
        except (Unreachable, UnknownPeer, ValueError):
            # It is free when the lease ends.
            pass


def lock(
    server_url: str,
    semaphore: str,
    count: int = 1,
    timeout: Optional[Span] = None,
    on_lost: Optional[Callable[[str], None]] = None,
    expiration_time: timedelta = timedelta(minutes=1),
    peer: Optional[PeerWithHeartbeat] = None,
) -> Lock:
    """A lock on a semaphore, to be held within an `async with` block.

    * `count`, `timeout`, `on_lost`: as for `throttle_client.lock`; `on_lost` is called in the loop.
    * `expiration_time`: the lease of the peer that is made for the lock.
    * `peer`: a peer that may hold other locks already.
    """
    return Lock(server_url, semaphore, count, timeout, on_lost, expiration_time, peer)


_T = TypeVar("_T")


async def _in_thread(function: Callable[[], None]) -> None:
    """Calls it in a thread, and returns when that has ended, also to a task that is cancelled."""
    call = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise


async def _answer(request: "_native.Request[_T]") -> _T:
    """Sends a request, and waits for the answer without blocking the loop."""
    loop = asyncio.get_running_loop()
    future: "asyncio.Future[_T]" = loop.create_future()

    def settle(answer: Optional[_T], error: Optional[BaseException]) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(cast(_T, answer))
        else:
            future.set_exception(error)

    def settle_from_thread(answer: Optional[_T], error: Optional[BaseException]) -> None:
        try:
            loop.call_soon_threadsafe(settle, answer, error)
        except RuntimeError:
            # The loop is closed, and nobody waits any more.
            pass

    request.begin(settle_from_thread)
    try:
        return await future
    except asyncio.CancelledError:
        request.cancel()
        raise

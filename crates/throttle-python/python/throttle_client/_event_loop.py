"""Waiting for native operations in an event loop of asyncio.

A cancelled task cancels its native operation here. What an acquire has to undo then is in `_lock_base`.
"""

import asyncio
import itertools
import weakref
from typing import Any, Dict, Optional, TypeVar

from . import _native
from ._steps import Steps
from ._wakeup import WakeupSocket

_T = TypeVar("_T")


async def wait_async(operation: "_native.Operation[_T]", cancel: bool = True) -> _T:
    """Awaits the end of the operation, and returns its result.

    If the task is cancelled, the operation is cancelled too, unless `cancel` is false.
    """
    try:
        await start(operation)
    except BaseException:
        # The task was cancelled, or its coroutine was closed.
        if cancel:
            operation.cancel()
        raise
    return operation.result()


async def run_async(steps: "Steps[_T]", cancel: bool = True) -> _T:
    """Performs the operations of `steps` in the running event loop.

    If the task is cancelled, `steps` may still yield operations that clean up.
    """
    try:
        operation = next(steps)
        while True:
            try:
                result = await wait_async(operation, cancel)
            except BaseException as error:
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def start(operation: "_native.Operation[Any]") -> "asyncio.Future[None]":
    """Starts an operation in the running event loop. The future is done when the operation has ended."""
    loop = asyncio.get_running_loop()
    reader = _readers.get(loop)
    if reader is None:
        reader = _readers[loop] = _Reader()
    return reader.start(loop, operation)


class _Futures(Dict[int, "asyncio.Future[None]"]):
    """The futures of the operations under way, by token.

    Only the loop keeps it, by its reader callback. The futures refer to the loop, so any other reference
    would keep a closed loop in memory.
    """


class _Reader:
    """Completes the futures of one event loop. It holds no reference to the loop."""

    def __init__(self) -> None:
        self._socket = WakeupSocket(timeout=0.0)
        self._futures: "weakref.ReferenceType[_Futures]" = weakref.ref(_Futures())
        self._tokens = itertools.count()
        self._task: Optional["asyncio.Task[None]"] = None

    def start(
        self, loop: asyncio.AbstractEventLoop, operation: "_native.Operation[Any]"
    ) -> "asyncio.Future[None]":
        token = next(self._tokens)
        future = loop.create_future()
        futures = self._futures()
        if not futures:
            futures = _Futures()
            self._futures = weakref.ref(futures)
            try:
                loop.add_reader(self._socket.socket, self._read, loop, futures)
            except NotImplementedError:
                # The proactor loop of Windows has no readers, but can receive.
                self._task = loop.create_task(self._keep_reading(loop, futures))
        futures[token] = future
        operation.start(self._socket.wakeup, token)
        return future

    def _read(self, loop: asyncio.AbstractEventLoop, futures: "_Futures") -> None:
        try:
            self._socket.socket.recv(4096)
        except (BlockingIOError, InterruptedError):
            pass
        self._complete(futures)
        if not futures:
            loop.remove_reader(self._socket.socket)

    async def _keep_reading(
        self, loop: asyncio.AbstractEventLoop, futures: "_Futures"
    ) -> None:
        while futures:
            await loop.sock_recv(self._socket.socket, 4096)
            self._complete(futures)

    def _complete(self, futures: "_Futures") -> None:
        for token in self._socket.wakeup.take_ended():
            future = futures.pop(token)
            if not future.done():
                future.set_result(None)


_readers: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Reader]" = (
    weakref.WeakKeyDictionary()
)


def forget_readers() -> None:
    """Drops the readers that a forked child has inherited."""
    _readers.clear()

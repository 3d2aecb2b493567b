"""Waiting for native operations by the interpreter's own means.

The end of an operation is told by a byte in a socket. A thread reads it by a blocking `recv`, which signals
interrupt and which gevent and eventlet replace by one of theirs; an event loop reads it as it reads any
socket. What takes several operations is a generator that yields them, so that it is written once for both.
"""

import asyncio
import itertools
import os
import socket
import sys
import threading
import weakref
from contextlib import suppress
from typing import Any, Dict, Generator, List, Optional, Tuple, TypeVar

from . import _native

_T = TypeVar("_T")

#: Something that takes operations: it yields each of them, and gets the result of each.
Steps = Generator["_native.Operation[Any]", Any, _T]

_FAMILY = getattr(socket, "AF_UNIX", socket.AF_INET)
if sys.platform == "win32":
    _FAMILY = socket.AF_INET

# Where signals do not interrupt a `recv`, it has to end from time to time.
_SLICE: Optional[float] = 0.1 if sys.platform == "win32" else None


# By identity.
_pairs: "weakref.WeakValueDictionary[int, Pair]" = weakref.WeakValueDictionary()


def abandon_pairs() -> None:
    """Leaves all sockets to the end of the process, so that none of them has to be closed before."""
    for reference in _pairs.valuerefs():
        pair = reference()
        if pair is not None:
            pair.socket.detach()


class Pair:
    """The end of a pair of sockets that Python reads, and the native one."""

    def __init__(self, timeout: Optional[float] = _SLICE) -> None:
        self.signal, number = _native.signal()
        # Whatever the class is by now: it may have been replaced.
        self.socket = socket.socket(_FAMILY, socket.SOCK_STREAM, 0, number)
        self.socket.settimeout(timeout)

        _pairs[id(self)] = self

    def __del__(self) -> None:
        reader = getattr(self, "socket", None)
        if reader is not None:
            reader.close()

    def read(self, size: int) -> None:
        """Blocks until there is a byte."""
        while True:
            # Before version 3.10 it is an exception of its own.
            with suppress(socket.timeout, TimeoutError):
                self.socket.recv(size)
                return


# The pairs of each thread that nobody uses at the moment. Made when it is needed, for by then it is known
# whether threads are greenlets.
_idle: Any = None


def _idle_pairs() -> List[Pair]:
    global _idle
    if _idle is None:
        _idle = threading.local()
    pairs: Optional[Tuple[int, List[Pair]]] = getattr(_idle, "pairs", None)
    if pairs is None or pairs[0] != os.getpid():
        # The other ends of those that a child inherits are with its parent.
        pairs = (os.getpid(), [])
        _idle.pairs = pairs
    return pairs[1]


def wait(operation: "_native.Operation[_T]") -> _T:
    """Blocks this thread, or greenlet, until the operation has ended; returns its result."""
    idle = _idle_pairs()
    # Whoever interrupts us, such as the handler of a signal, takes another one.
    pair = idle.pop() if idle else Pair()
    try:
        operation.start(pair.signal, 0)
        pair.read(1)
    except BaseException:
        operation.cancel()
        # The pair is not used any more, for there may be a byte in it.
        raise
    pair.signal.ended()
    idle.append(pair)
    return operation.result()


def run(steps: "Steps[_T]") -> _T:
    """Performs the operations of `steps`, and blocks meanwhile."""
    try:
        operation = next(steps)
        while True:
            try:
                result = wait(operation)
            except BaseException as error:
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except BaseException:
        # An interrupt between two operations is told by the end only.
        steps.close()
        raise


async def finish(operation: "_native.Operation[_T]", cancel: bool = True) -> _T:
    """Waits within an event loop until the operation has ended; returns its result.

    A task that is cancelled gives up the operation as well, unless `cancel` is false.
    """
    try:
        await begin(operation)
    except BaseException:
        # Cancelled, or closed.
        if cancel:
            operation.cancel()
        raise
    return operation.result()


async def run_async(steps: "Steps[_T]", cancel: bool = True) -> _T:
    """Performs the operations of `steps` within an event loop.

    If the task is cancelled, `steps` may have further operations to bring things in order.
    """
    try:
        operation = next(steps)
        while True:
            try:
                result = await finish(operation, cancel)
            except BaseException as error:
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def begin(operation: "_native.Operation[Any]") -> "asyncio.Future[None]":
    """Begins an operation within an event loop. The future is done when the operation is."""
    loop = asyncio.get_running_loop()
    reader = _readers.get(loop)
    if reader is None:
        reader = _readers[loop] = _Reader()
    return reader.begin(loop, operation)


class _Waiting(Dict[int, "asyncio.Future[None]"]):
    """Who waits, by token.

    Nobody but the loop has it, for the futures have the loop, and one that is closed shall go with them.
    """


class _Reader:
    """What an event loop waits for. It does not keep the loop."""

    def __init__(self) -> None:
        self._pair = Pair(timeout=0.0)
        self._waiting: "weakref.ReferenceType[_Waiting]" = weakref.ref(_Waiting())
        self._tokens = itertools.count()
        self._task: Optional["asyncio.Task[None]"] = None

    def begin(
        self, loop: asyncio.AbstractEventLoop, operation: "_native.Operation[Any]"
    ) -> "asyncio.Future[None]":
        token = next(self._tokens)
        future = loop.create_future()
        waiting = self._waiting()
        if not waiting:
            waiting = _Waiting()
            self._waiting = weakref.ref(waiting)
            try:
                loop.add_reader(self._pair.socket, self._read, loop, waiting)
            except NotImplementedError:
                # Of the loops for Windows, one can read only by itself.
                self._task = loop.create_task(self._keep_reading(loop, waiting))
        waiting[token] = future
        operation.start(self._pair.signal, token)
        return future

    def _read(self, loop: asyncio.AbstractEventLoop, waiting: "_Waiting") -> None:
        try:
            self._pair.socket.recv(4096)
        except (BlockingIOError, InterruptedError):
            pass
        self._settle(waiting)
        if not waiting:
            loop.remove_reader(self._pair.socket)

    async def _keep_reading(
        self, loop: asyncio.AbstractEventLoop, waiting: "_Waiting"
    ) -> None:
        while waiting:
            await loop.sock_recv(self._pair.socket, 4096)
            self._settle(waiting)

    def _settle(self, waiting: "_Waiting") -> None:
        for token in self._pair.signal.ended():
            future = waiting.pop(token)
            if not future.done():
                future.set_result(None)


_readers: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Reader]" = (
    weakref.WeakKeyDictionary()
)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_native.before_fork,
        after_in_parent=_native.after_fork_in_parent,
        after_in_child=_native.after_fork_in_child,
    )
    # A child must not read what is meant for its parent.
    os.register_at_fork(after_in_child=_readers.clear)

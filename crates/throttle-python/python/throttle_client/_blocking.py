"""Waiting for native operations in a thread or a greenlet. Signals, such as that of Ctrl+C, interrupt it."""

import os
import threading
from typing import Any, List, Optional, Tuple, TypeVar

from . import _native
from ._steps import Steps
from ._wakeup import WakeupSocket

_T = TypeVar("_T")

# The sockets of each thread that nobody uses at the moment. Made when it is needed, for by then it is known
# whether threads are greenlets.
_idle: Any = None


def _idle_sockets() -> List[WakeupSocket]:
    global _idle
    if _idle is None:
        _idle = threading.local()
    sockets: Optional[Tuple[int, List[WakeupSocket]]] = getattr(_idle, "sockets", None)
    if sockets is None or sockets[0] != os.getpid():
        # The other ends of those that a child inherits are with its parent.
        sockets = (os.getpid(), [])
        _idle.sockets = sockets
    return sockets[1]


def wait(operation: "_native.Operation[_T]") -> _T:
    """Blocks this thread, or greenlet, until the operation has ended; returns its result."""
    idle = _idle_sockets()
    # Whoever interrupts us, such as the handler of a signal, takes another one.
    socket = idle.pop() if idle else WakeupSocket()
    try:
        operation.start(socket.wakeup, 0)
        socket.read(1)
    except BaseException:
        operation.cancel()
        # The socket is not used any more, for there may be a byte in it.
        raise
    socket.wakeup.take_ended()
    idle.append(socket)
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

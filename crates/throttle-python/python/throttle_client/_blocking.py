"""Waiting for native operations in a thread or a greenlet.

Signal handlers run during a wait. If one raises, as that of Ctrl+C does, the wait ends and its operation is
cancelled.
"""

import os
import threading
from typing import Any, List, Optional, Tuple, TypeVar

from . import _native
from ._steps import Steps
from ._wakeup import WakeupSocket

_T = TypeVar("_T")

# The unused sockets of each thread. The `threading.local` is made at the first wait, because gevent and
# eventlet may replace `threading` until then.
_idle: Any = None


def _idle_sockets() -> List[WakeupSocket]:
    global _idle
    if _idle is None:
        _idle = threading.local()
    sockets: Optional[Tuple[int, List[WakeupSocket]]] = getattr(_idle, "sockets", None)
    if sockets is None or sockets[0] != os.getpid():
        # After a fork the native ends of the inherited sockets are in the parent.
        sockets = (os.getpid(), [])
        _idle.sockets = sockets
    return sockets[1]


def wait(operation: "_native.Operation[_T]") -> _T:
    """Blocks this thread or greenlet until the operation has ended, and returns its result."""
    idle = _idle_sockets()
    # A signal handler that waits during this wait finds another socket, or makes one.
    socket = idle.pop() if idle else WakeupSocket()
    try:
        operation.start(socket.wakeup, 0)
        socket.read(1)
    except BaseException:
        operation.cancel()
        # The socket may still receive the byte of this operation, so it is not reused.
        raise
    socket.wakeup.take_ended()
    idle.append(socket)
    return operation.result()


def run(steps: "Steps[_T]") -> _T:
    """Performs the operations of `steps` one after the other, and blocks until they have ended."""
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
        # An interrupt outside of `wait` does not reach `steps`, so closing them is what starts their cleanup.
        steps.close()
        raise

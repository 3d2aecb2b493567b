"""The socket by which native threads wake Python when an operation has ended.

A thread reads it by a blocking `recv`, which signals interrupt and which gevent and eventlet replace by one of
theirs; an event loop reads it as it reads any socket.
"""

import socket
import sys
import weakref
from contextlib import suppress
from typing import Optional

from . import _native

_FAMILY = getattr(socket, "AF_UNIX", socket.AF_INET)
if sys.platform == "win32":
    _FAMILY = socket.AF_INET

# Where signals do not interrupt a `recv`, it has to end from time to time.
_RECV_TIMEOUT: Optional[float] = 0.1 if sys.platform == "win32" else None


# By identity.
_sockets: "weakref.WeakValueDictionary[int, WakeupSocket]" = weakref.WeakValueDictionary()


def detach_sockets() -> None:
    """Leaves all sockets to the end of the process, so that none of them has to be closed before."""
    for reference in _sockets.valuerefs():
        opened = reference()
        if opened is not None:
            opened.socket.detach()


class WakeupSocket:
    """The end of a pair of sockets that Python reads, and the native one."""

    def __init__(self, timeout: Optional[float] = _RECV_TIMEOUT) -> None:
        self.wakeup, number = _native.wakeup_pair()
        # Whatever the class is by now: it may have been replaced.
        self.socket = socket.socket(_FAMILY, socket.SOCK_STREAM, 0, number)
        self.socket.settimeout(timeout)

        _sockets[id(self)] = self

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

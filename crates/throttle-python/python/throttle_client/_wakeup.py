"""The socket through which native threads wake Python when an operation has ended.

A thread reads it with a blocking `recv`: signals interrupt it, and gevent and eventlet replace it with their
own. An event loop reads it like any other socket.
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

# On Windows signals do not interrupt `recv`, so it returns at least this often. In seconds.
_RECV_TIMEOUT: Optional[float] = 0.1 if sys.platform == "win32" else None


# All that exist, by `id()`.
_sockets: "weakref.WeakValueDictionary[int, WakeupSocket]" = weakref.WeakValueDictionary()


def detach_sockets() -> None:
    """Keeps all sockets open until the process ends."""
    for reference in _sockets.valuerefs():
        opened = reference()
        if opened is not None:
            opened.socket.detach()


class WakeupSocket:
    """Python's end of a pair of sockets, with the native end as `wakeup`."""

    def __init__(self, timeout: Optional[float] = _RECV_TIMEOUT) -> None:
        self.wakeup, number = _native.wakeup_pair()
        # The class is looked up here because gevent and eventlet replace it.
        self.socket = socket.socket(_FAMILY, socket.SOCK_STREAM, 0, number)
        self.socket.settimeout(timeout)
        _sockets[id(self)] = self

    def __del__(self) -> None:
        reader = getattr(self, "socket", None)
        if reader is not None:
            reader.close()

    def read(self, size: int) -> None:
        """Blocks until a byte arrives, and reads at most `size` of them."""
        while True:
            # Python 3.9 has two classes for a timeout; later they are the same.
            with suppress(socket.timeout, TimeoutError):
                self.socket.recv(size)
                return

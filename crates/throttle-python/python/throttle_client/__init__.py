"""Locks on semaphores of a Throttle server. The package keeps them alive.

>>> from throttle_client import lock
>>> with lock("http://localhost:8000", "A", count=2):  # doctest: +SKIP
...     print("this block holds a count of 2 of A")

A native thread sends the heartbeats, so they continue while Python is busy. If the lock is lost anyway,
`lost` of the lock is set, and the end of the block raises `LockLost`.
"""

from . import _at_exit, _fork, _native
from .client import Client
from .errors import (
    LockLost,
    LostReason,
    NoAnswer,
    Refused,
    ThrottleError,
    Timeout,
    UnknownPeer,
    Unreachable,
)
from .locks import Lock, clear_peers, get_local_peer, lock, set_local_peer
from .peer import Loss, Peer, PeerWithHeartbeat

__all__ = [
    "Client",
    "Lock",
    "LockLost",
    "Loss",
    "LostReason",
    "NoAnswer",
    "Peer",
    "PeerWithHeartbeat",
    "Refused",
    "ThrottleError",
    "Timeout",
    "UnknownPeer",
    "Unreachable",
    "__version__",
    "clear_peers",
    "get_local_peer",
    "lock",
    "set_local_peer",
]

__version__: str = _native.VERSION


_fork.register()
_at_exit.register()

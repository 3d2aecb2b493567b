"""Locks on semaphores of Throttle that keep themselves alive.

>>> from throttle_client import lock
>>> with lock("http://localhost:8000", "A", count=2):  # doctest: +SKIP
...     print("nobody has more of A than there is")

The lease is kept alive by a thread outside of the interpreter, whatever Python does. Should the lock be
lost nevertheless, `lost` of the lock tells it, and leaving the block raises `LockLost`.
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

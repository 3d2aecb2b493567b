"""What is told to the servers when the interpreter ends."""

import atexit
import sys
import time

from . import _dispatcher, _native, _wakeup, peer

# For how long a server is told, if it has just been told something and did not answer.
_TIMEOUT_AFTER_SILENCE = 0.2


def register() -> None:
    """Sees to it that others need not wait for the leases to end."""
    atexit.register(_close_peers)


def _close_peers() -> None:
    timeout = peer.SHORT_RELEASE_TIMEOUT
    if time.monotonic() - peer.last_unconfirmed_at < 2 * timeout:
        timeout = _TIMEOUT_AFTER_SILENCE
    others_can_run = not sys.is_finalizing()
    _native.close_peers(peer.open_peers(), timeout, others_can_run)
    if others_can_run:
        _dispatcher.stop()
    else:
        # A thread of another interpreter than the main one would not be let in again after it has let
        # others run.
        _wakeup.detach_sockets()

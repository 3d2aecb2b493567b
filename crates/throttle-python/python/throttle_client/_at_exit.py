"""Releases all locks when the interpreter ends."""

import atexit
import sys
import time

from . import _callback_thread, _native, _wakeup, peer

# The time limit if a release has just gone unanswered: the server is probably still away.
_TIMEOUT_AFTER_SILENCE = 0.2


def register() -> None:
    """Closes all peers at exit, so that other waiters do not have to wait for the leases to end."""
    atexit.register(_close_peers)


def _close_peers() -> None:
    timeout = peer.SHORT_RELEASE_TIMEOUT
    if time.monotonic() - peer.last_unconfirmed_at < 2 * timeout:
        timeout = _TIMEOUT_AFTER_SILENCE
    others_can_run = not sys.is_finalizing()
    _native.close_peers(peer.open_peers(), timeout, others_can_run)
    if others_can_run:
        _callback_thread.stop()
    else:
        # This is a subinterpreter after the end of the main one. A thread that gives up the lock of the
        # interpreter now never gets it back, and closing a socket would give it up.
        _wakeup.detach_sockets()

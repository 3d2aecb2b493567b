"""One thread of Python for what native threads have to tell: events for `logging`, and losses of locks.

It is made by `threading` when it is needed first, so it is a greenlet where threads are greenlets.
"""

import importlib
import itertools
import logging
import os
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, Optional, Tuple

from . import _native
from ._wakeup import WakeupSocket

log = logging.getLogger("throttle_client")


class Dispatcher:
    """Waits for operations on behalf of others, and calls them back."""

    def __init__(self) -> None:
        self._socket = WakeupSocket()
        self._callbacks: Dict[int, Tuple["_native.Operation[Any]", Callable[[Any], object]]] = {}
        self._tokens = itertools.count(1)
        self._min_level: Optional[int] = None
        self._thread: Optional[threading.Thread] = None
        self._is_stopping = False

    def start(self) -> None:
        """Begins to dispatch."""
        self._thread = threading.Thread(target=self._run, name="throttle-client", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tells what has happened so far, and nothing any more."""
        self._is_stopping = True
        self._socket.wakeup.wake()
        if self._thread is not None and self._thread.is_alive():
            # It has only to return from a callback. One that never does must not keep us for ever.
            self._thread.join(timeout=1)

    def forward_log(self) -> None:
        """From now on events of the client get into the log, as far as it wants them."""
        min_level = min(log.getEffectiveLevel(), logging.CRITICAL)
        if self._min_level != min_level:
            self._min_level = min_level
            _native.forward_log(self._socket.wakeup, min_level)

    def watch(
        self, operation: "_native.Operation[Any]", callback: Callable[[Any], object]
    ) -> None:
        """Begins an operation, and calls back with its result. One that is cancelled has none."""
        token = next(self._tokens)
        self._callbacks[token] = (operation, callback)
        operation.start(self._socket.wakeup, token)

    def _drain(self) -> None:
        for level, text in _native.take_log():
            log.log(level, "%s", text)
        for token in self._socket.wakeup.take_ended():
            operation, callback = self._callbacks.pop(token)
            try:
                result = operation.result()
            except RuntimeError:
                continue
            try:
                callback(result)
            except BaseException:
                # Also `SystemExit`: it would end this thread, and nobody would hear of anything any more.
                log.exception("a callback of a lock failed")

    def _run(self) -> None:
        while not self._is_stopping:
            self._socket.read(4096)
            self._drain()


# By the process they belong to. A child has none of its parent's threads.
_dispatchers: Dict[int, Dispatcher] = {}


def dispatcher() -> Dispatcher:
    """That of this process, which is started if there is none."""
    process = os.getpid()
    found = _dispatchers.get(process)
    if found is None:
        made = Dispatcher()
        # Of two threads that come at once, one starts it. No mutex, for greenlets change in between.
        found = _dispatchers.setdefault(process, made)
        if found is made:
            # An interpreter that ends may start no thread. Locks work without one.
            with suppress(RuntimeError):
                made.start()
    return found


def forward_log() -> None:
    """Lets the log hear of what happens outside of the interpreter."""
    # Another interpreter of this process could not be destroyed as long as it had a thread.
    if _IS_MAIN_INTERPRETER:
        dispatcher().forward_log()


def _is_main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


# Known from the beginning: a child that is forked while another thread imports something waits for ever.
_IS_MAIN_INTERPRETER = _is_main_interpreter()


def stop() -> None:
    """Ends the thread. An interpreter that ends must not have it any more."""
    found = _dispatchers.get(os.getpid())
    if found is not None:
        found.stop()

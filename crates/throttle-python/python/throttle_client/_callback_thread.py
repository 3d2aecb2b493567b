"""The Python thread that passes on events of native threads: to `logging`, and to `on_lost` callbacks.

`threading` starts it when it is first needed, so under gevent and eventlet it is a greenlet.
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


class CallbackThread:
    """Waits for operations in a thread of its own, and calls their callbacks there."""

    def __init__(self) -> None:
        self._socket = WakeupSocket()
        self._callbacks: Dict[int, Tuple["_native.Operation[Any]", Callable[[Any], object]]] = {}
        self._tokens = itertools.count(1)
        self._min_level: Optional[int] = None
        self._thread: Optional[threading.Thread] = None
        self._is_stopping = False

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._run, name="throttle-client", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Delivers the events so far, then ends the thread."""
        self._is_stopping = True
        self._socket.wakeup.wake()
        if self._thread is not None and self._thread.is_alive():
            # The thread only has to return from its current callback, which may never return.
            self._thread.join(timeout=1)

    def forward_log(self) -> None:
        """Forwards events of the native client to `logging`, from the level that is enabled there."""
        min_level = min(log.getEffectiveLevel(), logging.CRITICAL)
        if self._min_level != min_level:
            self._min_level = min_level
            _native.forward_log(self._socket.wakeup, min_level)

    def watch(
        self, operation: "_native.Operation[Any]", callback: Callable[[Any], object]
    ) -> None:
        """Starts an operation and calls back with its result. There is no callback if it is cancelled."""
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
                # Also for `SystemExit`, which would end this thread, and with it all later callbacks.
                log.exception("a callback of a lock failed")

    def _run(self) -> None:
        while not self._is_stopping:
            self._socket.read(4096)
            self._drain()


# By process id: a forked child has none of its parent's threads.
_callback_threads: Dict[int, CallbackThread] = {}


def callback_thread() -> CallbackThread:
    """The callback thread of this process. Starts it if there is none."""
    process = os.getpid()
    found = _callback_threads.get(process)
    if found is None:
        made = CallbackThread()
        # If two threads get here at once, `setdefault` picks one. A mutex could block all greenlets.
        found = _callback_threads.setdefault(process, made)
        if found is made:
            # An interpreter that is shutting down cannot start threads. Locks work without one.
            with suppress(RuntimeError):
                made.start()
    return found


def forward_log() -> None:
    """Forwards events of the native client to `logging`, in the main interpreter only."""
    # A subinterpreter with a running thread cannot be destroyed.
    if _IS_MAIN_INTERPRETER:
        callback_thread().forward_log()


def _is_main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


# Evaluated at import: if a fork happens while another thread imports a module, the child can never
# import again.
_IS_MAIN_INTERPRETER = _is_main_interpreter()


def stop() -> None:
    """Ends the thread of this process, which must not outlive its interpreter."""
    found = _callback_threads.get(os.getpid())
    if found is not None:
        found.stop()

"""Sequences of native operations, written once for threads and event loops.

`_blocking.run` performs one in a thread, `_event_loop.run_async` in a task.
"""

from typing import Any, Generator, TypeVar

from . import _native

_T = TypeVar("_T")

#: A generator that yields native operations, and is sent the result of each.
Steps = Generator["_native.Operation[Any]", Any, _T]

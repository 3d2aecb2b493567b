"""What takes several native operations, written once for threads and event loops."""

from typing import Any, Generator, TypeVar

from . import _native

_T = TypeVar("_T")

#: Something that takes operations: it yields each of them, and gets the result of each.
Steps = Generator["_native.Operation[Any]", Any, _T]

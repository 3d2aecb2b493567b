"""The base class of the locks for threads and of those for event loops.

Many threads or tasks can enter one lock object at the same time. Each entry is a held lock of its own, and
the exit releases exactly that one.
"""

# Modules of this package use private names of each other.
# pyright: reportPrivateUsage=false

import inspect
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from . import _native
from ._callback_thread import log
from ._steps import Steps
from .client import Client, ClientBase, Pem, Span, Urls, check_count, seconds, timespan, without_password
from .errors import LockLost, LostReason, Refused, ThrottleError, Timeout, Unreachable
from .peer import RELEASE_TIMEOUT, SHORT_RELEASE_TIMEOUT, UNCONFIRMED, Loss, Peer, PeerWithHeartbeat

OnLost = Callable[[LostReason], object]


class HeldLock:
    """The lock that one entry holds."""

    def __init__(self, owner: object, peer: Peer, lock: "_native.Lock"):
        self.owner = owner
        self.peer = peer
        self.lock = lock
        self.since = time.monotonic()
        #: Cancels the wait for the loss, if there is one.
        self.stop_watching: Optional[Callable[[], None]] = None
        #: Whether the block has ended.
        self.is_released = False
        #: Set if the loss of the lock cancelled the task. Undoes that, and returns whether this leaves the task
        #: without any other cancellation.
        self.uncancel: Optional[Callable[[], bool]] = None


class LockBase:
    """A lock on a semaphore that is held within a block."""

    #: The word for owners in messages.
    _owners = "threads"

    def __init__(
        self,
        server_url: Union[Urls, ClientBase, None],
        semaphore: str,
        count: int = 1,
        timeout: Optional[Span] = None,
        on_lost: Optional[OnLost] = None,
        *,
        expiration_time: Optional[Span] = None,
        hold_at_least: Optional[Span] = None,
        labels: Optional[Mapping[str, str]] = None,
        default_labels: bool = True,
        headers: Optional[Mapping[str, str]] = None,
        token: Optional[str] = None,
        ca: Optional[Pem] = None,
        client_cert: Optional[Union[Pem, Tuple[Pem, Pem]]] = None,
    ):
        if not isinstance(server_url, ClientBase):
            server_url = Client(server_url, headers, token, ca, client_cert)
        #: The client of the server.
        self.client = server_url
        self.server_url = self.client.base_url
        self.semaphore = semaphore
        self.count = count
        self._timeout = None if timeout is None else seconds(timeout, "timeout")
        self._on_lost = on_lost
        self._expiration_time = (
            None if expiration_time is None else timespan(expiration_time, "expiration_time")
        )
        self._hold_at_least = (
            0.0 if hold_at_least is None else seconds(hold_at_least, "hold_at_least")
        )
        self._labels = labels
        self._default_labels = default_labels
        self._held_locks: List[HeldLock] = []

    @property
    def peer(self) -> Optional[Peer]:
        """The peer that holds the lock, if any does."""
        held = self._find_held()
        return None if held is None else held.peer

    @property
    def lost(self) -> Loss:
        """The loss of the lock, as an object with `is_set()`, `wait(timeout)` and `reason`."""
        return Loss(self._require_held().lock)

    @property
    def fencing_token(self) -> Optional[int]:
        """A number that grows with each grant of the semaphore.

        A resource can use it to reject outdated writers: those with a smaller token than the largest so far if the
        semaphore has a maximum of one; otherwise those for which `Client.is_held` is false.
        """
        return self._require_held().lock.fencing_token

    @property
    def time_left(self) -> float:
        """The number of seconds for which the lock is held for sure, even if all further heartbeats fail."""
        return self._require_held().lock.time_left()

    def is_held(self) -> bool:
        """Whether this thread or task holds the lock, and its lease has not ended."""
        held = self._find_held()
        return held is not None and held.lock.time_left() > 0

    def locked(self) -> bool:
        """Whether any thread or task of this process holds a lock through this object."""
        return bool(self._held_locks)

    def __repr__(self) -> str:
        url = without_password(self.server_url)
        return f"{type(self).__name__}({url!r}, {self.semaphore!r}, count={self.count})"

    def __getstate__(self) -> Dict[str, Any]:
        # A copy is for the same semaphore, but no lock is held through it.
        return {**self.__dict__, "_held_locks": []}

    def _owner(self) -> object:
        """The current thread or task."""
        raise NotImplementedError

    def _options(self) -> Dict[str, Any]:
        """The options of this lock, for another one with the same."""
        return {
            "count": self.count,
            "timeout": self._timeout,
            "on_lost": self._on_lost,
            "expiration_time": self._expiration_time,
            "hold_at_least": self._hold_at_least,
            "labels": self._labels,
            "default_labels": self._default_labels,
        }

    def _new_peer(self, expiration_time: Optional[Span]) -> PeerWithHeartbeat:
        return PeerWithHeartbeat(
            self.client,
            expiration_time=self._expiration_time or expiration_time,
            labels=self._labels,
            default_labels=self._default_labels,
        )

    def _timeout_of(self, blocking: bool, timeout: Span) -> Optional[float]:
        """The timeout in seconds for the arguments of `acquire`, which are those of `threading.Lock`."""
        if not blocking:
            if timeout != -1:
                raise ValueError("without blocking there is no timeout")
            return 0.0
        return self._timeout if timeout == -1 else seconds(timeout, "timeout")

    def _find_held(self) -> Optional[HeldLock]:
        """The latest lock of the current thread or task; or the only one, if another owner holds it."""
        owner = self._owner()
        for held in reversed(self._held_locks):
            if held.owner == owner:
                return held
        return self._held_locks[0] if len(self._held_locks) == 1 else None

    def _require_held(self) -> HeldLock:
        held = self._find_held()
        if held is not None:
            return held
        others = len(self._held_locks)
        if others:
            raise RuntimeError(f"the lock is held by {others} other {self._owners}, not by this one")
        raise RuntimeError("the lock is not held")

    def _acquire_steps(self, peer: Peer, timeout: Optional[float]) -> "Steps[HeldLock]":
        check_count(self.count)
        lock: Optional[_native.Lock] = None
        held: Optional[HeldLock] = None
        try:
            if isinstance(peer, PeerWithHeartbeat):
                yield from peer._set_heartbeats(True)
            lock = yield from peer._acquire(self.semaphore, self.count, timeout)
            held = HeldLock(self._owner(), peer, lock)
            self._watch_loss(held)
            self._held_locks.append(held)
            return held
        except BaseException as error:
            # Leave the queue, and release a lock that was granted at the same moment.
            if held is not None:
                self._forget_held(held)
            if isinstance(error, GeneratorExit):
                # A closed generator cannot wait.
                peer._release_in_background(self.semaphore, lock)
                raise
            yield from peer._undo_acquire(self.semaphore, lock, _release_timeout_after(error))
            if isinstance(error, Refused):
                self._add_context(error)
            raise

    def _release_steps(self, held: HeldLock, error: Optional[BaseException]) -> "Steps[None]":
        self._forget_held(held)
        lost = held.lock.lost()
        if lost is not None and lost[0] == LostReason.HELD_BY_PARENT:
            # This process is a fork, and the lock belongs to its parent.
            self._report_loss(lost, error)
            return
        interruption: Optional[BaseException] = None
        rest = self._hold_at_least - (time.monotonic() - held.since)
        if rest > 0 and lost is None and not _is_interruption(error):
            try:
                # Ends early if the lock is lost: then there is nothing left to hold.
                yield held.lock.wait_lost(rest)
            except GeneratorExit:
                # A closed generator cannot wait.
                held.peer._release_in_background(self.semaphore, held.lock)
                raise
            except BaseException as raised:
                interruption = raised
        timeout = RELEASE_TIMEOUT if error is None and interruption is None else SHORT_RELEASE_TIMEOUT
        released = yield from held.peer._release(self.semaphore, held.lock, True, timeout)
        lost = lost or released
        if interruption is not None:
            raise interruption
        if lost is not None:
            is_expected = not isinstance(held.peer, PeerWithHeartbeat)
            self._report_loss(lost, error, is_expected)

    def _release_in_background(self, held: HeldLock) -> None:
        """Releases a lock without waiting, unless its release has begun already."""
        self._forget_held(held)
        held.peer._release_in_background(self.semaphore, held.lock)

    def _forget_held(self, held: HeldLock) -> None:
        held.is_released = True
        if held in self._held_locks:
            self._held_locks.remove(held)
        if held.stop_watching is not None:
            held.stop_watching()

    def _report_loss(
        self, lost: Tuple[str, str], error: Optional[BaseException], is_expected: bool = False
    ) -> None:
        reason, sentence = lost
        if reason == UNCONFIRMED:
            log.warning("%s may not be free before the lease ends: %s", self._description(), sentence)
        elif error is not None or is_expected:
            log.warning("%s was lost: %s", self._description(), sentence)
        else:
            raise LockLost(f"{self._description()} was lost: {sentence}", reason)

    def _description(self) -> str:
        return f"the lock on {self.semaphore!r} at {without_password(self.server_url)}"

    def _watch_loss(self, held: HeldLock) -> None:
        """Starts to watch for the loss of a lock, if anybody wants to be notified."""

    def _reason_to_report(self, lost: Optional[Tuple[str, str]]) -> Optional[LostReason]:
        """The reason of a loss; `None` if this program closed the peer itself."""
        reason = None if lost is None else LostReason(lost[0])
        return None if reason is LostReason.CLOSED else reason

    def _add_context(self, error: Refused) -> None:
        url = without_password(self.server_url)
        error.semaphore, error.url = self.semaphore, url
        # Programs compare the text of the error with that of the server, so the context goes into the cause.
        error.__cause__ = ThrottleError(f"no lock on {self.count} of {self.semaphore!r} at {url}")


def reject_generators(function: Callable[..., Any]) -> None:
    """Refuses to decorate generator functions, which would run after the release of the lock."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{name} is a generator function: it runs when somebody iterates, not when it is called. "
            "Enter the lock by `with` within the function"
        )


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether a call returns a coroutine."""
    call = getattr(function, "__call__", None)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def reject_coroutine(result: Any) -> None:
    """Refuses a coroutine as the result, which would run after the release of the lock."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the function returned a coroutine, which would run without the lock")


def _is_interruption(error: Optional[BaseException]) -> bool:
    """Whether the block was interrupted, as by Ctrl+C. `SystemExit` is not an interruption."""
    return error is not None and not isinstance(error, (Exception, SystemExit))


def _release_timeout_after(error: BaseException) -> float:
    """How long the cleanup may take after a failed attempt, in seconds."""
    if isinstance(error, Unreachable):
        return 0.0
    return 0.5 if isinstance(error, Timeout) else SHORT_RELEASE_TIMEOUT

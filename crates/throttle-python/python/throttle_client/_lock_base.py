"""What the locks of threads and those of event loops have in common.

A guard says what to lock, and can be entered by many threads or tasks at once: each entry has a grant of its
own, and whoever leaves gives back exactly that one.
"""

# What begins with an underscore is the business of this package.
# pyright: reportPrivateUsage=false

import inspect
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from . import _native
from ._dispatcher import log
from ._steps import Steps
from .client import Client, ClientBase, Pem, Span, Urls, check_count, seconds, timespan, without_password
from .errors import LockLost, LostReason, Refused, ThrottleError, Timeout, Unreachable
from .peer import FAREWELL_PATIENCE, RELEASE_PATIENCE, UNCONFIRMED, Loss, Peer, PeerWithHeartbeat

OnLost = Callable[[LostReason], object]


class Grant:
    """What one entry of a guard has."""

    def __init__(self, owner: object, peer: Peer, lock: "_native.Lock"):
        self.owner = owner
        self.peer = peer
        self.lock = lock
        self.since = time.monotonic()
        #: Ends what was begun to hear of the loss.
        self.unsubscribe: Optional[Callable[[], None]] = None
        #: Whether the block is over.
        self.is_left = False
        #: Takes back that the task was cancelled because the lock was lost, if it was, and returns whether
        #: nobody else wants to cancel it.
        self.uncancel: Optional[Callable[[], bool]] = None


class LockBase:
    """A lock on a semaphore, to be held within a block."""

    #: What a thread or a task is called.
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
        #: The server.
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
        self._grants: List[Grant] = []

    @property
    def peer(self) -> Optional[Peer]:
        """The peer that has the lock, as long as there is one."""
        grant = self._find()
        return None if grant is None else grant.peer

    @property
    def lost(self) -> Loss:
        """Whether the lock is lost: an object with `is_set()`, `wait(timeout)` and `reason`."""
        return Loss(self._held().lock)

    @property
    def fencing_token(self) -> Optional[int]:
        """A number that grows with each grant of the semaphore.

        What the lock protects can reject whoever comes with a smaller one than it has seen.
        """
        return self._held().lock.fencing_token

    @property
    def time_left(self) -> float:
        """For how many seconds the lock is certain even if no further heartbeat gets through."""
        return self._held().lock.time_left()

    def is_held(self) -> bool:
        """Whether it is held here, and certain at this moment that nobody else has been granted it."""
        grant = self._find()
        return grant is not None and grant.lock.time_left() > 0

    def locked(self) -> bool:
        """Whether anybody in this process has entered this guard."""
        return bool(self._grants)

    def __repr__(self) -> str:
        url = without_password(self.server_url)
        return f"{type(self).__name__}({url!r}, {self.semaphore!r}, count={self.count})"

    def __getstate__(self) -> Dict[str, Any]:
        # A copy is a guard for the same, and nobody has entered it.
        return {**self.__dict__, "_grants": []}

    def _owner(self) -> object:
        """Who enters or leaves now."""
        raise NotImplementedError

    def _options(self) -> Dict[str, Any]:
        """What another guard for the same takes."""
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

    def _patience(self, blocking: bool, timeout: Span) -> Optional[float]:
        """What the arguments of `acquire` mean, which are those of `threading.Lock`."""
        if not blocking:
            if timeout != -1:
                raise ValueError("without blocking there is no timeout")
            return 0.0
        return self._timeout if timeout == -1 else seconds(timeout, "timeout")

    def _find(self) -> Optional[Grant]:
        """What the thread or task has that asks; or what somebody else has, if it is the only one."""
        owner = self._owner()
        for grant in reversed(self._grants):
            if grant.owner == owner:
                return grant
        return self._grants[0] if len(self._grants) == 1 else None

    def _held(self) -> Grant:
        grant = self._find()
        if grant is not None:
            return grant
        others = len(self._grants)
        if others:
            raise RuntimeError(f"the lock is held by {others} other {self._owners}, not by this one")
        raise RuntimeError("the lock is not held")

    def _enter(self, peer: Peer, patience: Optional[float]) -> "Steps[Grant]":
        check_count(self.count)
        lock: Optional[_native.Lock] = None
        grant: Optional[Grant] = None
        try:
            if isinstance(peer, PeerWithHeartbeat):
                yield from peer._beat(True)
            lock = yield from peer._acquire(self.semaphore, self.count, patience)
            grant = Grant(self._owner(), peer, lock)
            self._subscribe(grant)
            self._grants.append(grant)
            return grant
        except BaseException as error:
            # Nobody stays in the queue unattended, or has what was granted in that moment.
            if grant is not None:
                self._forget_grant(grant)
            if isinstance(error, GeneratorExit):
                # Nobody is there to wait.
                peer._drop(self.semaphore, lock)
                raise
            yield from peer._abandon(self.semaphore, lock, _patience_after(error))
            if isinstance(error, Refused):
                self._explain(error)
            raise

    def _leave(self, grant: Grant, error: Optional[BaseException]) -> "Steps[None]":
        self._forget_grant(grant)
        lost = grant.lock.lost()
        if lost is not None and lost[0] == LostReason.HELD_BY_PARENT:
            # What a child inherits belongs to its parent.
            self._tell_loss(lost, error)
            return
        interruption: Optional[BaseException] = None
        rest = self._hold_at_least - (time.monotonic() - grant.since)
        if rest > 0 and lost is None and not _is_interruption(error):
            try:
                # Who has lost it has nothing to wait for.
                yield grant.lock.wait_lost(rest)
            except GeneratorExit:
                # Nobody is there to wait.
                grant.peer._drop(self.semaphore, grant.lock)
                raise
            except BaseException as raised:
                interruption = raised
        patience = RELEASE_PATIENCE if error is None and interruption is None else FAREWELL_PATIENCE
        released = yield from grant.peer._release(self.semaphore, grant.lock, True, patience)
        lost = lost or released
        if interruption is not None:
            raise interruption
        if lost is not None:
            is_expected = not isinstance(grant.peer, PeerWithHeartbeat)
            self._tell_loss(lost, error, is_expected)

    def _drop(self, grant: Grant) -> None:
        """Gives a lock back in the background, unless that has begun already."""
        self._forget_grant(grant)
        grant.peer._drop(self.semaphore, grant.lock)

    def _forget_grant(self, grant: Grant) -> None:
        grant.is_left = True
        if grant in self._grants:
            self._grants.remove(grant)
        if grant.unsubscribe is not None:
            grant.unsubscribe()

    def _tell_loss(
        self, lost: Tuple[str, str], error: Optional[BaseException], is_expected: bool = False
    ) -> None:
        reason, sentence = lost
        if reason == UNCONFIRMED:
            log.warning("%s may not be free before the lease ends: %s", self._where(), sentence)
        elif error is not None or is_expected:
            log.warning("%s was lost: %s", self._where(), sentence)
        else:
            raise LockLost(f"{self._where()} was lost: {sentence}", reason)

    def _where(self) -> str:
        return f"the lock on {self.semaphore!r} at {without_password(self.server_url)}"

    def _subscribe(self, grant: Grant) -> None:
        """Sees to it that somebody hears of the loss."""

    def _loss(self, lost: Optional[Tuple[str, str]]) -> Optional[LostReason]:
        """Why a lock was lost, unless this program closed the peer itself."""
        reason = None if lost is None else LostReason(lost[0])
        return None if reason is LostReason.CLOSED else reason

    def _explain(self, error: Refused) -> None:
        url = without_password(self.server_url)
        error.semaphore, error.url = self.semaphore, url
        # Its text is that of the server, which programs compare.
        error.__cause__ = ThrottleError(f"no lock on {self.count} of {self.semaphore!r} at {url}")


def reject_generators(function: Callable[..., Any]) -> None:
    """Refuses to decorate what would run after the lock is released."""
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
    """Refuses what would go on after the lock is released."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the function returned a coroutine, which would run without the lock")


def _is_interruption(error: Optional[BaseException]) -> bool:
    """Whether somebody wants an end now. A program that exits by itself is in no such hurry."""
    return error is not None and not isinstance(error, (Exception, SystemExit))


def _patience_after(error: BaseException) -> float:
    """For how long the server is told that nobody waits any more."""
    if isinstance(error, Unreachable):
        return 0.0
    return 0.5 if isinstance(error, Timeout) else FAREWELL_PATIENCE

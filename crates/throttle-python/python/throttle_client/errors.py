"""The exceptions of the package, which have one base class, and why a lock can be lost."""

from enum import Enum
from typing import Any, Dict, Optional, Tuple

try:
    # Programs written for version 0.5 catch what `requests` raises, if they have it.
    from requests import ConnectionError as _RequestsConnectionError  # type: ignore

    _connection_errors: Tuple[type, ...] = (_RequestsConnectionError, ConnectionError)
except ImportError:
    _connection_errors = (ConnectionError,)


class LostReason(str, Enum):
    """Why a lock was lost that had not been released."""

    #: This program closed the peer.
    CLOSED = "closed"
    #: The lease ended: the machine was suspended or overloaded, or there was no heartbeat.
    EXPIRED = "expired"
    #: The lock belongs to the parent of this process, which was forked.
    HELD_BY_PARENT = "held_by_parent"
    #: The server does not let the peer go on.
    REFUSED = "refused"
    #: Somebody removed the peer at the server.
    REVOKED = "revoked"
    #: The server did not answer until the lease ended.
    UNREACHABLE = "unreachable"

    def __str__(self) -> str:
        return self.value


class ThrottleError(Exception):
    """The base class of all exceptions of this package."""


class Refused(ThrottleError, ValueError):
    """The server refuses, and nothing has changed; or something cannot be asked for at all.

    `code` says why, by a name that never changes its meaning, such as `never_acquirable`. Raised by a lock,
    `semaphore` and `url` tell which one.
    """

    def __init__(self, message: str = "", code: str = "unknown", status: int = 0):
        super().__init__(message)
        self.code = code
        self.status = status
        self.semaphore: Optional[str] = None
        self.url: Optional[str] = None

    def __reduce__(self) -> Tuple[type, Tuple[str, str, int], Dict[str, Any]]:
        return type(self), (str(self), self.code, self.status), self.__dict__


class UnknownPeer(ThrottleError):
    """The server does not know the peer: it expired, was removed, or the server was started again."""

    code = "unknown_peer"


class Unreachable(ThrottleError, *_connection_errors):  # type: ignore
    """There was no answer, or none of a Throttle server, although it was asked again and again."""


class Timeout(ThrottleError, TimeoutError):
    """The server answered, and the lock was not free in time. Nothing is left of the wait."""


class NoAnswer(Unreachable, Timeout):
    """The time was over before the server said whether the lock is free. It is both of its bases."""


class LockLost(ThrottleError):
    """The lock was lost before it was given back; what was done last may have been done without it.

    `reason` says why.
    """

    def __init__(self, message: str = "", reason: str = LostReason.EXPIRED):
        super().__init__(message)
        self.reason = LostReason(reason)

    def __reduce__(self) -> Tuple[type, Tuple[str, str], Dict[str, Any]]:
        return type(self), (str(self), self.reason.value), self.__dict__

"""The exceptions of the package, with one base class, and the reasons why a lock can be lost."""

from enum import Enum
from typing import Any, Dict, Optional, Tuple

try:
    # Programs written for version 0.5 catch the exception of `requests`.
    from requests import ConnectionError as _RequestsConnectionError  # type: ignore

    _connection_errors: Tuple[type, ...] = (_RequestsConnectionError, ConnectionError)
except ImportError:
    _connection_errors = (ConnectionError,)


class LostReason(str, Enum):
    """Why a lock was lost before it was released."""

    #: This program closed the peer.
    CLOSED = "closed"
    #: The lease ended: the machine was suspended or overloaded, or there was no heartbeat.
    EXPIRED = "expired"
    #: The lock belongs to the parent of this process, which was forked.
    HELD_BY_PARENT = "held_by_parent"
    #: The server refused the heartbeats of the peer.
    REFUSED = "refused"
    #: An operator or another program removed the peer at the server, perhaps before a restart of a server with a
    #: durable memory.
    REVOKED = "revoked"
    #: The server did not answer before the lease ended.
    UNREACHABLE = "unreachable"

    def __str__(self) -> str:
        return self.value


class ThrottleError(Exception):
    """The base class of all exceptions of this package."""


class Refused(ThrottleError, ValueError):
    """The server refused the request, or the client did, because it cannot be valid. Nothing has changed.

    `code` is the reason as a stable name, such as `never_acquirable`. If a lock raised it, `semaphore` and
    `url` are those of the lock.
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
    """The server does not know the peer: it expired, it was removed, or the server restarted and forgot it."""

    code = "unknown_peer"


class Unreachable(ThrottleError, *_connection_errors):  # type: ignore
    """No Throttle server answered, although the request was repeated."""


class Timeout(ThrottleError, TimeoutError):
    """The server answered, but the lock was not granted in time. The peer has left the queue."""


class NoAnswer(Unreachable, Timeout):
    """The time was over before the server answered, so whether the lock was free is unknown."""


class LockLost(ThrottleError):
    """The lock was lost before its release, so the last part of the work may have run without it.

    `reason` is the cause.
    """

    def __init__(self, message: str = "", reason: str = LostReason.EXPIRED):
        super().__init__(message)
        self.reason = LostReason(reason)

    def __reduce__(self) -> Tuple[type, Tuple[str, str], Dict[str, Any]]:
        return type(self), (str(self), self.reason.value), self.__dict__

"""The calls of the interface, one method for each, and the exceptions of the package."""

from datetime import timedelta
from typing import Dict, Optional, Tuple, Union

from . import _native

try:
    # Programs written for version 0.5 catch what `requests` raises, if they have it.
    from requests import ConnectionError as _RequestsConnectionError  # type: ignore

    _CONNECTION_ERRORS: Tuple[type, ...] = (_RequestsConnectionError, ConnectionError)
except ImportError:
    _CONNECTION_ERRORS = (ConnectionError,)

Span = Union[timedelta, float, int]


class Refused(ValueError):
    """The server refuses, and nothing has changed.

    `code` says why, by a name that never changes its meaning, such as `never_acquirable`.
    """

    def __init__(self, message: str = "", code: str = "unknown", status: int = 0):
        super().__init__(message)
        self.code = code
        self.status = status

    def __reduce__(self) -> Tuple[type, Tuple[str, str, int]]:
        return type(self), (str(self), self.code, self.status)


class UnknownPeer(Exception):
    """The server does not know the peer: it expired, was removed, or the server was started again."""

    code = "unknown_peer"


class Unreachable(*_CONNECTION_ERRORS):  # type: ignore
    """There was no answer, or none of a Throttle server, although it was asked again and again."""


class Client:
    """Talks to a server of Throttle. It can be pickled, and knows nothing but the URL.

    Who wants a lock looks at `throttle_client.lock` instead.

    >>> client = Client("http://localhost:8000")
    >>> peer = client.new_peer(expires_in=timedelta(minutes=5))  # doctest: +SKIP
    """

    def __init__(self, base_url: str):
        """`base_url` is where the server is, such as `http://localhost:8000`.

        One that listens on a socket in the file system is at `unix:/run/throttle.sock`.
        """
        self.base_url = base_url

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    @property
    def _native(self) -> "_native.Client":
        return _native.Client(self.base_url)

    def new_peer(self, expires_in: Span) -> int:
        """Registers a new peer and returns its id. It lives for `expires_in` without a sign of life."""
        return self._native.new_peer(seconds(expires_in)).wait()

    def acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Span] = None,
        block_for: Optional[Span] = None,
    ) -> bool:
        """Asks for a lock, and returns whether it is held; if not, the peer stands in the queue.

        * `expires_in`: the length of the lease of the peer, which begins anew.
        * `block_for`: how long the answer may wait for the lock. `None`: not at all.
        """
        return self._acquire(peer_id, semaphore, count, expires_in, block_for)[0]

    def _acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Span] = None,
        block_for: Optional[Span] = None,
    ) -> Tuple[bool, Optional[int]]:
        """Whether it is held, and its fencing token."""
        if count < 0:
            # There is no way to ask for that, so the answer of the server is given here.
            message = f"Lock count must be a positive number. Found: {count}."
            raise Refused(message, "invalid_lock_count", 400)
        request = self._native.acquire(
            peer_id,
            semaphore,
            count,
            None if expires_in is None else seconds(expires_in),
            None if block_for is None else seconds(block_for),
        )
        return request.wait()

    def restore(self, peer_id: int, acquired: Dict[str, int], expires_in: Span) -> None:
        """Tells a server that forgot the peer which locks it holds."""
        self._native.restore(peer_id, acquired, seconds(expires_in)).wait()

    def remainder(self, semaphore: str) -> int:
        """What is free of a semaphore. Negative while more is held after restores."""
        return self._native.remainder(semaphore).wait()

    def is_acquired(self, peer_id: int) -> bool:
        """Whether the peer waits for nothing."""
        return self._native.is_acquired(peer_id).wait()

    def release(self, peer_id: int) -> None:
        """Removes the peer with all its locks, held and pending."""
        self._native.remove_peer(peer_id).wait()

    def release_lock(self, peer_id: int, semaphore: str) -> None:
        """Releases one lock of the peer, or takes it out of the queue."""
        self._native.release(peer_id, semaphore).wait()

    def heartbeat(self, peer_id: int, expires_in: Span) -> None:
        """Lets the lease of the peer begin anew."""
        self._native.heartbeat(peer_id, seconds(expires_in)).wait()


def seconds(span: Span) -> float:
    """A span in seconds."""
    return span.total_seconds() if isinstance(span, timedelta) else float(span)

"""The HTTP interface of the server, with one method for each route."""

import math
import os
import re
from datetime import timedelta
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _native
from ._blocking import wait
from .errors import Refused, UnknownPeer, Unreachable

__all__ = ["Client", "ClientBase", "Refused", "Span", "UnknownPeer", "Unreachable", "seconds"]

#: A span of time: a `timedelta`, or a number of seconds.
Span = Union[timedelta, float, int]

#: Certificates as PEM: a file, or its content.
Pem = Union[str, "os.PathLike[str]", bytes]

#: Where a server is: one URL, or several, as a sequence or separated by commas.
Urls = Union[str, Sequence[str]]


class ClientBase:
    """The address of a server, and the settings of requests to it."""

    def __init__(
        self,
        base_url: Optional[Urls] = None,
        headers: Optional[Mapping[str, str]] = None,
        token: Optional[str] = None,
        ca: Optional[Pem] = None,
        client_cert: Optional[Union[Pem, Tuple[Pem, Pem]]] = None,
        timeout: Optional[Span] = None,
    ):
        """
        * `base_url`: the URL of the server, such as `http://localhost:8000`, or `unix:/run/throttle.sock` for
          a Unix socket. If there are several URLs and one does not answer, the client tries the next.
          Default: the environment variable `THROTTLE_URL`.
        * `headers`: sent with each request.
        * `token`: sent as `Authorization: Bearer …`.
        * `ca`: certificates to trust in addition to those of the system.
        * `client_cert`: a certificate and its key, in one file or in two.
        * `timeout`: the time limit of one request, not counting `block_for`, and also of all its repetitions.
          Default: ten seconds for one request, a minute for all. Locks have timeouts of their own.
        """
        if base_url is None:
            base_url = os.environ.get("THROTTLE_URL")
            if not base_url:
                raise ValueError("there is no URL: neither an argument nor THROTTLE_URL names one")
        urls = _split(base_url) if isinstance(base_url, str) else [str(url) for url in base_url]
        self.base_url = ",".join(urls)
        self._urls = tuple(urls)
        self._headers = list((headers or {}).items())
        self._token = token
        self._ca = None if ca is None else _read(ca)
        parts = client_cert if isinstance(client_cert, tuple) else (client_cert,)
        self._client_cert = b"\n".join(_read(part) for part in parts if part is not None) or None
        self._timeout = None if timeout is None else seconds(timeout, "timeout")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({without_password(self.base_url)!r})"

    @property
    def _server(self) -> "_native.Client":
        return _native.Client(
            list(self._urls),
            self._headers,
            self._token,
            self._ca,
            self._client_cert,
            self._timeout,
        )

    def _acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int,
        expires_in: Optional[Span],
        block_for: Optional[Span],
    ) -> "_native.Operation[Tuple[bool, Optional[int]]]":
        check_count(count)
        return self._server.acquire(
            peer_id,
            semaphore,
            count,
            None if expires_in is None else seconds(expires_in, "expires_in"),
            None if block_for is None else seconds(block_for, "block_for"),
        )

    def _is_held(self, semaphore: str, token: int) -> "_native.Operation[bool]":
        if not 0 <= token < 1 << 64:
            raise ValueError(f"{token} is no fencing token: it takes a number from 0 to 2^64 - 1")
        return self._server.is_held(semaphore, token)


class Client(ClientBase):
    """Sends requests to a server. It keeps no state about peers, and can be pickled.

    To hold a lock, use `throttle_client.lock` instead.

    >>> client = Client("http://localhost:8000")
    >>> peer = client.new_peer(expires_in=timedelta(minutes=5))  # doctest: +SKIP
    """

    def new_peer(self, expires_in: Span) -> int:
        """Registers a new peer and returns its id. The peer expires `expires_in` after its last heartbeat."""
        return wait(self._server.new_peer(seconds(expires_in, "expires_in")))

    def acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Span] = None,
        block_for: Optional[Span] = None,
    ) -> bool:
        """Requests a lock, and returns whether it is held. If not, it is pending in the queue.

        * `expires_in`: renews the lease of the peer, with this length.
        * `block_for`: how long the server may wait for the lock before it answers. Default: no wait.
        """
        return wait(self._acquire(peer_id, semaphore, count, expires_in, block_for))[0]

    def restore(self, peer_id: int, acquired: Dict[str, int], expires_in: Span) -> None:
        """Restores a peer with its locks at a server that does not know it any more."""
        wait(self._server.restore(peer_id, acquired, seconds(expires_in, "expires_in")))

    def remainder(self, semaphore: str) -> int:
        """The free count of a semaphore. Negative if restored peers hold more than the maximum."""
        return wait(self._server.remainder(semaphore))

    def is_acquired(self, peer_id: int) -> bool:
        """Whether the peer has no pending lock."""
        return wait(self._server.is_acquired(peer_id))

    def is_held(self, semaphore: str, token: int) -> bool:
        """Whether the lock with this fencing token is held at the moment of the answer.

        For a resource that a lock protects: it asks before each write, and refuses the write unless this is true.
        To compare tokens is cheaper, but right only for a semaphore with a maximum of one.
        """
        return wait(self._is_held(semaphore, token))

    def release(self, peer_id: int) -> None:
        """Removes the peer with all its locks, held and pending."""
        wait(self._server.remove_peer(peer_id))

    def release_lock(self, peer_id: int, semaphore: str) -> None:
        """Releases the lock of the peer on this semaphore, held or pending."""
        wait(self._server.release(peer_id, semaphore))

    def heartbeat(self, peer_id: int, expires_in: Span) -> None:
        """Renews the lease of the peer."""
        wait(self._server.heartbeat(peer_id, seconds(expires_in, "expires_in")))


def seconds(span: Span, name: str = "a span of time") -> float:
    """A span in seconds. Raises `ValueError` if it is negative or not a number."""
    value = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} cannot be {span}: it takes a number that is not negative")
    return value


def timespan(span: Span, name: str) -> timedelta:
    """A span as a `timedelta`. Raises `ValueError` unless it is greater than zero."""
    value = seconds(span, name)
    if value == 0:
        raise ValueError(f"{name} cannot be {span}: it takes a number that is greater than zero")
    try:
        return timedelta(seconds=value)
    except OverflowError:
        return timedelta.max


def check_count(count: int) -> None:
    """Refuses a negative count, which the native client cannot send, with the message of the server."""
    if count < 0:
        message = f"Lock count must be a positive number. Found: {count}."
        raise Refused(message, "invalid_lock_count", 400)


def without_password(url: str) -> str:
    """One or several URLs for messages, with passwords replaced by `***`."""
    return re.sub(r"(//[^:/@,]*):[^@/,]*@", r"\1:***@", url)


def _split(urls: str) -> List[str]:
    return re.split(r"\s*,\s*(?=https?://|unix:)", urls.strip())


def _read(pem: Pem) -> bytes:
    if isinstance(pem, bytes):
        return pem
    if isinstance(pem, str) and "-----BEGIN" in pem:
        return pem.encode()
    with open(pem, "rb") as file:
        return file.read()

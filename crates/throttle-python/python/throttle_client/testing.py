"""A server within the process, for tests of programs that take locks.

With pytest, name this module in the `conftest.py` at the root of the tests, and say which semaphores
there are:

    pytest_plugins = ["throttle_client.testing"]

    @pytest.fixture
    def throttle_semaphores():
        return {"A": 1, "B": Semaphore(5, level=1)}

Then a test gets a server of its own by the name of its argument:

    def test_a_job_stops_when_its_lock_is_lost(throttle_server):
        with pytest.raises(LockLost):
            with lock(throttle_server.url, "A"):
                throttle_server.revoke("A")

Without pytest, `Server` does the same as a context manager:

>>> with Server({"A": 1}) as server:  # doctest: +SKIP
...     run_job(server.url)
...     assert server.holders("A") == []

The server is the one that is installed elsewhere, with all its rules, without a file and without a
process of its own. It starts in a twentieth of a second, and forgets everything at its end.

This module may be imported before pytest loads it as a plugin, hence PYTEST_DONT_REWRITE.
"""

import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Type,
    Union,
)
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from . import _native
from .client import Client

if TYPE_CHECKING:
    import pytest
else:
    try:
        import pytest
    except ImportError:
        # `Server` does without.
        pytest = None

__all__ = ["Holder", "Semaphore", "Server", "Waiter"]


@dataclass(frozen=True)
class Semaphore:
    """How much there is of a semaphore, and its place in the lock hierarchy."""

    max: int
    level: int = 0


@dataclass(frozen=True)
class Holder:
    """A peer that holds some of a semaphore."""

    peer_id: int
    count: int
    fencing_token: int
    labels: Dict[str, str]


@dataclass(frozen=True)
class Waiter:
    """A peer that waits for some of a semaphore."""

    peer_id: int
    count: int
    labels: Dict[str, str]


class Server:
    """A server on a free port of the loopback interface.

    `semaphores` says how much there is of each, as a number or as a `Semaphore`.
    """

    def __init__(self, semaphores: Mapping[str, Union[int, Semaphore]]):
        self._native = _native.TestServer(
            {
                name: (semaphore, 0)
                if isinstance(semaphore, int)
                else (semaphore.max, semaphore.level)
                for name, semaphore in semaphores.items()
            }
        )
        time.sleep(_MIN_AGE)

    def __repr__(self) -> str:
        return f"Server(url={self.url!r})"

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it is. A restart does not change it."""
        return self._native.url

    @property
    def client(self) -> Client:
        """A client of this server."""
        return Client(self.url)

    def stop(self) -> None:
        """Ends the server as a power failure does: connections break, and nothing is remembered."""
        self._native.stop()

    def start(self) -> None:
        """Starts a server that was stopped, at the same URL."""
        self._native.start()
        time.sleep(_MIN_AGE)

    def restart(self) -> None:
        """Stops the server and starts it again. It knows no peer and no lock any more."""
        self.stop()
        self.start()

    def remainder(self, semaphore: str) -> int:
        """How much of a semaphore is free."""
        return self.client.remainder(semaphore)

    def holders(self, semaphore: str) -> List[Holder]:
        """Those who hold some of a semaphore."""
        return [
            Holder(one["peer_id"], one["count"], one["fencing_token"], one["labels"])
            for one in self._get(semaphore)["held_by"]
        ]

    def waiters(self, semaphore: str) -> List[Waiter]:
        """Those who wait for some of a semaphore, in the order in which they will get it."""
        return [
            Waiter(one["peer_id"], one["count"], one["labels"])
            for one in self._get(semaphore)["queue"]
        ]

    def remove_peer(self, peer_id: int) -> bool:
        """Removes a peer with all its locks, as an operator does. Returns whether there was one."""
        return self._native.remove_peer(peer_id)

    def revoke(self, semaphore: str) -> int:
        """Removes all peers that hold some of a semaphore. Returns how many there were.

        They hear of it by their next heartbeat, or when they release the lock.
        """
        return sum(self.remove_peer(holder.peer_id) for holder in self.holders(semaphore))

    def _get(self, semaphore: str) -> Any:
        # Loopback is reached without a proxy, whatever the environment says.
        opener = build_opener(ProxyHandler({}))
        url = f"{self.url}/semaphores/{quote(semaphore, safe='')}"
        with opener.open(url, timeout=_TIMEOUT) as answer:
            return json.load(answer)


# Clients tell a removed peer from a restarted server by how long the server has been running. It has to be
# older than an answer takes, or they take a removal for a restart.
_MIN_AGE = 0.05

# The server answers at once, unless it is stopped.
_TIMEOUT = 10.0


if pytest is not None:
    __all__ += ["throttle_semaphores", "throttle_server"]

    @pytest.fixture
    def throttle_semaphores() -> Mapping[str, Union[int, Semaphore]]:
        """The semaphores of `throttle_server`. To be overridden; there are none by default."""
        return {}

    @pytest.fixture
    def throttle_server(
        throttle_semaphores: Mapping[str, Union[int, Semaphore]],
    ) -> Iterator[Server]:
        """A server that knows `throttle_semaphores`, and ends with the test."""
        with Server(throttle_semaphores) as server:
            yield server

"""A server within the process, for tests of programs that take locks.

With pytest, name this module in the `conftest.py` at the root of the tests, and define the semaphores:

    pytest_plugins = ["throttle_client.testing"]

    @pytest.fixture
    def throttle_semaphores():
        return {"A": 1, "B": Semaphore(5, level=1)}

A test that has an argument `throttle_server` then gets a server of its own:

    def test_a_job_stops_when_its_lock_is_lost(throttle_server):
        with pytest.raises(LockLost):
            with lock(throttle_server.url, "A"):
                throttle_server.revoke("A")

Without pytest, `Server` does the same as a context manager:

>>> with Server({"A": 1}) as server:  # doctest: +SKIP
...     run_job(server.url)
...     assert server.holders("A") == []

It is the real server, with all its rules, but it needs no configuration file and no process of its own. It
starts within 50 milliseconds, and keeps no state when it stops.

Its assertions need no rewriting, so pytest need not warn if it is imported before pytest loads it as a
plugin: PYTEST_DONT_REWRITE.
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
        # `Server` works without pytest.
        pytest = None

__all__ = ["Holder", "Semaphore", "Server", "Waiter"]


@dataclass(frozen=True)
class Semaphore:
    """The maximum of a semaphore, and its level in the lock hierarchy."""

    max: int
    level: int = 0


@dataclass(frozen=True)
class Holder:
    """A peer that holds a lock on a semaphore."""

    peer_id: int
    count: int
    fencing_token: int
    labels: Dict[str, str]


@dataclass(frozen=True)
class Waiter:
    """A peer that waits for a lock on a semaphore."""

    peer_id: int
    count: int
    labels: Dict[str, str]


class Server:
    """A server on a free port of the loopback interface.

    `semaphores` maps each name to a maximum or a `Semaphore`.
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
        """The URL of the server. A restart does not change it."""
        return self._native.url

    @property
    def client(self) -> Client:
        """A client of this server."""
        return Client(self.url)

    def stop(self) -> None:
        """Stops the server as a power failure does: connections break, and all state is lost."""
        self._native.stop()

    def start(self) -> None:
        """Starts the stopped server again, at the same URL."""
        self._native.start()
        time.sleep(_MIN_AGE)

    def restart(self) -> None:
        """Stops the server and starts it again, without any peers and locks."""
        self.stop()
        self.start()

    def remainder(self, semaphore: str) -> int:
        """The free count of a semaphore."""
        return self.client.remainder(semaphore)

    def holders(self, semaphore: str) -> List[Holder]:
        """The peers that hold a lock on a semaphore."""
        return [
            Holder(one["peer_id"], one["count"], one["fencing_token"], one["labels"])
            for one in self._get(semaphore)["held_by"]
        ]

    def waiters(self, semaphore: str) -> List[Waiter]:
        """The peers that wait for a lock on a semaphore, in the order of the queue."""
        return [
            Waiter(one["peer_id"], one["count"], one["labels"])
            for one in self._get(semaphore)["queue"]
        ]

    def remove_peer(self, peer_id: int) -> bool:
        """Removes a peer with all its locks, as an operator does. Returns whether there was one."""
        return self._native.remove_peer(peer_id)

    def revoke(self, semaphore: str) -> int:
        """Removes all peers that hold a lock on a semaphore. Returns how many there were.

        Their clients notice it with the next heartbeat or release.
        """
        return sum(self.remove_peer(holder.peer_id) for holder in self.holders(semaphore))

    def _get(self, semaphore: str) -> Any:
        # Ignores the proxies of the environment, because the server is on this machine.
        opener = build_opener(ProxyHandler({}))
        url = f"{self.url}/semaphores/{quote(semaphore, safe='')}"
        with opener.open(url, timeout=_TIMEOUT) as answer:
            return json.load(answer)


# How long `start` waits after the start, in seconds. A client that finds its peer unknown compares the uptime
# of the server with the time of its request: if the server is younger, it takes a removal for a restart.
_MIN_AGE = 0.05

# In seconds. A running server answers at once.
_TIMEOUT = 10.0


if pytest is not None:
    __all__ += ["throttle_semaphores", "throttle_server"]

    @pytest.fixture
    def throttle_semaphores() -> Mapping[str, Union[int, Semaphore]]:
        """The semaphores of `throttle_server`. Override it; by default there are none."""
        return {}

    @pytest.fixture
    def throttle_server(
        throttle_semaphores: Mapping[str, Union[int, Semaphore]],
    ) -> Iterator[Server]:
        """A server with `throttle_semaphores` that stops at the end of the test."""
        with Server(throttle_semaphores) as server:
            yield server

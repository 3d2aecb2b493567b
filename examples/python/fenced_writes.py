"""A worker that is paused for longer than its lease wakes up and writes, although somebody else may hold its lock.

The resource refuses that late write by the fencing token: once by comparing tokens, which is right for a mutex, and once
by asking the server, which is right for every semaphore.

Run with a server that serves a mutex `B` and a semaphore `A` of several, as `configs/throttle.toml` does:

    pip install ./crates/throttle-python
    python examples/python/fenced_writes.py http://localhost:8000
"""

import sys
import time
from typing import List, Tuple

from throttle_client import Client, Peer, lock

# In seconds. Short, so that the example is. A lease should be longer than the pauses that are expected.
LEASE = 1.0


class TooLate(Exception):
    """The write comes from a worker that has lost its lock."""


class Ledger:
    """A resource behind a mutex. It refuses a token that is smaller than the latest."""

    def __init__(self) -> None:
        self.entries: List[Tuple[int, str]] = [(0, "the beginning")]

    def write(self, token: int, entry: str) -> None:
        latest = self.entries[-1][0]
        if token < latest:
            raise TooLate(f"the token {token} is older than {latest}")
        self.entries.append((token, entry))


class Storage:
    """A resource behind a semaphore of several. It writes only for those who hold the lock at this moment."""

    def __init__(self, url: str) -> None:
        # An exception, for example because there is no answer in time, is no permission.
        self.client = Client(url, timeout=5)
        self.writes: List[str] = []

    def write(self, token: int, text: str) -> None:
        if not self.client.is_held("A", token):
            raise TooLate(f"the lock with the token {token} is not held")
        # The answer is about that moment, so the write follows at once.
        self.writes.append(text)


def paused_worker(url: str) -> Peer:
    """A peer that sends no heartbeats. It stands for a process in which nothing runs: stopped or suspended."""
    return Peer(Client(url), expiration_time=LEASE, labels={"worker": "ann"})


def take(peer: Peer, semaphore: str) -> int:
    """Takes a lock, and returns its token."""
    assert peer.acquire(semaphore, block_for=10)
    return peer.fencing_tokens[semaphore] or 0


def a_mutex(url: str) -> None:
    """One holder at a time: the latest token is the only right one."""
    print("The mutex B: the ledger compares tokens.")
    ledger = Ledger()
    ann, bob = paused_worker(url), lock(url, "B", timeout=10)

    anns = take(ann, "B")
    ledger.write(anns, "ann, in time")
    print(f"  ann has checked that she holds B ({ann.is_held()}), and is paused before her next write")

    # Bob is granted the lock when the server has heard nothing of Ann for the length of her lease.
    with bob:
        ledger.write(bob.fencing_token or 0, "bob")
        try:
            ledger.write(anns, "ann, too late")
            raise AssertionError("two workers wrote at once")
        except TooLate as error:
            print(f"  ann wakes up and writes, and is refused: {error}")
    print("  the ledger:", ledger.entries[1:])


def a_semaphore_of_several(url: str) -> None:
    """Several holders at a time: each of their tokens is right, until its lock is lost."""
    print("The semaphore A, with several holders: the storage asks the server.")
    storage = Storage(url)
    ann, bob = paused_worker(url), lock(url, "A", timeout=10)

    anns = take(ann, "A")
    with bob:
        bobs = bob.fencing_token or 0
        storage.write(bobs, "bob")
        # Bob's token is greater. Comparing tokens would shut Ann out, although she holds her lock.
        assert anns < bobs
        storage.write(anns, "ann, in time")
        print("  ann is paused before her next write, until the server has ended her lease")
        while storage.client.is_held("A", anns):
            time.sleep(LEASE / 10)

        try:
            storage.write(anns, "ann, too late")
            raise AssertionError("a worker wrote without a lock")
        except TooLate as error:
            print(f"  ann wakes up and writes, and is refused: {error}")
        storage.write(bobs, "bob")
    print("  the storage:", storage.writes)


if __name__ == "__main__":
    server_url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
    a_mutex(server_url)
    a_semaphore_of_several(server_url)

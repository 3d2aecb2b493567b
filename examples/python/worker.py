"""A worker in Python that takes its turn at a scarce resource, and knows when to stop.

Run with a server that serves a semaphore `B`, as `configs/throttle.toml` does:

    pip install ./crates/throttle-python
    python examples/python/worker.py http://localhost:8000
"""

import sys
import time
from datetime import timedelta
from typing import List, Tuple

from throttle_client import LockLost, Timeout, lock


class Ledger:
    """What the lock protects. It takes nothing from whoever comes with an older token than it knows."""

    def __init__(self) -> None:
        self.entries: List[Tuple[int, str]] = [(0, "the beginning")]

    def write(self, token: int, entry: str) -> None:
        newest = self.entries[-1][0]
        if token < newest:
            raise RuntimeError(f"token {token} is stale, {newest} was seen already")
        self.entries.append((token, entry))


def main(url: str) -> None:
    ledger = Ledger()
    guard = lock(
        url,
        "B",
        timeout=timedelta(seconds=10),
        # Should this process die, others wait for half a minute at most. Without it: five minutes.
        expiration_time=timedelta(seconds=30),
        # Whoever asks the server who holds the lock sees this, besides host, user, process and script.
        labels={"job": "ledger"},
    )
    try:
        with guard:
            for step in range(3):
                # In steps, so that it can stop between them. The heartbeat needs no help.
                if guard.lost.is_set():
                    break
                ledger.write(guard.fencing_token or 0, f"step {step}")
                time.sleep(0.05)
    except Timeout:
        print("not today: somebody else has it")
    except LockLost as error:
        # Leaving the block tells it, however the loop has ended.
        print(f"stopped: {error}")
    for token, entry in ledger.entries:
        print(token, entry)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000")

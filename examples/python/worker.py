"""A worker in Python that writes to a resource only while it holds a lock, and stops if the lock is lost.

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
    """The resource that the lock protects. It rejects writes with an older token than the newest so far."""

    def __init__(self) -> None:
        self.entries: List[Tuple[int, str]] = [(0, "the beginning")]

    def write(self, token: int, entry: str) -> None:
        newest = self.entries[-1][0]
        if token < newest:
            raise RuntimeError(f"token {token} is older than {newest}")
        self.entries.append((token, entry))


def main(url: str) -> None:
    ledger = Ledger()
    guard = lock(
        url,
        "B",
        timeout=timedelta(seconds=10),
        # If this process dies, others wait for half a minute at most. The default is five minutes.
        expiration_time=timedelta(seconds=30),
        # The server shows this label of the holder, besides host, user, process and script.
        labels={"job": "ledger"},
    )
    try:
        with guard:
            for step in range(3):
                # In steps, so that the worker can stop between them. Heartbeats are sent in the background.
                if guard.lost.is_set():
                    break
                ledger.write(guard.fencing_token or 0, f"step {step}")
                time.sleep(0.05)
    except Timeout:
        print("another worker holds the lock")
    except LockLost as error:
        # The end of the block raises it, whether the loop noticed the loss or not.
        print(f"stopped: {error}")
    for token, entry in ledger.entries:
        print(token, entry)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000")

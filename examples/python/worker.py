"""A worker in Python that takes its turn at a scarce resource, and knows when to stop.

Run with a server that serves a semaphore `B`, as `configs/throttle.toml` does:

    pip install ./crates/throttle-python
    python examples/python/worker.py http://localhost:8000
"""

import sys
import time
from datetime import timedelta

from throttle_client import PeerWithHeartbeat, Client, Timeout, lock, set_local_peer


class Ledger:
    """What the lock protects. It takes nothing from whoever comes with an older token than it knows."""

    def __init__(self):
        self.entries = [(0, "the beginning")]

    def write(self, token: int, entry: str):
        newest = self.entries[-1][0]
        if token < newest:
            raise RuntimeError(f"token {token} is stale, {newest} was seen already")
        self.entries.append((token, entry))


def main(url: str):
    ledger = Ledger()
    # Should this process die, others wait for half a minute at most. Without it: five minutes.
    lease = timedelta(seconds=30)
    set_local_peer(url, PeerWithHeartbeat(Client(url), expiration_time=lease))

    guard = lock(url, "B", timeout=timedelta(seconds=10))
    try:
        with guard:
            for step in range(3):
                # In steps, so that it can stop between them. The heartbeat needs no help.
                if guard.lost.is_set():
                    raise RuntimeError(f"stopped: {guard.lost.reason}")
                ledger.write(guard.fencing_token or 0, f"step {step}")
                time.sleep(0.05)
    except Timeout:
        print("not today: somebody else has it")
        return
    for token, entry in ledger.entries:
        print(token, entry)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000")

"""Ten tasks of one event loop that share a semaphore with room for some of them.

Run with a server that serves a semaphore `A`, as `configs/throttle.toml` does:

    pip install ./crates/throttle-python
    python examples/python/async_worker.py http://localhost:8000
"""

import asyncio
import sys
from typing import Set

from throttle_client import aio


async def worker(guard: aio.Lock, number: int, inside: Set[int]) -> None:
    # To cancel the task would take it out of the queue.
    async with guard:
        inside.add(number)
        print(f"worker {number} works with token {guard.fencing_token}, {len(inside)} are in")
        await asyncio.sleep(0.02)
        inside.remove(number)


async def main(url: str) -> None:
    # One for all of them: each task that enters it has a lock of its own. Should one of those be lost, the
    # task that has it is cancelled, and its block raises `LockLost`.
    guard = aio.lock(url, "A", count=20, timeout=60, cancel_on_lost=True)
    inside: Set[int] = set()
    await asyncio.gather(*(worker(guard, number, inside) for number in range(10)))
    print("all are done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"))

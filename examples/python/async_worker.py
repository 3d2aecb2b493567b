"""Ten tasks of one event loop that share a semaphore, which admits some of them at a time.

Run with a server that serves a semaphore `A`, as `configs/throttle.toml` does:

    pip install ./crates/throttle-python
    python examples/python/async_worker.py http://localhost:8000
"""

import asyncio
import sys
from typing import Set

from throttle_client import aio


async def worker(guard: aio.Lock, number: int, inside: Set[int]) -> None:
    # If the task is cancelled while it waits, it leaves the queue.
    async with guard:
        inside.add(number)
        print(f"worker {number} works with token {guard.fencing_token}, {len(inside)} are inside")
        await asyncio.sleep(0.02)
        inside.remove(number)


async def main(url: str) -> None:
    # One object for all tasks: each task that enters it holds a lock of its own. If that lock is lost, the task
    # is cancelled, and its block raises `LockLost`.
    guard = aio.lock(url, "A", count=20, timeout=60, cancel_on_lost=True)
    inside: Set[int] = set()
    await asyncio.gather(*(worker(guard, number, inside) for number in range(10)))
    print("all are done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"))

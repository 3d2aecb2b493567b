"""Takes a lock with `throttle_client.aio.lock`, as the other workers do with their clients.

The arguments are the URL, the semaphores (each is taken within those before), the lease, the longest wait
(or `forever`), and how often.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

from throttle_client import LockLost, Refused, Timeout, Unreachable, aio

# Whether there is more to come on the standard input.
more = True


def say(*words):
    print(*words, flush=True)


def wait_for_a_line():
    global more
    more = sys.stdin.readline() != ""


async def work(url, semaphores, lease, wait):
    say("requesting")
    *outer, name = semaphores.split(",")
    try:
        async with AsyncExitStack() as stack:
            peer = None
            for semaphore in outer:
                guard = aio.lock(url, semaphore, timeout=wait, expiration_time=lease, peer=peer)
                await stack.enter_async_context(guard)
                peer = guard.peer
            guard = aio.lock(
                url,
                name,
                timeout=wait,
                expiration_time=lease,
                peer=peer,
                on_lost=lambda reason: say("noticed"),
            )
            await stack.enter_async_context(guard)
            say("held", guard.fencing_token)
            await asyncio.to_thread(wait_for_a_line)
    except LockLost as error:
        return "lost", error
    except Refused as error:
        return "refused", f"{error.code} {error}"
    # Before `Timeout`: silence until the time is over is both.
    except Unreachable as error:
        return "unreachable", error
    except Timeout as error:
        return "timeout", error
    except Exception as error:
        return "failed", f"{type(error).__name__} {error}"
    return ("released",)


async def main(url, semaphores, lease, wait, rounds):
    span = timedelta(seconds=float(lease.rstrip("s")))
    for _ in range(int(rounds)):
        if not more:
            break
        end = await work(url, semaphores, span, None if wait == "forever" else float(wait.rstrip("s")))
        say(" ".join(" ".join(str(word) for word in end).split()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""The worker that uses `throttle_client.aio.lock`. The protocol is described in `client_kind.rs`.

The arguments are the URL, the semaphores (nested, the outermost first), the lease, the longest wait (or
`forever`), and the number of rounds.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

from throttle_client import LockLost, Refused, Timeout, Unreachable, aio

# Whether the standard input is still open.
is_open = True


def say(*words):
    print(*words, flush=True)


def wait_for_a_line():
    global is_open
    is_open = sys.stdin.readline() != ""


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
    # Before `Timeout`, because `NoAnswer` is both.
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
        if not is_open:
            break
        outcome = await work(url, semaphores, span, None if wait == "forever" else float(wait.rstrip("s")))
        say(" ".join(" ".join(str(word) for word in outcome).split()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

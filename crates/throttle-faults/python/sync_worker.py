"""Takes a lock with `throttle_client.lock`, as the other workers do with their clients.

The arguments are the URL, the semaphores (each is taken within those before), the lease, the longest wait
(or `forever`), and how often.
"""

import sys
from contextlib import ExitStack
from datetime import timedelta

from throttle_client import LockLost, Refused, Timeout, Unreachable, lock

# Whether there is more to come on the standard input.
more = True


def say(*words):
    print(*words, flush=True)


def wait_for_a_line():
    global more
    more = sys.stdin.readline() != ""


def work(url, semaphores, lease, wait):
    say("requesting")
    *outer, name = semaphores.split(",")
    options = {"timeout": wait, "expiration_time": lease}
    guard = lock(url, name, on_lost=lambda reason: say("noticed"), **options)
    try:
        with ExitStack() as stack:
            for semaphore in outer:
                stack.enter_context(lock(url, semaphore, **options))
            stack.enter_context(guard)
            say("held", guard.fencing_token)
            wait_for_a_line()
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


def main(url, semaphores, lease, wait, rounds):
    span = timedelta(seconds=float(lease.rstrip("s")))
    for _ in range(int(rounds)):
        if not more:
            break
        end = work(url, semaphores, span, None if wait == "forever" else float(wait.rstrip("s")))
        say(" ".join(" ".join(str(word) for word in end).split()))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Time limits of the caller are kept, whatever the server does."""

import asyncio
import math
import signal

from datetime import timedelta

import pytest
from conftest import end, peers, within
from server import LONG, spawn
from throttle_client import NoAnswer, Timeout, Unreachable, aio, lock

# The limit for operations that must not wait for a silent server, in seconds.
SOON = 5


def nothing(_):
    pass


def test_a_timeout_is_a_timeout_error(serve, hold):
    server = serve()
    with lock(server.url, "A"):
        with pytest.raises(TimeoutError, match="A"), within(SOON):
            spawn(hold, nothing, server.url, "A", timeout=0.5).result()
    assert issubclass(Timeout, TimeoutError)


def test_a_timeout_is_kept_while_no_server_listens(dead_url, hold):
    with pytest.raises(Unreachable, match="refused") as error, within(SOON):
        hold(nothing, dead_url, "A", timeout=0.3)
    assert dead_url in str(error.value) and "A" in str(error.value)


def test_a_timeout_of_zero_sends_one_request_and_reports_the_cause(dead_url, hold):
    with pytest.raises(Unreachable, match="refused"), within(2 * SOON):
        hold(nothing, dead_url, "A", timeout=0)


def test_a_timeout_is_kept_while_the_server_is_silent(serve, hold):
    server = serve()
    server.suspend()
    with pytest.raises(Unreachable), within(SOON):
        hold(nothing, server.url, "A", timeout=0.3)


def test_a_timeout_is_kept_if_the_server_becomes_silent_during_the_wait(serve, hold):
    server = serve()
    with lock(server.url, "A"):
        waiting = spawn(hold, nothing, server.url, "A", timeout=1)
        server.await_pending("A", 1)
        server.suspend()
        with pytest.raises((Timeout, Unreachable)), within(SOON):
            waiting.result(timeout=LONG)
        server.resume()


def test_a_timeout_of_a_request_is_kept(dead_url):
    from throttle_client import Client

    with pytest.raises(Unreachable), within(SOON):
        Client(dead_url, timeout=0.3).remainder("A")


@pytest.mark.parametrize("timeout", [math.nan, -1, -0.001, timedelta(seconds=-1)])
def test_an_invalid_timeout_is_refused(dead_url, hold, timeout):
    with pytest.raises(ValueError, match="timeout"), within(SOON):
        hold(nothing, dead_url, "A", timeout=timeout)


@pytest.mark.parametrize("lease", [math.nan, -1, 0])
def test_an_invalid_lease_is_refused(dead_url, hold, lease):
    with pytest.raises(ValueError, match="expiration_time"), within(SOON):
        hold(nothing, dead_url, "A", timeout=0, expiration_time=lease)


@pytest.mark.parametrize("timeout", [math.inf, 1e300, timedelta.max])
def test_a_timeout_may_be_longer_than_any_clock_can_measure(serve, hold, timeout):
    server = serve()
    hold(nothing, server.url, "A", timeout=timeout)
    assert peers(server) == []


def test_a_silent_server_does_not_delay_an_exception_for_long(serve, hold):
    server = serve()

    def fail(_):
        server.suspend()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), within(SOON):
        hold(fail, server.url, "A")


def test_a_silent_server_does_not_delay_a_cancelled_task_for_long(serve):
    server = serve()

    async def work():
        inside = asyncio.Event()

        async def stay():
            async with aio.lock(server.url, "A"):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(stay())
        await inside.wait()
        server.suspend()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with within(SOON):
        asyncio.run(work())


# Prints when it holds the lock, and holds it for a minute.
SLOW_HOLDER = """
import signal, sys, time
from throttle_client import lock
# A shell that runs the tests in the background makes them ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with lock(sys.argv[1], "A"):
        print("held", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_leaves_the_block_although_the_server_is_silent(serve, program):
    server = serve()
    holder = program(SLOW_HOLDER, server.url)
    assert holder.stdout.readline() == "held\n"
    server.suspend()
    with within(SOON):
        holder.send_signal(signal.SIGINT)
        assert end(holder)[:2] == (0, "interrupted")


def test_an_interrupt_ends_the_wait_although_the_server_is_silent(serve, program):
    server = serve()
    with lock(server.url, "A"):
        waiting = program(SLOW_HOLDER, server.url)
        server.await_pending("A", 1)
        server.suspend()
        with within(SOON):
            waiting.send_signal(signal.SIGINT)
            assert end(waiting)[:2] == (0, "interrupted")
        server.resume()


# Eight threads hold a lock when the program ends.
MANY_HOLDERS = """
import sys
from threading import Event, Semaphore, Thread
from throttle_client import lock

held = Semaphore(0)

def work():
    with lock(sys.argv[1], "A"):
        held.release()
        Event().wait()

for _ in range(8):
    Thread(target=work, daemon=True).start()
for _ in range(8):
    held.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_program_with_many_peers_ends_within_one_time_limit(serve, program):
    server = serve("A = 8")
    holders = program(MANY_HOLDERS, server.url)
    assert holders.stdout.readline() == "held\n"
    server.suspend()
    with within(SOON):
        # `end` closes its input, which it waits for.
        assert end(holders)[0] == 0


def test_a_program_with_many_peers_releases_all_their_locks_at_exit(serve, program):
    server = serve("A = 8")
    holders = program(MANY_HOLDERS, server.url)
    assert holders.stdout.readline() == "held\n"
    assert len(peers(server)) == 8
    assert end(holders)[0] == 0
    assert peers(server) == []


def test_silence_until_the_timeout_raises_an_error_of_both_kinds(serve, hold):
    server = serve()
    server.suspend()
    with pytest.raises(NoAnswer) as error:
        hold(nothing, server.url, "A", timeout=0.2)
    assert isinstance(error.value, Unreachable) and isinstance(error.value, Timeout)
    # `acquire` does not return `False`, because whether the lock was free is unknown.
    with pytest.raises(NoAnswer):
        lock(server.url, "A").acquire(timeout=0.2)

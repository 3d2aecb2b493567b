"""How long the package waits: as long as the caller says, whatever the server does."""

import asyncio
import math
import signal

from datetime import timedelta

import pytest
from conftest import end, peers, within
from server import LONG, spawn
from throttle_client import NoAnswer, Timeout, Unreachable, aio, lock

# For what must not wait for a server that does not answer.
SOON = 5


def nothing(_):
    pass


def test_a_timeout_is_a_timeout_error(serve, hold):
    server = serve()
    with lock(server.url, "A"):
        with pytest.raises(TimeoutError, match="A"), within(SOON):
            spawn(hold, nothing, server.url, "A", timeout=0.5).result()
    assert issubclass(Timeout, TimeoutError)


def test_a_timeout_is_kept_while_nobody_listens(nobody, hold):
    with pytest.raises(Unreachable, match="refused") as error, within(SOON):
        hold(nothing, nobody, "A", timeout=0.3)
    assert nobody in str(error.value) and "A" in str(error.value)


def test_a_timeout_of_zero_asks_once_and_names_the_cause(nobody, hold):
    with pytest.raises(Unreachable, match="refused"), within(2 * SOON):
        hold(nothing, nobody, "A", timeout=0)


def test_a_timeout_is_kept_while_the_server_says_nothing(serve, hold):
    server = serve()
    server.suspend()
    with pytest.raises(Unreachable), within(SOON):
        hold(nothing, server.url, "A", timeout=0.3)


def test_a_timeout_is_kept_when_the_server_falls_silent_during_the_wait(serve, hold):
    server = serve()
    with lock(server.url, "A"):
        waiting = spawn(hold, nothing, server.url, "A", timeout=1)
        server.await_pending("A", 1)
        server.suspend()
        with pytest.raises((Timeout, Unreachable)), within(SOON):
            waiting.result(timeout=LONG)
        server.resume()


def test_a_timeout_of_a_request_is_kept(nobody):
    from throttle_client import Client

    with pytest.raises(Unreachable), within(SOON):
        Client(nobody, timeout=0.3).remainder("A")


@pytest.mark.parametrize("timeout", [math.nan, -1, -0.001, timedelta(seconds=-1)])
def test_a_timeout_that_is_no_time_is_refused(nobody, hold, timeout):
    with pytest.raises(ValueError, match="timeout"), within(SOON):
        hold(nothing, nobody, "A", timeout=timeout)


@pytest.mark.parametrize("lease", [math.nan, -1, 0])
def test_a_lease_that_is_no_time_is_refused(nobody, hold, lease):
    with pytest.raises(ValueError, match="expiration_time"), within(SOON):
        hold(nothing, nobody, "A", timeout=0, expiration_time=lease)


@pytest.mark.parametrize("timeout", [math.inf, 1e300, timedelta.max])
def test_a_timeout_may_be_longer_than_anybody_waits(serve, hold, timeout):
    server = serve()
    hold(nothing, server.url, "A", timeout=timeout)
    assert peers(server) == []


def test_an_exception_is_not_held_up_by_a_server_that_says_nothing(serve, hold):
    server = serve()

    def fail(_):
        server.suspend()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), within(SOON):
        hold(fail, server.url, "A")


def test_a_cancelled_task_is_not_held_up_by_a_server_that_says_nothing(serve):
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


# Tells when it holds the lock, and is in no hurry.
PATIENT = """
import signal, sys, time
from throttle_client import lock
# Whoever runs the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with lock(sys.argv[1], "A"):
        print("held", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_leaves_the_block_of_a_server_that_says_nothing(serve, program):
    server = serve()
    holder = program(PATIENT, server.url)
    assert holder.stdout.readline() == "held\n"
    server.suspend()
    with within(SOON):
        holder.send_signal(signal.SIGINT)
        assert end(holder)[:2] == (0, "interrupted")


def test_an_interrupt_ends_the_wait_for_a_server_that_says_nothing(serve, program):
    server = serve()
    with lock(server.url, "A"):
        waiting = program(PATIENT, server.url)
        server.await_pending("A", 1)
        server.suspend()
        with within(SOON):
            waiting.send_signal(signal.SIGINT)
            assert end(waiting)[:2] == (0, "interrupted")
        server.resume()


# Many threads that hold a lock when the program ends.
CROWD = """
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


def test_a_program_with_many_peers_ends_in_one_bounded_time(serve, program):
    server = serve("A = 8")
    crowd = program(CROWD, server.url)
    assert crowd.stdout.readline() == "held\n"
    server.suspend()
    with within(SOON):
        # The end of its input is what it waits for.
        assert end(crowd)[0] == 0


def test_a_program_with_many_peers_gives_back_all_of_them(serve, program):
    server = serve("A = 8")
    crowd = program(CROWD, server.url)
    assert crowd.stdout.readline() == "held\n"
    assert len(peers(server)) == 8
    assert end(crowd)[0] == 0
    assert peers(server) == []


def test_silence_until_the_end_of_the_time_is_both_a_timeout_and_no_answer(serve, hold):
    server = serve()
    server.suspend()
    with pytest.raises(NoAnswer) as error:
        hold(nothing, server.url, "A", timeout=0.2)
    assert isinstance(error.value, Unreachable) and isinstance(error.value, Timeout)
    # That it was not free is more than anybody knows.
    with pytest.raises(NoAnswer):
        lock(server.url, "A").acquire(timeout=0.2)

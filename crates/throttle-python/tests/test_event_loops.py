"""Third-party event loops: gevent, eventlet and uvloop."""

import asyncio
import gc
import os

import pytest
from conftest import end, need, peers
from server import LONG, eventually
from throttle_client import LockLost, Timeout, aio

# Two greenlets compete for a mutex, a third times out, and a fourth proves that waits block no others.
GREENLETS = """
import sys
from {package} import {start}, sleep
from throttle_client import Timeout, lock

steps = []
ticks = 0

def tick():
    global ticks
    while True:
        sleep(0.01)
        ticks += 1

def work(name):
    with lock(sys.argv[1], "C"):
        steps.append(name)
        sleep(1)
        steps.append(name)

def give_up():
    try:
        with lock(sys.argv[1], "C", timeout=0.5):
            pass
    except Timeout:
        steps.append("timeout")

{start}(tick)
workers = [{start}(work, name) for name in ("first", "second")]
sleep(0.05)
timing_out = {start}(give_up)
for greenlet in [*workers, timing_out]:
    greenlet.{join}()
assert ticks > 30, ticks
print(*steps)
"""
LIBRARIES = {
    "gevent": ("from gevent import monkey; monkey.patch_all()", "spawn", "join"),
    "eventlet": ("import eventlet; eventlet.monkey_patch()", "spawn", "wait"),
}
each = pytest.mark.parametrize("package", LIBRARIES)


def patched(package: str, source: str) -> str:
    need(package)
    patch, start, join = LIBRARIES[package]
    # The patch comes before all other imports, as both packages require.
    return patch + "\n" + source.format(package=package, start=start, join=join)


@each
def test_greenlets_exclude_each_other(serve, program, package):
    server = serve("C = 1")
    code, printed, errors = end(program(patched(package, GREENLETS), server.url))
    assert code == 0, errors
    assert printed in (
        "first timeout first second second",
        "second timeout second first first",
    )
    assert peers(server) == []


LOSS = """
import sys
from {package} import {start}, sleep
from throttle_client import LockLost, lock

losses = []

def work():
    guard = lock(sys.argv[1], "C", expiration_time=1, on_lost=losses.append)
    try:
        with guard:
            print("held", flush=True)
            assert guard.lost.wait(20)
    except LockLost:
        print("lost", flush=True)

{start}(work).{join}()
for _ in range(500):
    if not losses:
        sleep(0.01)
assert losses
"""


@each
def test_greenlets_notice_a_loss(serve, program, package):
    server = serve("C = 1")
    process = program(patched(package, LOSS), server.url)
    assert process.stdout.readline() == "held\n"
    server.kill()
    code, printed, errors = end(process)
    assert (code, printed) == (0, "lost"), errors


FORK = """
import os, sys
from {package} import {start}, sleep
from throttle_client import lock

with lock(sys.argv[1], "C"):
    pass
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        def work():
            with lock(sys.argv[1], "C"):
                sleep(0.05)
        for greenlet in [{start}(work) for _ in range(3)]:
            greenlet.{join}()
        os._exit(0)
    children.append(child)
for child in children:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
print("done")
"""


@each
def test_greenlets_of_forked_workers_exclude_each_other(serve, program, package):
    server = serve("C = 1")
    code, printed, errors = end(program(patched(package, FORK), server.url))
    assert (code, printed) == (0, "done"), errors
    assert peers(server) == []


def uvloop_run(work):
    uvloop = pytest.importorskip("uvloop")
    return uvloop.run(asyncio.wait_for(work, LONG))


def test_tasks_of_uvloop_exclude_each_other(serve):
    server = serve()
    inside, most = 0, 0

    async def visit():
        nonlocal inside, most
        async with aio.lock(server.url, "A"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    async def work():
        await asyncio.gather(*(visit() for _ in range(10)))
        async with aio.lock(server.url, "A"):
            with pytest.raises(Timeout):
                async with aio.lock(server.url, "A", timeout=0.5):
                    pass
            waiting = asyncio.ensure_future(aio.lock(server.url, "A").__aenter__())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    uvloop_run(work())
    assert most == 1
    assert peers(server) == []


def test_tasks_of_uvloop_notice_a_loss(serve):
    server = serve()

    async def work():
        with pytest.raises(LockLost):
            async with aio.lock(server.url, "A", expiration_time=1) as guard:
                server.kill()
                await guard.lost

    uvloop_run(work())


def test_many_event_loops_in_a_row_can_take_locks(serve):
    server = serve()

    async def once():
        async with aio.lock(server.url, "A") as guard:
            return guard.fencing_token

    tokens = [asyncio.run(once()) for _ in range(10)]
    assert tokens == sorted(set(tokens))


def test_a_loop_in_debug_mode_logs_no_warning(serve, caplog):
    server = serve()

    async def work():
        async with aio.lock(server.url, "A"):
            pass

    asyncio.run(work(), debug=True)
    assert [record for record in caplog.records if record.name == "asyncio"
            and record.levelname != "DEBUG"] == []


def test_a_loop_that_is_closed_during_a_wait_leaks_nothing(serve):
    server = serve("A = 20")

    async def leave_a_lock():
        await aio.lock(server.url, "A", on_lost=print).acquire()

    def count() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    asyncio.run(leave_a_lock())
    eventually(lambda: server.client.remainder("A") == 20)
    before = count()
    for _ in range(10):
        asyncio.run(leave_a_lock())
    assert count() < before + 10
    eventually(lambda: server.client.remainder("A") == 20)

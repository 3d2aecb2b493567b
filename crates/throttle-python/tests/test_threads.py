"""The number of threads: waits need none of their own, and block no others."""

import asyncio
import os
import sys

import pytest
from conftest import end, run
from server import LONG
from throttle_client import aio


def test_the_release_of_a_task_needs_no_thread_of_the_executor(serve, program):
    server = serve()
    source = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from throttle_client import aio, lock

def work():
    with lock(sys.argv[1], "A"):
        return "held"

async def main():
    # The only thread of the executor waits for the lock that this task holds.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    async with aio.lock(sys.argv[1], "A"):
        waiting = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.sleep(0)
    print(await waiting)

asyncio.run(main())
"""
    assert end(program(source, server.url)) == (0, "held", "")


def test_locks_are_acquired_and_released_while_the_executor_is_full(serve, program):
    server = serve("A = 3")
    source = """
import asyncio, sys, threading
from concurrent.futures import ThreadPoolExecutor
from throttle_client import aio

async def task():
    async with aio.lock(sys.argv[1], "A") as guard:
        assert guard.is_held()

async def main():
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
    release = threading.Event()
    busy = [asyncio.create_task(asyncio.to_thread(release.wait)) for _ in range(8)]
    await asyncio.gather(*(task() for _ in range(14)))
    release.set()
    await asyncio.gather(*busy)
    print("done")

asyncio.run(main())
"""
    assert end(program(source, server.url)) == (0, "done", "")
    assert server.client.remainder("A") == 3


def test_an_invalid_url_does_not_disturb_other_threads(serve, program):
    server = serve()
    source = """
import sys, threading
from throttle_client import Client

def right():
    for _ in range(50):
        Client(sys.argv[1]).remainder("A")

def wrong(number):
    for round in range(200):
        try:
            Client(f"ftp://{number}.{round}").remainder("A")
        except ValueError:
            continue
        raise SystemExit("an invalid URL was accepted")

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=right) for _ in range(4)]
threads += [threading.Thread(target=wrong, args=[number]) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""
    assert end(program(source, server.url)) == (0, "done", "")


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists threads in /proc")
def test_many_tasks_need_few_threads(serve):
    server = serve("A = 1000")
    before = threads()
    most = 0

    async def task(losses, arrived, all_are_inside):
        nonlocal most
        async with aio.lock(server.url, "A", on_lost=losses.append):
            arrived.release()
            await all_are_inside.wait()
            most = max(most, threads())

    async def work():
        arrived, all_are_inside = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.ensure_future(task([], arrived, all_are_inside)) for _ in range(300)]
        for _ in tasks:
            await arrived.acquire()
        all_are_inside.set()
        await asyncio.gather(*tasks)

    run(work())
    assert most - before < 16


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists threads in /proc")
def test_many_losses_need_few_threads(serve):
    server = serve("A = 1000")
    before = threads()
    counts = []

    async def task(arrived, end):
        with pytest.raises(Exception, match="A"):
            async with aio.lock(
                server.url, "A", expiration_time=2, on_lost=lambda _: counts.append(threads())
            ):
                arrived.release()
                await end.wait()

    async def work():
        arrived, end = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.ensure_future(task(arrived, end)) for _ in range(100)]
        for _ in tasks:
            await arrived.acquire()
        server.kill()
        while len(counts) < len(tasks):
            await asyncio.sleep(0.01)
        end.set()
        await asyncio.wait_for(asyncio.gather(*tasks), LONG)

    run(work())
    assert max(counts) - before < 16


# From Python 3.12 on, an interpreter that is shutting down raises this error.
WITHOUT_THREADS = """
import sys, threading
from throttle_client import lock

def refuse(_):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
with lock(sys.argv[1], "A", on_lost=print) as peer:
    print(peer.is_held())
"""


def test_locks_work_if_no_thread_can_be_started(serve, program):
    server = serve()
    assert end(program(WITHOUT_THREADS, server.url)) == (0, "True", "")
    assert server.client.remainder("A") == 1

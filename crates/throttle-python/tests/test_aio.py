"""Locks of tasks in an event loop."""

import asyncio
import gc
import json
import time
from contextlib import suppress
from datetime import timedelta
from urllib.request import urlopen

import pytest
from conftest import end
from server import LONG, eventually
from test_alive import CONTENDER
from throttle_client import LockLost, PeerWithHeartbeat, Refused, Timeout, aio, lock

LEASE = timedelta(seconds=1)


async def remainder(server, name="A"):
    return await asyncio.to_thread(server.client.remainder, name)


async def pending(server, count):
    while await asyncio.to_thread(server.pending, "A") != count:
        pass


def peers(server):
    with urlopen(f"{server.url}/peers/") as answer:
        return json.load(answer)


def run(work):
    """Runs a coroutine to its end. Fails if it hangs."""
    return asyncio.run(asyncio.wait_for(work, LONG))


def test_a_lock_is_held_within_its_block(serve):
    server = serve("A = 5")

    async def work():
        async with aio.lock(server.url, "A", count=3) as guard:
            assert guard.is_held() and guard.fencing_token > 0 and not guard.lost.is_set()
            assert await remainder(server) == 2
        assert not guard.is_held()
        assert await remainder(server) == 5

    run(work())


def test_tasks_wait_without_blocking_the_loop_and_are_served_in_order(serve):
    server = serve()
    served = []

    async def task(number):
        async with aio.lock(server.url, "A"):
            served.append(number)

    async def work():
        async with aio.lock(server.url, "A"):
            tasks = []
            for number in range(3):
                tasks.append(asyncio.ensure_future(task(number)))
                await pending(server, number + 1)
            assert served == []
        await asyncio.gather(*tasks)

    run(work())
    assert served == [0, 1, 2]


def test_a_cancelled_task_leaves_the_queue(serve):
    server = serve()

    async def work():
        async with aio.lock(server.url, "A"):
            waiting = asyncio.ensure_future(aio.lock(server.url, "A").__aenter__())
            await pending(server, 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await pending(server, 0)
            with pytest.raises(Timeout):
                async with aio.lock(server.url, "A", timeout=0.5):
                    pass
            await pending(server, 0)
        assert await remainder(server) == 1

    run(work())


def test_a_task_that_is_cancelled_during_the_grant_leaves_no_lock_behind(serve):
    server = serve()

    async def work():
        outcomes = set()
        for round in range(60):
            holding, waiting = aio.lock(server.url, "A"), aio.lock(server.url, "A")
            await holding.acquire()
            entering = asyncio.ensure_future(waiting.__aenter__())
            await pending(server, 1)
            releasing = asyncio.ensure_future(holding.release())
            # Cancels the task at a different point each time: before, during and after the grant.
            if round % 2:
                await releasing
            for _ in range(3 * round):
                await asyncio.sleep(0)
            entering.cancel()
            await releasing
            try:
                await (await entering).__aexit__(None, None, None)
                outcomes.add("acquired")
            except asyncio.CancelledError:
                outcomes.add("cancelled")
            assert await remainder(server) == 1
            assert await asyncio.to_thread(peers, server) == []
        assert "cancelled" in outcomes

    run(work())


def test_a_task_that_is_cancelled_at_any_step_leaves_nothing_behind(serve):
    server = serve()

    async def enter_and_leave():
        async with aio.lock(server.url, "A"):
            pass

    async def work():
        for round in range(60):
            task = asyncio.ensure_future(enter_and_leave())
            for _ in range(4 * round):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            # A release may still be under way.
            while await asyncio.to_thread(peers, server) != []:
                pass

    run(work())


def test_a_blocked_loop_does_not_lose_the_lock(serve, program):
    server = serve()

    async def work():
        async with aio.lock(server.url, "A", expiration_time=LEASE) as guard:
            contender = program(CONTENDER, server.url, "2.5")
            await pending(server, 1)
            # Blocks the event loop, as a careless program does.
            time.sleep(3 * LEASE.total_seconds())
            assert not guard.lost.is_set()
            assert end(contender) == (0, "timeout", "")

    run(work())


def test_on_lost_is_called_in_the_event_loop(serve):
    server = serve()

    async def work():
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(LockLost, match="unreachable"):
            async with aio.lock(
                server.url, "A", expiration_time=LEASE, on_lost=future.set_result
            ) as guard:
                server.kill()
                assert "unreachable" in await future
                assert guard.lost.is_set()

    run(work())


def test_a_program_can_end_right_after_its_last_answer(serve, program):
    server = serve("A = 8")
    source = """
import asyncio, sys
from throttle_client import aio

async def task():
    async with aio.lock(sys.argv[1], "A"):
        pass

async def main():
    await asyncio.gather(*(task() for _ in range(8)))

asyncio.run(main())
"""
    # Many programs, because few of them end while a native thread is just delivering its result.
    for _ in range(5):
        programs = [program(source, server.url) for _ in range(8)]
        assert [end(one) for one in programs] == [(0, "", "")] * 8
    assert server.client.remainder("A") == 8


def test_locks_of_one_peer_are_nested(serve):
    server = serve("A = { max = 1, level = 1 }\nB = 1")

    async def work():
        peer = await asyncio.to_thread(PeerWithHeartbeat, server.client)
        async with aio.lock(server.url, "B", peer=peer):
            with pytest.raises(Refused, match="violation"):
                async with aio.lock(server.url, "A", peer=peer):
                    pass
            assert await remainder(server, "B") == 0
        async with aio.lock(server.url, "A", peer=peer):
            with pytest.raises(Refused, match="already"):
                async with aio.lock(server.url, "A", peer=peer):
                    pass
            async with aio.lock(server.url, "B", peer=peer):
                assert await remainder(server, "B") == 0
            assert await remainder(server, "A") == 0

    run(work())
    with lock(server.url, "A"):
        pass


def test_a_task_that_is_cancelled_twice_leaves_no_peer_while_its_exception_is_kept(serve):
    server = serve()

    async def wait():
        async with aio.lock(server.url, "A"):
            pass

    async def work():
        async with aio.lock(server.url, "A"):
            tasks = [asyncio.ensure_future(wait()) for _ in range(5)]
            await pending(server, 5)
            for task in tasks:
                task.cancel()
            # The tasks have begun to leave the queue, but have not finished.
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            exceptions = await asyncio.gather(*tasks, return_exceptions=True)
            while len(await asyncio.to_thread(peers, server)) > 1:
                pass
        assert len(exceptions) == 5

    run(work())
    assert peers(server) == []


@pytest.mark.parametrize("is_held", [True, False])
def test_a_task_whose_loop_is_closed_leaves_nothing_behind(serve, is_held):
    server = serve()
    guard = aio.lock(server.url, "A")
    other = lock(server.url, "A")
    loop = asyncio.new_event_loop()

    async def stay():
        async with guard:
            await asyncio.Event().wait()

    async def begin():
        task = asyncio.ensure_future(stay())
        # Suppresses the warning of asyncio, because the task is abandoned on purpose.
        task._log_destroy_pending = False
        if is_held:
            while not guard.locked():
                await asyncio.sleep(0)
        else:
            await pending(server, 1)

    if not is_held:
        other.acquire()
    loop.run_until_complete(asyncio.wait_for(begin(), LONG))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    del loop
    gc.collect()
    eventually(lambda: server.pending("A") == 0)
    if not is_held:
        other.release()
    eventually(lambda: peers(server) == [])

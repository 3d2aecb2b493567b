"""One lock object in several threads or tasks at a time: each entry holds a lock of its own."""

import asyncio
import signal
import threading

import pytest
from conftest import holders, peers, run
from server import LONG, spawn
from throttle_client import Timeout, aio, get_local_peer, lock


class Visit:
    """Events of a thread or a task: it is inside its block, and it may leave."""

    def __init__(self, event):
        self.inside, self.may_leave = event(), event()


def test_threads_that_share_a_lock_object_release_their_own_lock(serve):
    server = serve("A = 5")
    guard = lock(server.url, "A")
    first, second = Visit(threading.Event), Visit(threading.Event)

    def stay(visit):
        with guard as peer:
            visit.inside.set()
            assert visit.may_leave.wait(LONG)
            return peer.id, guard.fencing_token, guard.is_held()

    futures = []
    for visit in (first, second):
        futures.append(spawn(stay, visit))
        assert visit.inside.wait(LONG)
    assert server.client.remainder("A") == 3

    first.may_leave.set()
    first_id, first_token, first_held = futures[0].result(timeout=LONG)
    [left] = holders(server, "A")
    assert left["peer_id"] != first_id

    second.may_leave.set()
    second_id, second_token, second_held = futures[1].result(timeout=LONG)
    assert left["peer_id"] == second_id
    assert first_held and second_held
    assert first_token < second_token
    assert peers(server) == []


def test_tasks_that_share_a_lock_object_release_their_own_lock(serve):
    server = serve("A = 5")

    async def work():
        guard = aio.lock(server.url, "A")
        first, second = Visit(asyncio.Event), Visit(asyncio.Event)

        async def stay(visit):
            async with guard:
                visit.inside.set()
                await visit.may_leave.wait()
                assert guard.is_held()
                return guard.fencing_token

        tasks = []
        for visit in (first, second):
            tasks.append(asyncio.ensure_future(stay(visit)))
            await visit.inside.wait()
        tokens = {holder["fencing_token"] for holder in holders(server, "A")}
        first.may_leave.set()
        tokens.remove(await tasks[0])
        assert {holder["fencing_token"] for holder in holders(server, "A")} == tokens
        second.may_leave.set()
        assert {await tasks[1]} == tokens
        assert peers(server) == []

    run(work())


def test_a_mutex_that_tasks_share_admits_one_at_a_time(serve):
    server = serve()
    inside, most = 0, 0

    async def visit(guard):
        nonlocal inside, most
        async with guard:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def work():
        guard = aio.lock(server.url, "A")
        await asyncio.gather(*(visit(guard) for _ in range(6)))

    run(work())
    assert most == 1
    assert peers(server) == []


def test_a_mutex_that_threads_share_admits_one_at_a_time(serve):
    server = serve()
    guard = lock(server.url, "A")
    inside, most = [], []

    def visit():
        for _ in range(3):
            with guard:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    for visitor in [spawn(visit) for _ in range(6)]:
        visitor.result(timeout=LONG)
    assert len(most) == 18 and max(most) == 1
    assert peers(server) == []


def test_a_waiter_that_times_out_does_not_release_the_lock_of_another_thread(serve):
    server = serve()
    guard = lock(server.url, "A", timeout=1)

    def in_vain():
        with pytest.raises(Timeout):
            with guard:
                pass

    with guard:
        spawn(in_vain).result(timeout=LONG)
        assert guard.is_held()
        assert server.client.remainder("A") == 0
    assert peers(server) == []


def test_nested_entries_of_a_task_hold_locks_of_their_own(serve):
    server = serve("A = 2")

    async def work():
        guard = aio.lock(server.url, "A", timeout=1)
        async with guard:
            outer = guard.fencing_token
            async with guard:
                assert guard.fencing_token != outer
                assert len(holders(server, "A")) == 2
                with pytest.raises(Timeout):
                    async with guard:
                        pass
            [left] = holders(server, "A")
            assert left["fencing_token"] == guard.fencing_token == outer
        assert peers(server) == []

    run(work())


def test_a_block_that_is_entered_in_one_task_can_be_left_in_another(serve):
    server = serve()

    async def work():
        guard = aio.lock(server.url, "A")
        await asyncio.create_task(guard.__aenter__())
        assert len(holders(server, "A")) == 1
        await asyncio.create_task(guard.__aexit__(None, None, None))
        assert peers(server) == []

    run(work())


def test_a_signal_handler_can_take_a_lock_while_its_thread_waits_for_another(serve):
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    peers_in_handler = []
    may_leave = threading.Event()

    def handle(*_):
        may_leave.set()
        with lock(server.url, "B") as peer:
            peers_in_handler.append(peer)

    def hold():
        with lock(server.url, "A"):
            is_held.set()
            server.await_pending("A", 1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            assert may_leave.wait(LONG)

    is_held = threading.Event()
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        holder = spawn(hold)
        assert is_held.wait(LONG)
        with lock(server.url, "A") as peer:
            assert peers_in_handler == [peer] and get_local_peer(server.url) is peer
        holder.result(LONG)
    finally:
        signal.signal(signal.SIGUSR1, before)

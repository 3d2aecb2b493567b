"""Locks that are lost: who is told, when, and how."""

import asyncio
import gc
import pickle
import sys
import time
from datetime import timedelta
from threading import Event, Thread, current_thread

import pytest
from conftest import end, run, uptime, within
from server import LONG, eventually, spawn
from throttle_client import (
    LockLost,
    LostReason,
    Peer,
    ThrottleError,
    aio,
    lock,
    set_local_peer,
)

LEASE = timedelta(seconds=1)


def remove(server, held):
    """Removes the peer at the server, as an operator does."""
    server.client.release(held.peer.id)


def test_a_lock_that_was_taken_away_is_not_released_in_peace(serve, hold):
    server = serve()
    eventually(lambda: uptime(server) > 0.1)
    # Nobody waited for the next heartbeat, so the answer to the release is the first that tells.
    with pytest.raises(LockLost, match="A") as error:
        hold(lambda held: remove(server, held), server.url, "A")
    assert error.value.reason is LostReason.REVOKED


def test_the_reason_of_a_loss_can_be_told_from_others(serve, hold):
    server = serve()

    def work(held):
        server.kill()
        assert held.lost.wait(LONG)
        assert held.lost.reason is LostReason.UNREACHABLE

    with pytest.raises(LockLost) as error:
        hold(work, server.url, "A", expiration_time=LEASE)
    assert error.value.reason is LostReason.UNREACHABLE
    assert "A" in str(error.value) and server.url in str(error.value)
    copy = pickle.loads(pickle.dumps(error.value))
    assert (str(copy), copy.reason) == (str(error.value), error.value.reason)
    assert isinstance(error.value, ThrottleError)


def test_nothing_is_held_beyond_the_deadline(serve, program):
    server = serve()
    source = """
import sys
from throttle_client import LockLost, lock

guard = lock(sys.argv[1], "A", expiration_time=1)
try:
    with guard:
        print("held", flush=True)
        # No thread of the package may run before this one after the process was stopped.
        while guard.is_held():
            pass
        assert guard.lost.time_left == 0 and guard.lost.is_set()
        assert guard.lost.reason is not None
        print("expired", flush=True)
except LockLost:
    print("lost")
"""
    process = program(source, server.url)
    assert process.stdout.readline() == "held\n"
    server.kill()
    assert end(process)[:2] == (0, "expired\nlost")


def test_what_is_held_is_never_more_than_what_is_left_of_the_lease(serve):
    server = serve()
    guard = lock(server.url, "A", expiration_time=0.3)
    with pytest.raises(LockLost):
        with guard:
            server.suspend()
            while True:
                left = guard.lost.time_left
                lost, held = guard.lost.is_set(), guard.is_held()
                # The time that was left can only have become less since.
                assert left > 0 or (lost and not held)
                if not held:
                    break


def test_a_peer_without_a_heartbeat_holds_nothing_beyond_its_lease(serve):
    server = serve()
    peer = Peer(server.client, expiration_time=timedelta(milliseconds=300))
    set_local_peer(server.url, peer)
    guard = lock(server.url, "A")
    # Nobody sends heartbeats, so that this comes is no surprise.
    with guard:
        assert guard.is_held()
        assert guard.lost.wait(LONG)
        assert not guard.is_held() and guard.lost.time_left == 0
        assert guard.lost.reason is LostReason.EXPIRED
        eventually(lambda: server.client.remainder("A") == 1)


def test_a_peer_without_a_heartbeat_lives_by_those_that_are_asked_for(serve):
    server = serve()
    peer = Peer(server.client, expiration_time=timedelta(seconds=1))
    set_local_peer(server.url, peer)
    guard = lock(server.url, "A")
    with guard:
        for _ in range(6):
            assert not guard.lost.wait(0.3)
            peer.heartbeat()
        assert guard.is_held()


def test_a_callback_is_called_once_with_the_reason(serve, hold):
    server = serve()
    told = []

    def work(held):
        server.kill()
        eventually(lambda: told)

    with pytest.raises(LockLost):
        hold(work, server.url, "A", expiration_time=LEASE, on_lost=told.append)
    assert told == [LostReason.UNREACHABLE]


def test_a_callback_that_fails_keeps_no_other_from_being_called(serve, caplog):
    server = serve("A = 2")
    told = []

    def fail(reason):
        raise ZeroDivisionError("the callback")

    def stay(on_lost):
        with pytest.raises(LockLost):
            held = lock(server.url, "A", expiration_time=LEASE, on_lost=on_lost)
            with held:
                entered.append(held)
                assert held.lost.wait(LONG)
                eventually(lambda: told)

    entered = []
    visits = [spawn(stay, on_lost) for on_lost in (fail, told.append)]
    eventually(lambda: len(entered) == 2)
    server.kill()
    for visit in visits:
        visit.result(timeout=LONG)
    eventually(lambda: "the callback" in caplog.text)


def test_a_callback_of_a_loop_is_called_in_the_loop(serve):
    server = serve()

    async def work():
        told = asyncio.get_running_loop().create_future()
        with pytest.raises(LockLost):
            async with aio.lock(
                server.url, "A", expiration_time=LEASE, on_lost=lambda _: told.set_result(current_thread())
            ):
                server.kill()
                assert await told is current_thread()

    run(work())


def test_a_lock_that_was_given_back_is_not_told_as_lost(serve, hold):
    server = serve()
    told = []
    seen = []
    hold(seen.append, server.url, "A", expiration_time=LEASE, on_lost=told.append)
    server.kill()
    [held] = seen
    assert not held.is_held()
    time.sleep(1.5 * LEASE.total_seconds())
    assert told == []


def test_a_task_can_await_the_loss(serve):
    server = serve()

    async def work():
        with pytest.raises(LockLost):
            async with aio.lock(server.url, "A", expiration_time=LEASE) as guard:
                server.kill()
                assert await guard.lost is LostReason.UNREACHABLE

    run(work())


def test_a_task_is_cancelled_when_its_lock_is_lost_if_it_wants_to(serve):
    server = serve()
    steps = []

    async def work():
        with pytest.raises(LockLost, match="A"):
            async with aio.lock(
                server.url, "A", expiration_time=LEASE, cancel_on_lost=True
            ) as guard:
                server.kill()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    steps.append(guard.is_held())
                    raise
        # The task goes on: it was the block that was cancelled.
        await asyncio.sleep(0)
        assert getattr(asyncio.current_task(), "cancelling", int)() == 0
        steps.append("after")

    run(work())
    assert steps == [False, "after"]


def test_a_task_that_is_cancelled_by_somebody_else_stays_cancelled(serve):
    server = serve()

    async def stay(inside):
        async with aio.lock(server.url, "A", cancel_on_lost=True):
            inside.set()
            await asyncio.Event().wait()

    async def work():
        inside = asyncio.Event()
        task = asyncio.ensure_future(stay(inside))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())
    assert server.client.remainder("A") == 1


def test_what_the_work_raises_matters_more_than_the_loss(serve, hold):
    server = serve()

    def fail(held):
        server.kill()
        assert held.lost.wait(LONG)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hold(fail, server.url, "A", expiration_time=LEASE)


def test_a_lock_that_nobody_gives_back_is_free_when_it_is_collected(serve):
    server = serve()
    guard = aio.lock(server.url, "A")

    async def enter():
        await guard.__aenter__()

    run(enter())
    assert server.client.remainder("A") == 0
    del guard, enter
    gc.collect()
    eventually(lambda: server.client.remainder("A") == 1)


def test_a_lock_that_was_given_back_is_no_loss_to_who_waits_for_one(serve):
    server = serve()
    guard = lock(server.url, "A")
    seen = []
    with guard:
        lost = guard.lost
        watcher = Thread(target=lambda: seen.append(lost.wait(LONG)))
        watcher.start()
    watcher.join()
    assert seen == [False] and not lost.wait(LONG)

    async def work():
        guard = aio.lock(server.url, "A")
        async with guard:
            lost = guard.lost
        assert await lost is LostReason.CLOSED

    run(work())


def test_a_callback_that_wants_to_exit_keeps_no_other_from_being_called(serve, caplog):
    server = serve()

    def leave(told):
        told.set()
        sys.exit(1)

    for _ in range(2):
        told = Event()
        guard = lock(
            server.url, "A", on_lost=lambda _, told=told: leave(told), expiration_time=LEASE
        )
        with pytest.raises(LockLost):
            with guard:
                remove(server, guard)
                assert told.wait(LONG)
    eventually(lambda: "a callback of a lock failed" in caplog.text)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not count who cancels them")
@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_a_task_that_caught_its_cancellation_is_not_cancelled_any_more(serve, error):
    server = serve()

    async def work():
        with pytest.raises(error or LockLost):
            async with aio.lock(
                server.url, "A", expiration_time=LEASE, cancel_on_lost=True
            ) as guard:
                await asyncio.to_thread(remove, server, guard)
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if error is not None:
                        raise error from None
        assert asyncio.current_task().cancelling() == 0

    run(work())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not count who cancels them")
def test_a_task_that_is_cancelled_by_somebody_else_too_stays_cancelled(serve):
    server = serve()

    async def stay():
        async with aio.lock(
            server.url,
            "A",
            expiration_time=LEASE,
            cancel_on_lost=True,
            on_lost=lambda _: task.cancel(),
        ) as guard:
            await asyncio.to_thread(remove, server, guard)
            await asyncio.Event().wait()

    async def work():
        nonlocal task
        task = asyncio.ensure_future(stay())
        with pytest.raises(asyncio.CancelledError):
            await task

    task = None
    run(work())


def test_a_lock_that_is_lost_is_not_held_for_any_longer(serve, hold):
    server = serve()

    def lose(guard):
        assert guard.is_held()
        remove(server, guard)

    with within(LONG / 2), pytest.raises(LockLost):
        hold(lose, server.url, "A", expiration_time=LEASE, hold_at_least=LONG)

"""Losses of locks: how and when they are reported."""

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
    """Removes the peer of a lock at the server, as an operator does."""
    server.client.release(held.peer.id)


def test_the_release_of_a_lock_whose_peer_was_removed_raises_lock_lost(serve, hold):
    server = serve()
    eventually(lambda: uptime(server) > 0.1)
    # The next heartbeat is not due yet, so the answer to the release is the first to report the loss.
    with pytest.raises(LockLost, match="A") as error:
        hold(lambda held: remove(server, held), server.url, "A")
    assert error.value.reason is LostReason.REVOKED


def test_a_loss_has_a_reason(serve, hold):
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


def test_a_lock_is_not_held_after_its_deadline(serve, program):
    server = serve()
    source = """
import sys
from throttle_client import LockLost, lock

guard = lock(sys.argv[1], "A", expiration_time=1)
try:
    with guard:
        print("held", flush=True)
        # Never yields to other threads, so none of the package has to run before the loss is visible.
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


def test_the_peer_of_a_held_lock_is_not_lost(serve):
    server = serve()
    with lock(server.url, "A") as peer:
        assert not peer.lost
        assert peer.lost.reason is None and peer.lost.detail is None


def test_a_lock_is_lost_exactly_when_no_time_is_left(serve):
    server = serve()
    guard = lock(server.url, "A", expiration_time=0.3)
    with pytest.raises(LockLost):
        with guard:
            server.suspend()
            while True:
                left = guard.lost.time_left
                lost, held = guard.lost.is_set(), guard.is_held()
                # The time left only decreases, so it was not shorter when `left` was read.
                assert left > 0 or (lost and not held)
                if not held:
                    break


def test_a_peer_without_heartbeats_loses_its_lock_at_the_end_of_the_lease(serve):
    server = serve()
    peer = Peer(server.client, expiration_time=timedelta(milliseconds=300))
    set_local_peer(server.url, peer)
    guard = lock(server.url, "A")
    # The end of the block raises nothing, because without heartbeats the loss is expected.
    with guard:
        assert guard.is_held()
        assert guard.lost.wait(LONG)
        assert not guard.is_held() and guard.lost.time_left == 0
        assert guard.lost.reason is LostReason.EXPIRED
        eventually(lambda: server.client.remainder("A") == 1)


def test_a_peer_without_heartbeats_can_send_them_itself(serve):
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
    calls = []

    def work(held):
        server.kill()
        eventually(lambda: calls)

    with pytest.raises(LockLost):
        hold(work, server.url, "A", expiration_time=LEASE, on_lost=calls.append)
    assert calls == [LostReason.UNREACHABLE]


def test_a_callback_that_raises_does_not_prevent_later_callbacks(serve, caplog):
    server = serve("A = 2")
    calls = []

    def fail(reason):
        raise ZeroDivisionError("the callback")

    def stay(on_lost):
        with pytest.raises(LockLost):
            held = lock(server.url, "A", expiration_time=LEASE, on_lost=on_lost)
            with held:
                entered.append(held)
                assert held.lost.wait(LONG)
                eventually(lambda: calls)

    entered = []
    visits = [spawn(stay, on_lost) for on_lost in (fail, calls.append)]
    eventually(lambda: len(entered) == 2)
    server.kill()
    for visit in visits:
        visit.result(timeout=LONG)
    eventually(lambda: "the callback" in caplog.text)


def test_a_callback_of_a_task_is_called_in_the_thread_of_its_loop(serve):
    server = serve()

    async def work():
        called_in = asyncio.get_running_loop().create_future()

        def on_lost(_):
            called_in.set_result(current_thread())

        with pytest.raises(LockLost):
            async with aio.lock(server.url, "A", expiration_time=LEASE, on_lost=on_lost):
                server.kill()
                assert await called_in is current_thread()

    run(work())


def test_the_callback_is_not_called_for_a_released_lock(serve, hold):
    server = serve()
    calls = []
    seen = []
    hold(seen.append, server.url, "A", expiration_time=LEASE, on_lost=calls.append)
    server.kill()
    [held] = seen
    assert not held.is_held()
    time.sleep(1.5 * LEASE.total_seconds())
    assert calls == []


def test_a_task_can_await_the_loss(serve):
    server = serve()

    async def work():
        with pytest.raises(LockLost):
            async with aio.lock(server.url, "A", expiration_time=LEASE) as guard:
                server.kill()
                assert await guard.lost is LostReason.UNREACHABLE

    run(work())


def test_cancel_on_lost_cancels_the_block_but_not_the_task(serve):
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
        # The task continues after the block.
        await asyncio.sleep(0)
        assert getattr(asyncio.current_task(), "cancelling", int)() == 0
        steps.append("after")

    run(work())
    assert steps == [False, "after"]


def test_a_task_that_the_program_cancels_stays_cancelled(serve):
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


def test_an_exception_of_the_block_takes_precedence_over_the_loss(serve, hold):
    server = serve()

    def fail(held):
        server.kill()
        assert held.lost.wait(LONG)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hold(fail, server.url, "A", expiration_time=LEASE)


def test_a_held_lock_that_is_garbage_collected_is_released(serve):
    server = serve()
    guard = aio.lock(server.url, "A")

    async def enter():
        await guard.__aenter__()

    run(enter())
    assert server.client.remainder("A") == 0
    del guard, enter
    gc.collect()
    eventually(lambda: server.client.remainder("A") == 1)


def test_a_release_is_no_loss_for_those_who_wait_for_one(serve):
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


def test_a_callback_that_exits_does_not_prevent_later_callbacks(serve, caplog):
    server = serve()

    def leave(called):
        called.set()
        sys.exit(1)

    for _ in range(2):
        called = Event()
        guard = lock(
            server.url, "A", on_lost=lambda _, called=called: leave(called), expiration_time=LEASE
        )
        with pytest.raises(LockLost):
            with guard:
                remove(server, guard)
                assert called.wait(LONG)
    eventually(lambda: "a callback of a lock failed" in caplog.text)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not count who cancels them")
@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_a_task_that_catches_its_cancellation_is_not_cancelled_afterwards(serve, error):
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
def test_a_task_that_the_program_cancels_after_a_loss_stays_cancelled(serve):
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


def test_hold_at_least_does_not_delay_the_report_of_a_loss(serve, hold):
    server = serve()

    def lose(guard):
        assert guard.is_held()
        remove(server, guard)

    with within(LONG / 2), pytest.raises(LockLost):
        hold(lose, server.url, "A", expiration_time=LEASE, hold_at_least=LONG)

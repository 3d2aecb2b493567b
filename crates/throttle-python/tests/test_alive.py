"""Heartbeats keep locks alive, whatever Python does."""

import ctypes
import time
from datetime import timedelta

import pytest
from conftest import end, uptime
from server import LONG, eventually, spawn
from throttle_client import LockLost, PeerWithHeartbeat, lock, set_local_peer

LEASE = timedelta(seconds=1)

CONTENDER = """
import sys
from throttle_client import Timeout, lock
try:
    with lock(sys.argv[1], "A", timeout=float(sys.argv[2])):
        print("acquired")
except Timeout:
    print("timeout")
"""


def short_lease(server):
    """Gives the peer of this thread a lease of one second."""
    set_local_peer(server.url, PeerWithHeartbeat(server.client, expiration_time=LEASE))


def test_a_lock_outlives_its_lease_while_no_python_code_can_run(serve, program):
    server = serve()
    short_lease(server)
    guard = lock(server.url, "A")
    with guard:
        contender = program(CONTENDER, server.url, "2.5")
        server.await_pending("A", 1)
        # `PyDLL` calls keep the lock of the interpreter, so no other Python code runs.
        ctypes.PyDLL(None).usleep(int(3 * LEASE.total_seconds() * 1e6))
        assert not guard.lost.is_set()
        assert end(contender) == (0, "timeout", "")


def test_the_default_lease_is_five_minutes(serve):
    server = serve()
    guard = lock(server.url, "A")
    with guard as peer:
        assert peer.expiration_time == timedelta(minutes=5)
        assert guard.lost.time_left > 200


def test_a_peer_that_an_operator_removed_is_not_restored(serve):
    server = serve()
    eventually(lambda: uptime(server) > 0.1)
    short_lease(server)
    guard = lock(server.url, "A")
    with pytest.raises(LockLost, match="removed"):
        with guard as peer:
            server.client.release(peer.id)
            assert guard.lost.wait(LONG)
            assert server.client.remainder("A") == 1
    with lock(server.url, "A"):
        assert server.client.remainder("A") == 0


def test_locks_are_restored_after_a_restart_of_the_server(serve):
    server = serve("A = { max = 3, level = 1 }\nB = 1")
    short_lease(server)
    guard = lock(server.url, "A", count=2)
    with guard, lock(server.url, "B"):
        server.restart()
        eventually(lambda: server.client.remainder("A") == 1)
        assert server.client.remainder("B") == 0
        assert not guard.lost.is_set()


def test_a_heartbeat_does_not_restore_a_released_lock(serve):
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    peer = PeerWithHeartbeat(server.client, heartbeat_interval=timedelta(milliseconds=10))
    set_local_peer(server.url, peer)
    for _ in range(20):
        with lock(server.url, "A"):
            with lock(server.url, "B"):
                pass
            assert server.client.remainder("B") == 1
        set_local_peer(server.url, PeerWithHeartbeat(server.client))
    assert [server.client.remainder(name) for name in "AB"] == [1, 1]


def test_a_peer_with_a_heartbeat_outlives_many_leases(serve, hold):
    server = serve()

    def work(held):
        assert not held.lost.wait(2.5 * LEASE.total_seconds())
        assert held.is_held()
        assert server.client.remainder("A") == 0

    hold(work, server.url, "A", expiration_time=LEASE)


def test_a_wait_may_take_longer_than_the_lease(serve, hold):
    server = serve()
    held = lock(server.url, "A")
    with held:
        waiting = spawn(
            hold, lambda held: held.lost.wait(0.5), server.url, "A", expiration_time=LEASE
        )
        server.await_pending("A", 1)
        assert not held.lost.wait(2 * LEASE.total_seconds())
        assert server.pending("A") == 1
    # It does not raise `LockLost`, and the lock stays alive after the grant.
    assert waiting.result(timeout=LONG) is False


def test_a_local_peer_stays_alive_during_a_long_wait(serve):
    server = serve()

    def work():
        set_local_peer(server.url, PeerWithHeartbeat(server.client, expiration_time=LEASE))
        guard = lock(server.url, "A")
        with guard:
            return guard.is_held(), guard.lost.wait(0.2)

    held = lock(server.url, "A")
    with held:
        waiting = spawn(work)
        server.await_pending("A", 1)
        assert not held.lost.wait(2 * LEASE.total_seconds())
    assert waiting.result(timeout=LONG) == (True, False)

"""Locks stay alive whatever Python does, and tell when they are lost."""

import ctypes
import time
from datetime import timedelta

import pytest
from conftest import end
from server import LONG, eventually
from throttle_client import LockLost, PeerWithHeartbeat, get_local_peer, lock, set_local_peer

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
    """The peer of this thread has a lease of a second."""
    set_local_peer(server.url, PeerWithHeartbeat(server.client, expiration_time=LEASE))


def test_a_lock_outlives_its_lease_while_no_python_runs_at_all(serve, program):
    server = serve()
    short_lease(server)
    guard = lock(server.url, "A")
    with guard:
        contender = program(CONTENDER, server.url, "2.5")
        server.await_pending("A", 1)
        # Does not give up the lock of the interpreter.
        ctypes.PyDLL(None).usleep(int(3 * LEASE.total_seconds() * 1e6))
        assert not guard.lost.is_set()
        assert end(contender) == (0, "timeout", "")


def test_the_default_keeps_a_lock_for_longer_than_the_lease(serve):
    server = serve()
    with lock(server.url, "A") as peer:
        assert peer.expiration_time == timedelta(minutes=5)
        assert peer._keeper.time_left() > 200


def test_a_dead_server_is_told_before_the_lease_ends(serve):
    server = serve()
    short_lease(server)
    told = []
    guard = lock(server.url, "A", on_lost=told.append)
    with pytest.raises(LockLost, match="unreachable"):
        with guard:
            server.kill()
            start = time.monotonic()
            assert guard.lost.wait(LONG)
            assert time.monotonic() - start < LEASE.total_seconds()
            assert not guard.is_held() and "unreachable" in guard.lost.reason
            eventually(lambda: told)
    assert told == ["the server was unreachable until the lease ended"]


def test_an_operator_takes_a_lock_away_for_good(serve):
    server = serve()
    short_lease(server)
    guard = lock(server.url, "A")
    with pytest.raises(LockLost, match="removed"):
        with guard as peer:
            # The server has to have run for longer than since it last heard of the peer.
            first = peer._keeper.time_left()
            eventually(lambda: peer._keeper.time_left() != first)
            eventually(lambda: peer._keeper.time_left() < 0.9)
            server.client.release(peer.id)
            assert guard.lost.wait(LONG)
            assert server.client.remainder("A") == 1
    with lock(server.url, "A"):
        assert server.client.remainder("A") == 0


def test_what_the_work_raises_matters_more_than_a_lost_lock(serve):
    server = serve()
    short_lease(server)
    guard = lock(server.url, "A")
    with pytest.raises(ZeroDivisionError):
        with guard:
            server.kill()
            guard.lost.wait(LONG)
            raise ZeroDivisionError


def test_a_server_that_was_started_again_is_told_what_is_held(serve):
    server = serve("A = { max = 3, level = 1 }\nB = 1")
    short_lease(server)
    guard = lock(server.url, "A", count=2)
    with guard, lock(server.url, "B"):
        server.restart()
        eventually(lambda: server.client.remainder("A") == 1)
        assert server.client.remainder("B") == 0
        assert not guard.lost.is_set()


def test_a_heartbeat_brings_nothing_back_that_was_released(serve):
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


def test_a_peer_without_anything_shows_no_sign_of_life(serve):
    server = serve()
    peer = get_local_peer(server.url)
    peer.start_heartbeat()
    assert peer._keeper is None and not peer.lost
    peer.stop_heartbeat()

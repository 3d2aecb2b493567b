"""Locks at a server that was restarted and remembers everything."""

from datetime import timedelta

import pytest
from conftest import holders
from server import LONG, eventually, spawn
from throttle_client import LockLost, LostReason, lock

LEASE = timedelta(seconds=10)


@pytest.fixture
def server(serve, tmp_path):
    """A server with a durable store."""
    return serve(f"A = 1\n[store]\npath = '{tmp_path}/throttle.redb'\n")


def test_a_lock_keeps_its_token_over_a_restart(server, hold):
    def work(guard):
        token = guard.fencing_token
        for _ in range(2):
            server.restart()
            assert server.client.is_held("A", token)
        assert guard.is_held() and guard.fencing_token == token
        return token

    token = hold(work, server.url, "A")
    assert not server.client.is_held("A", token)
    assert hold(lambda guard: guard.fencing_token, server.url, "A") > token


def test_a_waiter_keeps_its_place_over_a_restart(server):
    def wait():
        guard = lock(server.url, "A")
        with guard:
            return guard.fencing_token

    guard = lock(server.url, "A")
    with guard:
        token = guard.fencing_token
        first = spawn(wait)
        server.await_pending("A", 1)
        second = spawn(wait)
        server.await_pending("A", 2)
        server.restart()
        assert server.pending("A") == 2
    assert token < first.result(LONG) < second.result(LONG)


def test_a_peer_that_was_removed_before_a_restart_is_lost_and_not_restored(server, hold):
    def work(guard):
        server.client.release(guard.peer.id)
        server.restart()
        assert guard.lost.wait(LONG)

    with pytest.raises(LockLost) as error:
        hold(work, server.url, "A", expiration_time=LEASE)
    assert error.value.reason is LostReason.REVOKED
    eventually(lambda: holders(server, "A") == [])

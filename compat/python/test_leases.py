"""Peers expire unless requests renew their leases."""

from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

import pytest
from server import LONG, eventually, spawn
from throttle_client import Peer, PeerWithHeartbeat, Timeout, lock, set_local_peer
from throttle_client.client import UnknownPeer

MINUTE = timedelta(minutes=1)
SHORT = timedelta(milliseconds=200)
LONG_WAIT = timedelta(seconds=LONG)


def test_the_lock_of_an_expired_peer_is_granted_to_the_waiter(serve):
    client = serve("A = 1").client
    dead, alive = (client.new_peer(expires_in=MINUTE) for _ in range(2))
    start = monotonic()
    assert client.acquire(dead, "A", expires_in=SHORT)
    assert client.acquire(alive, "A", block_for=LONG_WAIT)
    assert SHORT.total_seconds() <= monotonic() - start < LONG / 2
    with pytest.raises(UnknownPeer):
        client.heartbeat(dead, expires_in=MINUTE)


def test_a_waiter_that_expires_is_not_granted_the_lock(serve):
    client = serve("A = 1").client
    holder, dead, alive = (client.new_peer(expires_in=MINUTE) for _ in range(3))
    assert client.acquire(holder, "A")
    assert not client.acquire(dead, "A", expires_in=SHORT)
    assert not client.acquire(alive, "A")
    eventually(lambda: is_unknown(client, dead))
    client.release(holder)
    assert client.is_acquired(alive)


@pytest.mark.parametrize("request_kind", ["heartbeat", "acquire"])
def test_heartbeat_and_acquire_renew_the_lease(serve, request_kind):
    client = serve("A = 1").client
    peer = client.new_peer(expires_in=SHORT)
    contender = client.new_peer(expires_in=MINUTE)
    if request_kind == "heartbeat":
        assert client.acquire(peer, "A")
        client.heartbeat(peer, expires_in=MINUTE)
    else:
        assert client.acquire(peer, "A", expires_in=MINUTE)
    assert not client.acquire(contender, "A", block_for=3 * SHORT)
    assert client.is_acquired(peer)


def test_heartbeats_keep_a_peer_with_a_short_lease_alive(serve):
    server = serve("A = 1")
    peer = PeerWithHeartbeat(
        client=server.client,
        expiration_time=timedelta(seconds=1),
        heartbeat_interval=timedelta(seconds=0.1),
    )
    set_local_peer(server.url, peer)
    with lock(server.url, "A"):
        with pytest.raises(Timeout):
            spawn(contend, server, timeout=timedelta(seconds=2.5)).result(timeout=LONG)
        assert server.client.is_acquired(peer.id)


def test_without_heartbeats_the_lock_is_lost(serve):
    server = serve("A = 1")
    set_local_peer(server.url, Peer(client=server.client, expiration_time=SHORT))
    with lock(server.url, "A"):
        assert spawn(contend, server).result(timeout=LONG / 2)


def test_a_heartbeat_that_comes_too_late_restores_the_lock(serve):
    server = serve("A = 1")
    late = PeerWithHeartbeat(
        client=server.client, expiration_time=MINUTE, heartbeat_interval=timedelta(seconds=0.1)
    )
    late.acquire("A")
    server.client.release(late.id)
    with heartbeats(late):
        eventually(lambda: server.client.remainder("A") == 0)
    assert server.client.is_acquired(late.id)


@pytest.mark.repaired
def test_a_lease_of_zero_ends_at_once(serve):
    client = serve("A = 1").client
    peer = client.new_peer(expires_in=MINUTE)
    client.acquire(peer, "A", expires_in=timedelta(0))
    assert client.remainder("A") == 1
    with pytest.raises(UnknownPeer):
        client.is_acquired(peer)


@pytest.mark.repaired
def test_a_peer_does_not_expire_during_a_blocked_request(serve):
    client = serve("A = 1").client
    holder, peer = (client.new_peer(expires_in=MINUTE) for _ in range(2))
    client.acquire(holder, "A")
    assert not client.acquire(peer, "A", expires_in=2 * SHORT, block_for=4 * SHORT)
    assert not client.is_acquired(peer)


@contextmanager
def heartbeats(peer):
    """Sends heartbeats of the peer during the block."""
    peer.start_heartbeat()
    try:
        yield
    finally:
        peer.stop_heartbeat()


def contend(server, **kwargs) -> bool:
    """Takes the lock in this thread, and returns whether its peer holds it."""
    with lock(server.url, "A", **kwargs) as peer:
        return server.client.is_acquired(peer.id)


def is_unknown(client, peer) -> bool:
    try:
        client.is_acquired(peer)
    except UnknownPeer:
        return True
    return False

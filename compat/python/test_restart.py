"""The server dies and comes back without memory, and its clients remind it of what they hold."""

from datetime import timedelta

import pytest
from server import LONG, eventually, spawn
from throttle_client import PeerWithHeartbeat, get_local_peer, lock, set_local_peer
from throttle_client.client import UnknownPeer

MINUTE = timedelta(minutes=1)


def test_a_lock_is_acquired_with_a_peer_from_before(serve):
    server = serve("A = 1")
    peer = get_local_peer(server.url)
    server.restart()
    with lock(server.url, "A") as restored:
        assert restored is peer
        assert server.client.remainder("A") == 0
    assert server.client.remainder("A") == 1


def test_an_inner_lock_brings_back_the_outer_one(serve):
    server = serve("A = { max = 3, level = 1 }\nB = 1")
    with lock(server.url, "A", count=2):
        server.restart()
        assert server.client.remainder("A") == 3
        with lock(server.url, "B"):
            assert server.client.remainder("A") == 1
            assert server.client.remainder("B") == 0
        assert server.client.remainder("A") == 1
    assert server.client.remainder("A") == 3


def test_a_heartbeat_brings_back_what_is_held(serve):
    server = serve("A = 1")
    peer = PeerWithHeartbeat(client=server.client, heartbeat_interval=timedelta(seconds=0.5))
    set_local_peer(server.url, peer)
    with lock(server.url, "A"):
        server.restart()
        eventually(lambda: server.client.remainder("A") == 0)
        assert server.client.is_acquired(peer.id)
    assert server.client.remainder("A") == 1


def test_a_heartbeat_brings_back_all_that_is_held(serve):
    server = serve("A = 1\nB = 2\nC = 3")
    held = {"A": 1, "B": 2, "C": 1}
    peer = PeerWithHeartbeat(
        client=server.client,
        id=42,
        acquired=held,
        heartbeat_interval=timedelta(milliseconds=10),
    )
    peer.start_heartbeat()
    try:
        eventually(lambda: server.client.remainder("A") == 0)
    finally:
        peer.stop_heartbeat()
    assert [server.client.remainder(name) for name in held] == [0, 0, 2]


def test_somebody_who_waits_goes_on_waiting(serve):
    server = serve("A = 1")
    served = []

    def wait():
        with lock(server.url, "A"):
            served.append(server.client.remainder("A"))

    holder = get_local_peer(server.url)
    holder.acquire("A")
    waiting = spawn(wait)
    server.await_pending("A", 1)
    # It is in the middle of a request, so the client waits for four seconds before it tries again.
    server.restart()
    holder.restore()
    server.await_pending("A", 1)
    assert served == []
    holder.remove_from_server()
    waiting.result(timeout=LONG)
    assert served == [0]


def test_what_is_held_may_exceed_the_maximum(serve):
    server = serve("A = 2")
    client = server.client
    newcomer = client.new_peer(expires_in=MINUTE)
    assert client.acquire(newcomer, "A", count=2)
    client.restore(4711, acquired={"A": 2}, expires_in=MINUTE)
    assert client.remainder("A") == -2
    late = client.new_peer(expires_in=MINUTE)
    assert not client.acquire(late, "A")
    client.release(newcomer)
    assert client.remainder("A") == 0
    assert not client.is_acquired(late)
    client.release(4711)
    assert client.is_acquired(late)


def test_to_restore_twice_is_to_restore_once(serve):
    client = serve("A = 3").client
    for _ in range(2):
        client.restore(4711, acquired={"A": 2}, expires_in=MINUTE)
        assert client.remainder("A") == 1
    with pytest.raises(ValueError) as error:
        client.restore(4711, acquired={"A": 1}, expires_in=MINUTE)
    assert str(error.value) == "Restore is not allowed to change existing peers."
    assert client.remainder("A") == 1


def test_a_peer_is_restored_with_all_its_locks_or_not_at_all(serve):
    client = serve("A = 1").client
    with pytest.raises(ValueError, match="^Unknown semaphore$"):
        client.restore(4711, acquired={"A": 1, "B": 1}, expires_in=MINUTE)
    assert client.remainder("A") == 1
    with pytest.raises(UnknownPeer):
        client.is_acquired(4711)


@pytest.mark.parametrize("peer", [1, 2**53, 2**63 + 12345, 2**64 - 1])
def test_a_peer_keeps_its_id_however_large(serve, peer):
    client = serve("A = { max = 1, level = 1 }\nB = 1").client
    client.restore(peer, acquired={"A": 1}, expires_in=MINUTE)
    client.heartbeat(peer, expires_in=MINUTE)
    assert client.acquire(peer, "B")
    assert client.is_acquired(peer)
    client.release_lock(peer, "B")
    client.release(peer)
    assert client.remainder("A") == 1

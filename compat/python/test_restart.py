"""The server restarts without any state, and its clients restore their locks."""

from datetime import timedelta

import pytest
from server import LONG, eventually, spawn
from throttle_client import PeerWithHeartbeat, get_local_peer, lock, set_local_peer
from throttle_client.client import UnknownPeer

MINUTE = timedelta(minutes=1)


def test_a_peer_from_before_a_restart_can_take_a_lock(serve):
    server = serve("A = 1")
    peer = get_local_peer(server.url)
    server.restart()
    with lock(server.url, "A") as restored:
        assert restored is peer
        assert server.client.remainder("A") == 0
    assert server.client.remainder("A") == 1


def test_a_request_for_an_inner_lock_restores_the_outer_one(serve):
    server = serve("A = { max = 3, level = 1 }\nB = 1")
    with lock(server.url, "A", count=2):
        server.restart()
        assert server.client.remainder("A") == 3
        with lock(server.url, "B"):
            assert server.client.remainder("A") == 1
            assert server.client.remainder("B") == 0
        assert server.client.remainder("A") == 1
    assert server.client.remainder("A") == 3


def test_a_heartbeat_restores_a_held_lock(serve):
    server = serve("A = 1")
    peer = PeerWithHeartbeat(client=server.client, heartbeat_interval=timedelta(seconds=0.5))
    set_local_peer(server.url, peer)
    with lock(server.url, "A"):
        server.restart()
        eventually(lambda: server.client.remainder("A") == 0)
        assert server.client.is_acquired(peer.id)
    assert server.client.remainder("A") == 1


def test_a_heartbeat_restores_all_held_locks(serve):
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


def test_a_wait_continues_after_a_restart(serve):
    server = serve("A = 1")
    served = []

    def wait():
        with lock(server.url, "A"):
            served.append(server.client.remainder("A"))

    holder = get_local_peer(server.url)
    holder.acquire("A")
    waiting = spawn(wait)
    server.await_pending("A", 1)
    # The restart breaks a request, and the old client pauses for four seconds before it repeats it.
    server.restart()
    holder.restore()
    server.await_pending("A", 1)
    assert served == []
    holder.remove_from_server()
    waiting.result(timeout=LONG)
    assert served == [0]


def test_restored_locks_may_exceed_the_maximum(serve):
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


def test_a_repeated_restore_changes_nothing(serve):
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
def test_a_restored_peer_may_have_any_id(serve, peer):
    client = serve("A = { max = 1, level = 1 }\nB = 1").client
    client.restore(peer, acquired={"A": 1}, expires_in=MINUTE)
    client.heartbeat(peer, expires_in=MINUTE)
    assert client.acquire(peer, "B")
    assert client.is_acquired(peer)
    client.release_lock(peer, "B")
    client.release(peer)
    assert client.remainder("A") == 1

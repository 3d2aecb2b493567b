"""`lock`, the context manager of workers."""

from concurrent.futures import Future
from datetime import timedelta
from time import monotonic

import pytest
from server import LONG, spawn
from throttle_client import PeerWithHeartbeat, Timeout, get_local_peer, lock, set_local_peer


def test_a_lock_is_held_within_its_block(serve):
    server = serve("A = 5")
    for count in [1, 3, 5]:
        with lock(server.url, "A", count=count):
            assert server.client.remainder("A") == 5 - count
        assert server.client.remainder("A") == 5


def test_a_lock_is_released_if_the_block_raises(serve):
    server = serve("A = 1")
    with pytest.raises(ZeroDivisionError):
        with lock(server.url, "A"):
            raise ZeroDivisionError
    assert server.client.remainder("A") == 1


def test_locks_can_be_nested(serve):
    server = serve("A = { max = 2, level = 1 }\nB = 2")

    def remainders():
        return [server.client.remainder(name) for name in "AB"]

    with lock(server.url, "A"):
        assert remainders() == [1, 2]
        with lock(server.url, "B", count=2):
            assert remainders() == [1, 0]
        assert remainders() == [1, 2]
    assert remainders() == [2, 2]


def test_a_wrong_order_of_nested_locks_is_a_value_error(serve):
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    with lock(server.url, "B"):
        with pytest.raises(ValueError, match="violation"):
            with lock(server.url, "A"):
                pass
        assert server.client.remainder("B") == 0
    assert server.client.remainder("A") == 1
    assert server.client.remainder("B") == 1


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [("B", 1, "^Unknown semaphore$"), ("A", 2, r"^Lock can never be acquired\.")],
)
def test_an_impossible_lock_is_a_value_error(serve, name, count, message):
    server = serve("A = 1")
    with pytest.raises(ValueError, match=message):
        with lock(server.url, name, count=count):
            pass


def test_a_wait_ends_after_its_timeout(serve):
    server = serve("A = 1")
    with lock(server.url, "A"):
        start = monotonic()
        with pytest.raises(Timeout):
            spawn(hold, server, "A", timeout=timedelta(seconds=0.5)).result(timeout=LONG)
        assert 0.5 <= monotonic() - start < 4
        assert server.client.remainder("A") == 0


def test_a_wait_may_need_more_than_one_request(serve):
    server = serve("A = 1")
    with lock(server.url, "A"):
        start = monotonic()
        # A single request of the client blocks for five seconds.
        with pytest.raises(Timeout):
            spawn(hold, server, "A", timeout=timedelta(seconds=5.5)).result(timeout=LONG)
        assert 5.5 <= monotonic() - start < 9


def test_a_thread_can_request_a_lock_again_after_a_timeout(serve):
    server = serve("A = 1")

    def twice():
        with pytest.raises(Timeout):
            hold(server, "A", timeout=timedelta(milliseconds=50))
        again.set_result(None)
        return hold(server, "A")

    again = Future()
    with lock(server.url, "A"):
        waiting = spawn(twice)
        again.result(timeout=LONG)
    assert waiting.result(timeout=LONG) == 0
    assert server.client.remainder("A") == 1


def test_threads_are_served_in_the_order_of_their_requests(serve):
    server = serve("A = 1")
    served = []
    with lock(server.url, "A"):
        threads = []
        for number in range(4):
            threads.append(spawn(hold, server, "A", note=lambda it=number: served.append(it)))
            server.await_pending("A", number + 1)
        assert served == []
    for thread in threads:
        thread.result(timeout=LONG)
    assert served == [0, 1, 2, 3]


def test_a_thread_with_a_large_count_is_not_starved(serve):
    server = serve("A = 5")
    served = []
    with lock(server.url, "A"):
        large = spawn(hold, server, "A", count=5, note=lambda: served.append("large"))
        server.await_pending("A", 5)
        small = spawn(hold, server, "A", note=lambda: served.append("small"))
        server.await_pending("A", 6)
        assert server.client.remainder("A") == 4
    large.result(timeout=LONG)
    small.result(timeout=LONG)
    assert served == ["large", "small"]


def test_each_thread_has_one_peer_of_its_own(serve):
    server = serve("A = 1")
    peer = get_local_peer(server.url)
    assert isinstance(peer, PeerWithHeartbeat)
    assert get_local_peer(server.url) is peer
    assert spawn(get_local_peer, server.url).result(timeout=LONG).id != peer.id


def test_an_unknown_peer_is_restored(serve):
    server = serve("A = 1")
    stranger = PeerWithHeartbeat(client=server.client, id=42)
    set_local_peer(server.url, stranger)
    with lock(server.url, "A") as peer:
        assert peer is stranger
        assert server.client.is_acquired(42)
        assert server.client.remainder("A") == 0
    assert server.client.remainder("A") == 1


def hold(server, name, note=lambda: None, **kwargs):
    """Calls `note` while it holds the lock. Returns the remainder at that time."""
    with lock(server.url, name, **kwargs):
        note()
        return server.client.remainder(name)

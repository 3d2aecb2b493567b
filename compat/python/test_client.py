"""`Client`, with one method for each route."""

import pickle
from datetime import timedelta

import pytest
from server import LONG, spawn
from throttle_client import Client
from throttle_client.client import UnknownPeer

MINUTE = timedelta(minutes=1)
# A test that has to wait for its end fails, because it takes too long.
LONG_WAIT = timedelta(seconds=LONG)
SHORT_WAIT = timedelta(milliseconds=50)


def new_peers(client: Client, number: int) -> list[int]:
    return [client.new_peer(expires_in=MINUTE) for _ in range(number)]


def test_a_lock_is_held_until_its_release(serve):
    client = serve("A = 1").client
    peer = client.new_peer(expires_in=MINUTE)
    assert client.remainder("A") == 1
    assert client.acquire(peer, "A")
    assert client.remainder("A") == 0
    client.release(peer)
    assert client.remainder("A") == 1


def test_a_lock_takes_its_count(serve):
    client = serve("A = 5").client
    one, two, three = new_peers(client, 3)
    assert client.acquire(one, "A", count=3)
    assert client.remainder("A") == 2
    assert client.acquire(two, "A", count=2)
    assert client.remainder("A") == 0
    assert not client.acquire(three, "A", count=1)


def test_a_lock_that_exceeds_the_free_count_is_pending(serve):
    client = serve("A = 5").client
    one, two = new_peers(client, 2)
    assert client.acquire(one, "A", count=3)
    assert not client.acquire(two, "A", count=3)
    assert client.remainder("A") == 2


def test_a_repeated_request_does_not_increase_the_held_count(serve):
    client = serve("A = 3").client
    peer = client.new_peer(expires_in=MINUTE)
    for _ in range(3):
        assert client.acquire(peer, "A", count=2)
    assert client.remainder("A") == 1


@pytest.mark.parametrize("expires_in", [None, MINUTE])
@pytest.mark.parametrize("block_for", [None, SHORT_WAIT])
def test_all_arguments_are_optional(serve, expires_in, block_for):
    client = serve("A = 1").client
    one, two = new_peers(client, 2)
    assert client.acquire(one, "A", expires_in=expires_in, block_for=block_for)
    assert not client.acquire(two, "A", expires_in=expires_in, block_for=block_for)


def test_a_peer_with_a_pending_lock_has_not_acquired(serve):
    client = serve("A = 1").client
    one, two = new_peers(client, 2)
    assert client.is_acquired(one)
    client.acquire(one, "A")
    client.acquire(two, "A")
    assert client.is_acquired(one)
    assert not client.is_acquired(two)
    client.release(one)
    assert client.is_acquired(two)
    assert client.acquire(two, "A")


def test_a_small_lock_does_not_overtake_a_large_one(serve):
    client = serve("A = 5").client
    small, large, late = new_peers(client, 3)
    assert client.acquire(small, "A", count=1)
    assert not client.acquire(large, "A", count=5)
    assert not client.acquire(late, "A", count=1)
    assert client.remainder("A") == 4
    client.release(small)
    assert client.is_acquired(large)
    assert not client.is_acquired(late)
    assert client.remainder("A") == 0


def test_a_repeated_request_keeps_its_place(serve):
    client = serve("A = 1").client
    holder, first, second = new_peers(client, 3)
    client.acquire(holder, "A")
    assert not client.acquire(first, "A")
    assert not client.acquire(second, "A")
    assert not client.acquire(first, "A", block_for=SHORT_WAIT)
    client.release(holder)
    assert client.is_acquired(first)
    assert not client.is_acquired(second)


def test_a_blocked_request_is_answered_when_the_lock_is_released(serve):
    server = serve("A = 1")
    client = server.client
    one, two = new_peers(client, 2)
    client.acquire(one, "A")
    waiting = spawn(client.acquire, two, "A", block_for=LONG_WAIT)
    server.await_pending("A", 1)
    client.release(one)
    assert waiting.result(timeout=LONG / 2)


def test_a_blocked_request_is_answered_when_the_holder_expires(serve):
    server = serve("A = 1")
    client = server.client
    one, two = new_peers(client, 2)
    client.acquire(one, "A")
    waiting = spawn(client.acquire, two, "A", block_for=LONG_WAIT)
    server.await_pending("A", 1)
    client.heartbeat(one, expires_in=timedelta(0))
    assert waiting.result(timeout=LONG / 2)


def test_one_lock_can_be_released_and_the_others_kept(serve):
    client = serve("A = { max = 1, level = 1 }\nB = 1").client
    one, two = new_peers(client, 2)
    assert client.acquire(one, "A")
    assert client.acquire(one, "B")
    assert not client.acquire(two, "B")
    client.release_lock(one, "B")
    assert client.is_acquired(two)
    assert client.is_acquired(one)
    assert client.remainder("A") == 0


def test_a_pending_lock_can_be_released(serve):
    client = serve("A = 1").client
    one, two = new_peers(client, 2)
    client.acquire(one, "A")
    client.acquire(two, "A")
    client.release_lock(two, "A")
    assert client.is_acquired(two)
    client.release(one)
    assert client.remainder("A") == 1


def test_the_blocked_request_of_a_removed_peer_is_answered(serve):
    server = serve("A = 1")
    client = server.client
    one, two = new_peers(client, 2)
    client.acquire(one, "A")
    waiting = spawn(client.acquire, two, "A", block_for=LONG_WAIT)
    server.await_pending("A", 1)
    client.release(two)
    with pytest.raises(UnknownPeer):
        waiting.result(timeout=LONG / 2)


def test_a_release_of_nothing_is_no_error(serve):
    client = serve("A = 1").client
    peer = client.new_peer(expires_in=MINUTE)
    client.release_lock(peer, "A")
    client.release(peer)
    client.release(peer)


@pytest.mark.parametrize("name", ["/&", "/", " ", "a b", "a+b", "100%", "?#;=", "Zürich", "信号"])
def test_a_semaphore_may_have_any_name(serve, name):
    client = serve(f'"{name}" = 2').client
    peer = client.new_peer(expires_in=MINUTE)
    assert client.acquire(peer, name, expires_in=MINUTE)
    assert client.remainder(name) == 1
    client.release_lock(peer, name)
    assert client.remainder(name) == 2
    client.restore(peer + 1, acquired={name: 2}, expires_in=MINUTE)
    assert client.remainder(name) == 0


def test_an_unknown_semaphore_is_a_value_error(serve):
    client = serve("A = 1").client
    peer = client.new_peer(expires_in=MINUTE)
    for request in [
        lambda: client.acquire(peer, "B"),
        lambda: client.release_lock(peer, "B"),
        lambda: client.remainder("B"),
        lambda: client.restore(peer + 1, acquired={"A": 1, "B": 1}, expires_in=MINUTE),
    ]:
        with pytest.raises(ValueError, match="^Unknown semaphore$"):
            request()
    assert client.remainder("A") == 1


def test_an_unknown_peer_has_an_exception_of_its_own(serve):
    client = serve("A = 1").client
    unknown = 4711
    for request in [
        lambda: client.acquire(unknown, "A"),
        lambda: client.release_lock(unknown, "A"),
        lambda: client.heartbeat(unknown, expires_in=MINUTE),
        lambda: client.is_acquired(unknown),
    ]:
        with pytest.raises(UnknownPeer):
            request()


def test_a_count_above_the_maximum_can_never_be_acquired(serve):
    client = serve("A = 5").client
    peer = client.new_peer(expires_in=MINUTE)
    with pytest.raises(ValueError) as error:
        client.acquire(peer, "A", count=9)
    assert str(error.value) == (
        "Lock can never be acquired. Lock asks for count 9 yet full count is only 5."
    )


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_must_be_positive(serve, count):
    client = serve("A = 5").client
    peer = client.new_peer(expires_in=MINUTE)
    with pytest.raises(ValueError) as error:
        client.acquire(peer, "A", count=count)
    assert str(error.value) == f"Lock count must be a positive number. Found: {count}."
    assert client.remainder("A") == 5


def test_locks_must_be_taken_from_high_levels_to_low_ones(serve):
    client = serve("A = { max = 1, level = 1 }\nB = 1\nC = 1").client
    peer = client.new_peer(expires_in=MINUTE)
    assert client.acquire(peer, "B")
    for name in ["A", "C"]:
        with pytest.raises(ValueError, match="violation"):
            client.acquire(peer, name)
        assert client.remainder(name) == 1
    assert client.is_acquired(peer)


def test_a_lock_cannot_grow(serve):
    client = serve("A = 5").client
    peer = client.new_peer(expires_in=MINUTE)
    client.acquire(peer, "A", count=2)
    with pytest.raises(ValueError, match="violation"):
        client.acquire(peer, "A", count=3)
    assert client.remainder("A") == 3


def test_a_peer_can_have_only_one_pending_lock(serve):
    client = serve("A = { max = 1, level = 1 }\nB = 1").client
    one, two = new_peers(client, 2)
    client.acquire(one, "A")
    client.acquire(two, "A")
    with pytest.raises(ValueError, match="Already pending"):
        client.acquire(two, "B")
    client.release(one)
    assert client.is_acquired(two)


def test_a_client_can_be_pickled(serve):
    client = pickle.loads(pickle.dumps(serve("A = 1").client))
    assert client.remainder("A") == 1


@pytest.mark.repaired
def test_a_semaphore_may_have_the_name_of_a_route(serve):
    client = serve("is_acquired = 1").client
    peer = client.new_peer(expires_in=MINUTE)
    assert client.acquire(peer, "is_acquired")
    assert client.remainder("is_acquired") == 0
    client.release_lock(peer, "is_acquired")
    assert client.remainder("is_acquired") == 1


@pytest.mark.repaired
def test_a_name_is_decoded_once(serve):
    client = serve('"%41" = 1\nA = 1').client
    assert client.acquire(client.new_peer(expires_in=MINUTE), "%41")
    assert client.remainder("A") == 1


@pytest.mark.repaired
def test_a_lock_can_shrink(serve):
    client = serve("A = 5").client
    one, two = new_peers(client, 2)
    client.acquire(one, "A", count=5)
    client.acquire(two, "A", count=3)
    assert client.acquire(one, "A", count=2)
    assert client.is_acquired(two)
    assert client.remainder("A") == 0


@pytest.mark.repaired
def test_a_release_does_not_cancel_a_pending_lock_on_another_semaphore(serve):
    client = serve("A = { max = 1, level = 1 }\nB = 1").client
    one, two = new_peers(client, 2)
    client.acquire(one, "A")
    client.acquire(two, "A")
    client.release_lock(two, "B")
    assert not client.is_acquired(two)


@pytest.mark.repaired
def test_the_blocked_request_of_a_cancelled_lock_is_answered(serve):
    server = serve("A = 1")
    client = server.client
    one, two = new_peers(client, 2)
    client.acquire(one, "A")
    waiting = spawn(client.acquire, two, "A", block_for=LONG_WAIT)
    server.await_pending("A", 1)
    client.release_lock(two, "A")
    with pytest.raises(ValueError, match="cancelled"):
        waiting.result(timeout=LONG / 2)

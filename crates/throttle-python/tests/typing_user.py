"""A program of a user for the type checkers. It is never run.

Each `assert_type` fails the check if a type of the package becomes less exact.
"""

from datetime import timedelta
from pathlib import Path
from typing import List, Mapping, Optional, Union

import pytest
import throttle_client
from throttle_client import (
    Client,
    Lock,
    LockLost,
    LostReason,
    Peer,
    PeerWithHeartbeat,
    Refused,
    ThrottleError,
    Timeout,
    UnknownPeer,
    Unreachable,
    aio,
    clear_peers,
    get_local_peer,
    lock,
    set_local_peer,
)
from throttle_client.testing import Holder, Semaphore, Server, Waiter
from typing_extensions import assert_type

URL = "http://localhost:8000"


def on_lost(reason: LostReason) -> None:
    name: str = reason.value
    print(name)


def options() -> Lock:
    guard = lock(
        [URL, "http://localhost:8001"],
        "A",
        count=2,
        timeout=timedelta(minutes=10),
        on_lost=on_lost,
        expiration_time=30,
        hold_at_least=timedelta(minutes=1),
        labels={"job": "nightly"},
        default_labels=False,
        headers={"X-Team": "blue"},
        token="secret",
        ca=Path("ca.pem"),
        client_cert=("client.pem", "client.key"),
    )
    assert_type(guard, Lock)
    return guard


def sync(guard: Lock) -> None:
    with guard as peer:
        assert_type(peer, Peer)
        assert_type(peer.id, int)
        assert_type(guard.fencing_token, Optional[int])
        assert_type(guard.is_held(), bool)
        assert_type(guard.lost.is_set(), bool)
        assert_type(guard.lost.wait(1.5), bool)
        assert_type(guard.lost.reason, Optional[LostReason])
        assert_type(guard.lost.time_left, float)
    assert_type(guard.acquire(timeout=1), bool)
    assert_type(guard.locked(), bool)
    guard.extend()
    guard.release()


async def in_a_loop() -> None:
    guard = aio.lock(URL, "A", timeout=30, expiration_time=timedelta(minutes=1), cancel_on_lost=True)
    async with guard as held:
        assert_type(held, aio.Lock)
        assert_type(held.fencing_token, Optional[int])
        assert_type(await held.lost, Optional[LostReason])
    assert_type(await guard.acquire(blocking=False), bool)
    await guard.extend()
    await guard.release()


@lock(URL, "A")
def decorated(number: int, *, name: str) -> List[int]:
    return [number, len(name)]


@lock(URL, "A")
async def decorated_coroutine(number: int) -> int:
    return number


@aio.lock(URL, "A")
async def decorated_in_a_loop(number: int) -> int:
    return number


async def call() -> None:
    # The decorators keep the types of arguments and results.
    assert_type(decorated(1, name="A"), List[int])
    assert_type(await decorated_coroutine(1), int)
    assert_type(await decorated_in_a_loop(1), int)


def peers() -> None:
    client = Client(URL, token="secret")
    peer = PeerWithHeartbeat(client, expiration_time=timedelta(seconds=30))
    assert_type(set_local_peer(URL, peer), Optional[Peer])
    assert_type(get_local_peer(URL), Peer)
    assert_type(peer.acquire("A", count=1, block_for=5), bool)
    peer.heartbeat()
    peer.release("A")
    peer.remove_from_server()
    clear_peers()
    assert_type(client.new_peer(expires_in=60), int)
    assert_type(client.is_held("A", 7), bool)
    assert_type(client.remainder("A"), int)


def errors() -> None:
    try:
        sync(options())
    except Refused as error:
        assert_type(error.code, str)
    except LockLost as error:
        assert_type(error.reason, LostReason)
    except Timeout as error:
        a_timeout: TimeoutError = error
        raise a_timeout
    except Unreachable as error:
        a_connection_error: ConnectionError = error
        raise a_connection_error
    except UnknownPeer as error:
        any_error: ThrottleError = error
        raise any_error
    assert_type(throttle_client.__version__, str)


@pytest.fixture
def throttle_semaphores() -> Mapping[str, Union[int, Semaphore]]:
    return {"A": 1, "B": Semaphore(5, level=1)}


def test_a_job(throttle_server: Server) -> None:
    with lock(throttle_server.url, "A"):
        assert_type(throttle_server.remainder("A"), int)
        assert_type(throttle_server.holders("A"), List[Holder])
        assert_type(throttle_server.waiters("A"), List[Waiter])
        assert_type(throttle_server.revoke("A"), int)
        throttle_server.restart()

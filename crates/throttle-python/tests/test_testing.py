"""The server of `throttle_client.testing`."""

import asyncio

import pytest
from conftest import end
from server import LONG, eventually, spawn
from throttle_client import LockLost, aio, lock
from throttle_client.testing import Semaphore, Server

# The files of a user.
CONFTEST = """
import pytest
from throttle_client.testing import Semaphore

pytest_plugins = ["throttle_client.testing"]

@pytest.fixture
def throttle_semaphores():
    return {"A": 1, "B": Semaphore(5, level=1)}
"""
TESTS = """
import pytest
from throttle_client import LockLost, lock

def test_a_job_has_the_lock(throttle_server):
    with lock(throttle_server.url, "A"):
        assert throttle_server.remainder("A") == 0
    assert throttle_server.remainder("B") == 5

def test_a_job_notices_a_loss(throttle_server):
    with pytest.raises(LockLost):
        with lock(throttle_server.url, "A"):
            throttle_server.revoke("A")
"""


@pytest.fixture
def server():
    with Server({"A": 1, "B": Semaphore(5, level=1)}) as server:
        yield server


def test_the_fixtures_work_in_a_test_suite_of_a_user(program, tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_job.py").write_text(TESTS)
    source = """
import pytest, sys
sys.exit(pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", sys.argv[1]]))
"""
    code, printed, errors = end(program(source, str(tmp_path)))
    assert code == 0 and "2 passed" in printed, printed + errors


def test_the_module_works_without_pytest(program):
    source = """
import sys
sys.modules["pytest"] = None
from throttle_client import lock
from throttle_client.testing import Server
with Server({"A": 1}) as server, lock(server.url, "A"):
    print(server.remainder("A"))
"""
    assert end(program(source)) == (0, "0", "")


def test_holders_and_waiters_are_listed(server):
    guard = lock(server.url, "B", count=2, labels={"job": "nightly"})
    with guard as peer:
        [holder] = server.holders("B")
        assert (holder.peer_id, holder.count) == (peer.id, 2)
        assert holder.fencing_token == guard.fencing_token
        assert holder.labels["job"] == "nightly"
        waiting = spawn(lock(server.url, "B", count=4).acquire)
        eventually(lambda: server.waiters("B"))
        [waiter] = server.waiters("B")
        assert waiter.count == 4
        assert server.remainder("B") == 3
    assert waiting.result(timeout=LONG) is True


def test_levels_and_maxima_are_enforced(server):
    with lock(server.url, "A"):
        with pytest.raises(ValueError, match="violation"):
            with lock(server.url, "B"):
                pass
    with pytest.raises(ValueError):
        with lock(server.url, "B", count=6):
            pass
    with pytest.raises(ValueError, match="A"):
        Server({"A": 0})


def test_locks_are_restored_after_a_restart(server):
    url = server.url
    guard = lock(server.url, "A", expiration_time=1)
    with guard:
        server.restart()
        assert server.url == url
        eventually(lambda: server.remainder("A") == 0)
        assert guard.is_held()


def test_a_lock_is_lost_while_the_server_is_stopped(server):
    with pytest.raises(LockLost):
        guard = lock(server.url, "A", expiration_time=0.5)
        with guard:
            server.stop()
            assert guard.lost.wait(LONG)
    server.start()
    assert server.remainder("A") == 1


def test_a_lock_can_be_revoked(server):
    async def work():
        with pytest.raises(LockLost):
            async with aio.lock(server.url, "A", expiration_time=0.5) as held:
                assert await asyncio.to_thread(server.revoke, "A") == 1
                await held.lost

    asyncio.run(work())
    assert server.revoke("A") == 0
    assert server.remove_peer(1) is False


def test_servers_share_no_state(server):
    with Server({"A": 1}) as other, lock(server.url, "A"), lock(other.url, "A"):
        assert (server.remainder("A"), other.remainder("A")) == (0, 0)
        assert server.holders("A") != other.holders("A")

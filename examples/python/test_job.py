"""How to test a job that takes a lock, with a server that runs within the tests.

Run with pytest, without any other server:

    pip install ./crates/throttle-python pytest
    python -m pytest -p throttle_client.testing examples/python/test_job.py
"""

import pytest
from throttle_client import LockLost, Timeout, lock


def job(url: str, work):
    """The job under test, which never runs twice at the same time."""
    with lock(url, "nightly", timeout=0):
        work()


@pytest.fixture
def throttle_semaphores():
    return {"nightly": 1}


def test_the_job_holds_the_lock_while_it_works(throttle_server):
    left = []
    job(throttle_server.url, lambda: left.append(throttle_server.remainder("nightly")))
    assert left == [0]
    assert throttle_server.remainder("nightly") == 1


def test_the_job_does_not_start_while_another_one_runs(throttle_server):
    other = throttle_server.client
    assert other.acquire(other.new_peer(expires_in=60), "nightly")
    with pytest.raises(Timeout):
        job(throttle_server.url, lambda: pytest.fail("it started"))


def test_the_job_fails_if_an_operator_removes_its_lock(throttle_server):
    with pytest.raises(LockLost):
        job(throttle_server.url, lambda: throttle_server.revoke("nightly"))

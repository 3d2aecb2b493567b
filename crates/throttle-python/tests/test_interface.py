"""The public interface of locks, in threads and in tasks."""

import asyncio
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
import throttle_client
from conftest import end, holders, peers, run
from server import LONG, eventually, spawn
from throttle_client import (
    Client,
    LockLost,
    Refused,
    ThrottleError,
    Timeout,
    Unreachable,
    aio,
    get_local_peer,
    lock,
)


def test_a_lock_can_be_acquired_and_released_without_a_block(serve):
    server = serve()
    guard = lock(server.url, "A")
    assert not guard.locked()
    assert guard.acquire() is True
    assert guard.locked() and server.client.remainder("A") == 0
    guard.release()
    assert not guard.locked() and peers(server) == []


def test_acquire_returns_false_if_the_lock_is_not_free(serve):
    server = serve()
    with lock(server.url, "A"):
        assert spawn(lock(server.url, "A").acquire, blocking=False).result(timeout=LONG) is False
        assert spawn(lock(server.url, "A").acquire, timeout=0.5).result(timeout=LONG) is False
        assert server.pending("A") == 0
    assert peers(server) == []


def test_acquire_uses_the_timeout_of_the_lock_by_default(serve):
    server = serve()
    with lock(server.url, "A"):
        assert spawn(lock(server.url, "A", timeout=0.5).acquire).result(timeout=LONG) is False


def test_invalid_arguments_of_acquire_are_refused(dead_url):
    for arguments in ({"blocking": False, "timeout": 1}, {"timeout": -2}, {"timeout": float("nan")}):
        with pytest.raises(ValueError):
            lock(dead_url, "A").acquire(**arguments)


def test_a_release_of_a_lock_that_is_not_held_is_an_error(dead_url):
    with pytest.raises(RuntimeError):
        lock(dead_url, "A").release()


def test_a_task_can_acquire_and_release_a_lock_without_a_block(serve):
    server = serve()

    async def work():
        guard, other = aio.lock(server.url, "A"), aio.lock(server.url, "A")
        assert not guard.locked()
        assert await guard.acquire() is True
        assert guard.locked()
        assert await other.acquire(blocking=False) is False
        assert await other.acquire(timeout=0.5) is False
        await guard.release()
        assert not guard.locked()
        with pytest.raises(RuntimeError):
            await guard.release()

    run(work())
    assert peers(server) == []


def test_extend_renews_the_lease_at_once(serve):
    server = serve()

    held = lock(server.url, "A", expiration_time=60)
    with held:
        first = held.lost.time_left
        eventually(lambda: held.lost.time_left < first - 0.2)
        assert held.extend() > first - 0.2
        assert held.lost.time_left > first - 0.2

    async def task():
        async with aio.lock(server.url, "A", expiration_time=60) as held:
            first = held.lost.time_left
            while held.lost.time_left >= first - 0.2:
                await asyncio.sleep(0.01)
            assert await held.extend() > first - 0.2

    run(task())


def test_a_with_block_gets_the_peer(serve):
    server = serve()
    with lock(server.url, "A") as held:
        assert held.acquired == {"A": 1} and held.has_acquired()
        assert held.id == get_local_peer(server.url).id == holders(server, "A")[0]["peer_id"]
        assert server.client.is_acquired(held.id)
        assert held.expiration_time == timedelta(minutes=5)
        assert held.client.base_url == server.url


def test_a_held_lock_has_attributes_of_its_state(serve, hold):
    server = serve("A = 5")

    def work(held):
        [holder] = holders(server, "A")
        assert held.fencing_token == holder["fencing_token"]
        assert held.peer.id == holder["peer_id"]
        assert held.semaphore == "A" and held.count == 3
        assert held.is_held() and not held.lost.is_set()
        assert not held.lost
        assert held.lost.reason is None and held.lost.time_left > 10

    hold(work, server.url, "A", count=3)


def test_the_server_shows_the_labels_of_a_peer(serve, hold):
    server = serve()

    def work(held):
        [peer] = peers(server)
        assert peer["labels"]["pid"] and peer["labels"]["host"]
        assert peer["labels"]["job"] == "nightly"

    hold(work, server.url, "A", labels={"job": "nightly"})


def test_the_labels_include_the_name_of_the_script(serve, program, tmp_path):
    server = serve()
    script = tmp_path / "nightly_report.py"
    script.write_text(
        """
import sys
from throttle_client import lock
with lock(sys.argv[1], "A"):
    print("held", flush=True)
    sys.stdin.read()
"""
    )
    source = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    process = program(source, str(script), server.url)
    assert process.stdout.readline() == "held\n"
    [peer] = peers(server)
    assert any("nightly_report" in value for value in peer["labels"].values())
    assert end(process)[0] == 0


def test_default_labels_can_be_switched_off(serve, hold, monkeypatch):
    server = serve()

    def work(held):
        [peer] = peers(server)
        assert peer["labels"] == {}

    hold(work, server.url, "A", default_labels=False)
    monkeypatch.setenv("THROTTLE_LABELS", "0")
    hold(work, server.url, "A")


def test_the_second_url_is_tried_if_the_first_does_not_answer(serve, dead_url, hold):
    server = serve()
    seen = []
    hold(lambda held: seen.append(server.client.remainder("A")), [dead_url, server.url], "A")
    hold(lambda held: seen.append(server.client.remainder("A")), f"{dead_url},{server.url}", "A")
    assert seen == [0, 0]
    assert Client([dead_url, server.url]).remainder("A") == 1


def test_errors_have_a_common_base_class_and_name_semaphore_and_server(serve, dead_url, hold):
    server = serve()
    with pytest.raises(ThrottleError) as refused:
        hold(print, server.url, "nosuch")
    assert isinstance(refused.value, Refused) and refused.value.code == "unknown_semaphore"
    # Programs compare the text with that of the server, so semaphore and URL are in the cause.
    assert (refused.value.semaphore, refused.value.url) == ("nosuch", server.url)
    assert f"'nosuch' at {server.url}" in str(refused.value.__cause__)
    with pytest.raises(ThrottleError, match=re.escape(dead_url)) as unreachable:
        hold(print, dead_url, "A", timeout=0.1)
    assert isinstance(unreachable.value, Unreachable)
    for error in (Timeout, LockLost, Refused, Unreachable, throttle_client.UnknownPeer):
        assert issubclass(error, ThrottleError)


def test_the_error_for_a_url_without_a_scheme_shows_a_valid_url(hold):
    with pytest.raises(ValueError, match="http://localhost:8000"):
        hold(print, "localhost:8000", "A", timeout=1)


def test_the_package_has_the_version_of_the_workspace():
    manifest = Path(__file__).parents[3] / "Cargo.toml"
    [version] = re.findall(r'^version = "(.+)"$', manifest.read_text(), re.MULTILINE)
    assert throttle_client.__version__ == version


def test_hold_at_least_keeps_a_lock_after_the_end_of_the_block(serve, hold):
    server = serve()
    start = time.monotonic()
    hold(lambda held: None, server.url, "A", hold_at_least=0.5)
    eventually(lambda: server.client.remainder("A") == 1)
    assert time.monotonic() - start >= 0.5


def test_hold_at_least_does_not_delay_the_release_after_a_longer_block(serve, hold):
    server = serve()
    hold(lambda held: held.lost.wait(0.2), server.url, "A", hold_at_least=0.1)
    assert server.client.remainder("A") == 1


def test_headers_and_a_token_are_sent_with_every_request(serve, hold, proxy):
    server = serve()
    between = proxy(server)
    hold(lambda held: None, between.url, "A", headers={"X-Team": "blue"}, token="secret")
    assert len(between.requests) >= 3
    for request in between.requests:
        assert request.headers["X-Team"] == "blue"
        assert request.headers["Authorization"] == "Bearer secret"


def test_no_message_contains_a_secret(dead_url):
    client = Client(dead_url, token="s3cret", headers={"X-Key": "k3y"}, timeout=0.1)
    with pytest.raises(Unreachable) as error:
        client.remainder("A")
    assert "s3cret" not in repr(client) + str(error.value)
    assert "k3y" not in repr(client) + str(error.value)

"""Features of locks that version 0.5 did not have."""

import copy
import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import throttle_client
from conftest import end, peers
from server import LONG, eventually, spawn
from throttle_client import (
    Client,
    Lock,
    Refused,
    Timeout,
    UnknownPeer,
    Unreachable,
    get_local_peer,
    lock,
)


def test_fencing_tokens_grow_from_grant_to_grant(serve):
    server = serve()
    tokens = []
    for _ in range(3):
        guard = lock(server.url, "A")
        with guard:
            tokens.append(guard.fencing_token)
    assert tokens == sorted(set(tokens))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
def test_a_server_may_listen_on_a_unix_socket(tmp_path):
    path, configuration = tmp_path / "throttle.sock", tmp_path / "throttle.toml"
    configuration.write_text("semaphores.A = 1")
    arguments = ["--address", f"unix:{path}", "--configuration", str(configuration)]
    with subprocess.Popen([os.environ["THROTTLE_BIN"], *arguments]) as server:
        try:
            # The client repeats its requests until the server listens.
            with lock(f"unix:{path}", "A", timeout=timedelta(seconds=LONG)) as peer:
                assert peer.client.base_url == f"unix:{path}"
        finally:
            server.kill()


def test_a_lock_has_attributes_of_its_state(serve):
    server = serve("A = 5")
    guard = lock(server.url, "A", count=3)
    assert not guard.is_held()
    with guard as peer:
        assert peer is guard.peer is get_local_peer(server.url)
        assert guard.is_held() and guard.count == 3 and not guard.lost.is_set()
        assert guard.lost.reason is None and guard.lost.time_left > 60
        assert not guard.lost.wait(0.01)
    assert not guard.is_held()
    with pytest.raises(RuntimeError):
        guard.fencing_token


def test_nothing_is_left_at_the_server_after_the_block(serve):
    server = serve()
    with lock(server.url, "A"):
        pass
    with pytest.raises(UnknownPeer):
        server.client.is_acquired(get_local_peer(server.url).id + 1)
    assert server.client.remainder("A") == 1


@pytest.mark.parametrize("timeout", [timedelta(milliseconds=500), 0.5, 0, timedelta(0)])
def test_a_wait_that_times_out_leaves_the_queue(serve, timeout):
    server = serve("A = { max = 1, level = 0 }\nB = { max = 1, level = 1 }")

    def in_vain():
        with lock(server.url, "B"):
            with pytest.raises(Timeout):
                with lock(server.url, "A", timeout=timeout):
                    pass
            assert server.pending("A") == 0
            assert server.client.remainder("B") == 0

    with lock(server.url, "A"):
        spawn(in_vain).result(timeout=LONG)
    with lock(server.url, "A", timeout=timeout):
        assert server.client.remainder("A") == 0


def test_a_refusal_is_a_value_error_with_a_code(serve):
    server = serve()
    for name, count, code in [
        ("B", 1, "unknown_semaphore"),
        ("A", 2, "never_acquirable"),
        ("A", 0, "invalid_lock_count"),
    ]:
        with pytest.raises(ValueError) as error:
            with lock(server.url, name, count=count):
                pass
        assert isinstance(error.value, Refused)
        assert error.value.code == code
    assert pickle.loads(pickle.dumps(error.value)).code == code
    assert UnknownPeer.code == "unknown_peer"


def test_a_thread_cannot_lock_a_semaphore_twice(serve):
    server = serve("A = 2")
    with lock(server.url, "A"):
        with pytest.raises(Refused, match="held by this thread already"):
            with lock(server.url, "A"):
                pass
        assert server.client.remainder("A") == 1


def test_a_client_can_be_pickled():
    client = pickle.loads(pickle.dumps(Client("http://localhost:1")))
    assert client.base_url == "http://localhost:1"
    with pytest.raises(ValueError, match="scheme"):
        Client("ftp://localhost").remainder("A")


def test_unreachable_is_a_connection_error(monkeypatch):
    requests = pytest.importorskip("requests")
    assert issubclass(Unreachable, ConnectionError)
    assert issubclass(Unreachable, requests.ConnectionError)


def test_the_package_is_typed():
    package = Path(throttle_client.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "_native.pyi").exists()


def test_an_interrupt_right_after_the_grant_releases_the_lock(serve, monkeypatch):
    server = serve()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lock, "_watch_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            with lock(server.url, "A"):
                pass
    assert server.client.remainder("A") == 1
    with lock(server.url, "A") as peer:
        assert peer.acquired == {"A": 1}


def test_interrupts_at_any_instant_leave_nothing_behind(serve, program):
    server = serve()
    process = program(INTERRUPTED, server.url)
    assert end(process) == (0, "", "")
    eventually(lambda: peers(server) == [])


# Raises an interrupt at each call in turn. Python code cannot catch one at the call of `__exit__` itself.
INTERRUPTED = """
import sys
from throttle_client import clear_peers, lock

class Interrupt(BaseException):
    pass

def interrupt_at(step):
    def trace(frame, event, argument):
        nonlocal step
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if event != "call" or "throttle_client" not in path or name in ("__exit__", "__del__"):
            return
        step -= 1
        if step == 0:
            sys.setprofile(None)
            raise Interrupt
    return trace

guard = lock(sys.argv[1], "A")
step = 0
is_interrupted = True
while is_interrupted:
    step += 1
    is_interrupted = False
    sys.setprofile(interrupt_at(step))
    try:
        with guard:
            pass
    except Interrupt:
        is_interrupted = True
    sys.setprofile(None)
    assert not guard.locked(), step
    # If the lock were still held, this would be refused.
    with guard:
        pass
assert step > 30, step
"""


def test_a_copy_of_a_lock_is_not_held(serve, hold):
    server = serve("A = 2")

    def work(guard):
        for other in (copy.copy(guard), copy.deepcopy(guard), pickle.loads(pickle.dumps(guard))):
            assert guard.locked() and not other.locked()
            assert repr(other) == repr(guard)

    hold(work, server.url, "A")


def test_exceptions_can_be_pickled_with_all_attributes():
    refused = Refused("No", "unknown_semaphore", 400)
    refused.semaphore, refused.url = "A", "http://localhost:8000"
    lost = throttle_client.LockLost("gone", "revoked")
    lost.job = "nightly"
    for error in (refused, lost, Timeout("late"), Unreachable("away"), UnknownPeer("who")):
        other = pickle.loads(pickle.dumps(error))
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))

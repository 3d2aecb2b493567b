"""Signals, forks, and the end of the interpreter."""

import multiprocessing
import os
import signal

import pytest
from conftest import end
from throttle_client import get_local_peer, lock

unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


@unix
def test_an_interrupt_ends_the_wait_and_leaves_the_queue(serve, program):
    server = serve()
    source = """
import signal
import sys
from throttle_client import lock
# Whoever runs the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with lock(sys.argv[1], "A"):
        print("acquired")
except KeyboardInterrupt:
    print("interrupted")
"""
    with lock(server.url, "A"):
        waiting = program(source, server.url)
        server.await_pending("A", 1)
        waiting.send_signal(signal.SIGINT)
        assert end(waiting) == (0, "interrupted", "")
        assert server.pending("A") == 0


def held_by_parent(url: str, name: str, results) -> None:
    """Within a child: what it has of its parent, and what it can do itself."""
    try:
        with lock(url, name):
            results.put(("acquired", get_local_peer(url).id))
    except BaseException as error:
        results.put(("failed", repr(error)))


@unix
def test_a_fork_has_no_part_in_the_locks_of_its_parent(serve):
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    guard = lock(server.url, "A")
    with guard as peer:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                inherited = guard.lost.is_set() and "parent" in guard.lost.reason
                # A peer of its own, with threads and connections of its own.
                with lock(server.url, "B") as own:
                    code = 0 if inherited and own.id != peer.id else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert not guard.lost.is_set()
        assert server.client.is_acquired(peer.id)
        assert server.client.remainder("A") == 0
    assert server.client.remainder("A") == 1


# A server that has workers: the parent has taken locks itself before, and has one while it forks.
PREFORK = """
import asyncio, os, sys
from threading import Thread
from throttle_client import aio, lock

url = sys.argv[1]

async def task():
    async with aio.lock(url, "B"):
        await asyncio.sleep(0)

async def tasks():
    await asyncio.gather(*(task() for _ in range(3)))

def thread():
    with lock(url, "B"):
        pass

def work():
    threads = [Thread(target=thread) for _ in range(3)]
    for one in threads:
        one.start()
    asyncio.run(tasks())
    for one in threads:
        one.join()

work()
guard = lock(url, "A")
with guard:
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            work()
            # The usual end of an interpreter, with all that is registered for it.
            sys.exit(number)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 1, 2, 3], codes
    assert guard.is_held()
    assert guard.client.remainder("A") == 0
print("done")
"""


@unix
def test_workers_of_a_server_that_forks_take_locks_and_leave_that_of_the_parent_alone(
    serve, program
):
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    code, printed, errors = end(program(PREFORK, server.url))
    assert (code, printed) == (0, "done"), errors
    assert [server.client.remainder(name) for name in "AB"] == [1, 1]


@unix
def test_a_fork_while_threads_take_locks_stops_nobody(serve, program):
    server = serve("A = 8")
    source = """
import os, sys, threading
from throttle_client import lock

done = threading.Event()

def busy():
    while not done.is_set():
        with lock(sys.argv[1], "A"):
            pass

threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        with lock(sys.argv[1], "A"):
            pass
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
done.set()
for thread in threads:
    thread.join()
print("done")
"""
    code, printed, errors = end(program(source, server.url))
    assert (code, printed) == (0, "done"), errors


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_have_peers_of_their_own(serve, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not here")
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    context = multiprocessing.get_context(method)
    with lock(server.url, "A") as peer:
        results = context.SimpleQueue()
        workers = [
            context.Process(target=held_by_parent, args=(server.url, "B", results))
            for _ in range(3)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        answers = [results.get() for _ in workers]
        assert {answer[0] for answer in answers} == {"acquired"}, answers
        assert len({answer[1] for answer in answers} | {peer.id}) == 4
        assert server.client.is_acquired(peer.id)


# Has a thread hold the lock, and says so.
HOLDER = """
import os
import sys
from threading import Event, Thread
from throttle_client import lock

def work(held):
    with lock(sys.argv[1], "A"):
        held.set()
        Event().wait()

held = Event()
Thread(target=work, args=[held], daemon=True).start()
held.wait()
print("held", flush=True)
"""


def test_the_end_of_the_interpreter_gives_back_what_threads_hold(serve, program):
    server = serve()
    assert end(program(HOLDER, server.url)) == (0, "held", "")
    assert server.client.remainder("A") == 1


def test_the_end_of_the_interpreter_does_not_wait_long_for_a_server_that_is_dead(
    serve, program, tmp_path
):
    server = serve()
    until_dead = "while not os.path.exists(sys.argv[2]): Event().wait(0.01)\n"
    dead = tmp_path / "dead"
    process = program(HOLDER + until_dead, server.url, str(dead))
    assert process.stdout.readline() == "held\n"
    server.kill()
    dead.touch()
    assert end(process) == (0, "", "")


def test_an_exit_from_within_the_block_gives_the_lock_back(serve, program):
    server = serve()
    source = """
import sys
from throttle_client import lock
with lock(sys.argv[1], "A"):
    sys.exit(3)
"""
    assert end(program(source, server.url))[0] == 3
    assert server.client.remainder("A") == 1


SUBINTERPRETER = """
try:
    import _interpreters as interpreters
    interpreter = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    interpreter = interpreters.create(isolated=False)
import sys
import throttle_client
with throttle_client.lock(sys.argv[1], "A"):
    pass
interpreters.run_string(interpreter, {program!r})
if {destroy}:
    interpreters.destroy(interpreter)
print("done")
"""


@pytest.mark.parametrize("destroy", [True, False])
def test_a_program_with_a_subinterpreter_ends(serve, program, destroy):
    server = serve()
    # Whether the package works there or says that it does not, nothing hangs.
    inner = "try:\n    import throttle_client\nexcept ImportError:\n    pass"
    process = program(SUBINTERPRETER.format(program=inner, destroy=destroy), server.url)
    code, printed, errors = end(process)
    assert (code, printed) == (0, "done"), errors


def test_a_subinterpreter_alone_does_not_keep_the_program_from_ending(program):
    source = """
try:
    import _interpreters as interpreters
    interpreter = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    interpreter = interpreters.create(isolated=False)
interpreters.run_string(interpreter, "import throttle_client")
print("done")
"""
    assert end(program(source)) == (0, "done", "")


@pytest.mark.parametrize("destroy", [True, False])
def test_a_subinterpreter_gives_back_its_own_locks_only(serve, program, destroy):
    server = serve("A = 1\nB = 1")
    # It leaves its block by the end of the interpreter.
    inner = f"import throttle_client\nthrottle_client.lock({server.url!r}, 'B').acquire()"
    source = f"""
try:
    import _interpreters as interpreters
    interpreter = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    interpreter = interpreters.create(isolated=False)
import throttle_client
client = throttle_client.Client({server.url!r})
with throttle_client.lock({server.url!r}, "A") as peer:
    interpreters.run_string(interpreter, {inner!r})
    if {destroy}:
        interpreters.destroy(interpreter)
        print(client.remainder("B"), peer.is_held(), client.remainder("A"))
    else:
        print(1, peer.is_held(), client.remainder("A"))
"""
    code, printed, errors = end(program(source))
    assert (code, printed) == (0, "1 True 0"), errors
    assert [server.client.remainder(name) for name in "AB"] == [1, 1]


@unix
def test_a_program_that_dies_of_broken_pipes_survives_the_interrupt_of_a_wait(serve, program):
    server = serve()
    source = """
import signal
import sys
from throttle_client import lock
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with lock(sys.argv[1], "A"):
        print("acquired")
except KeyboardInterrupt:
    print("interrupted")
"""
    with lock(server.url, "A"):
        waiting = program(source, server.url)
        server.await_pending("A", 1)
        waiting.send_signal(signal.SIGINT)
        assert end(waiting) == (0, "interrupted", "")

"""Signals, forks, subinterpreters, and the end of the interpreter."""

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
# A shell that runs the tests in the background makes them ignore the signal.
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
    """Runs in a child process: takes a lock, and returns the id of its peer or the error."""
    try:
        with lock(url, name):
            results.put(("acquired", get_local_peer(url).id))
    except BaseException as error:
        results.put(("failed", repr(error)))


@unix
def test_a_forked_child_does_not_hold_the_locks_of_its_parent(serve):
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    guard = lock(server.url, "A")
    with guard as peer:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                inherited = guard.lost.is_set() and "parent" in guard.lost.reason
                # Its own peer uses threads and connections of the child.
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


# Forks workers. The parent has used locks before, and holds one during the forks.
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
            # The normal end of an interpreter, with all exit hooks.
            sys.exit(number)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 1, 2, 3], codes
    assert guard.is_held()
    assert guard.client.remainder("A") == 0
print("done")
"""


@unix
def test_forked_workers_take_locks_and_do_not_release_that_of_the_parent(serve, program):
    server = serve("A = { max = 1, level = 1 }\nB = 1")
    code, printed, errors = end(program(PREFORK, server.url))
    assert (code, printed) == (0, "done"), errors
    assert [server.client.remainder(name) for name in "AB"] == [1, 1]


@unix
def test_a_fork_while_threads_take_locks_does_not_hang(serve, program):
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
        pytest.skip("this system does not have it")
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


# A thread holds the lock when the program ends.
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


def test_the_end_of_the_interpreter_releases_locks_of_threads(serve, program):
    server = serve()
    assert end(program(HOLDER, server.url)) == (0, "held", "")
    assert server.client.remainder("A") == 1


def test_the_end_of_the_interpreter_does_not_wait_long_for_a_dead_server(
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


def test_an_exit_within_the_block_releases_the_lock(serve, program):
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
    # The import may be refused there, but the program must not hang.
    inner = "try:\n    import throttle_client\nexcept ImportError:\n    pass"
    process = program(SUBINTERPRETER.format(program=inner, destroy=destroy), server.url)
    code, printed, errors = end(process)
    assert (code, printed) == (0, "done"), errors


def test_a_program_ends_if_only_a_subinterpreter_has_imported_the_package(program):
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
def test_a_subinterpreter_releases_only_its_own_locks(serve, program, destroy):
    server = serve("A = 1\nB = 1")
    # The lock is still held when its interpreter ends.
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
def test_the_interrupt_of_a_wait_causes_no_broken_pipe(serve, program):
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

"""What every test has at hand."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from proxy import Proxy
from server import LONG, Server, free_port
from throttle_client import aio, clear_peers, lock


@pytest.fixture
def serve(tmp_path):
    """Starts a server with the semaphores it is called with; it ends with the test."""
    servers = []

    def start(semaphores: str = "A = 1") -> Server:
        servers.append(Server(tmp_path, f"[semaphores]\n{semaphores}\n"))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
    clear_peers()


@pytest.fixture
def program():
    """Starts a Python program with arguments; it ends with the test."""
    programs = []

    def start(source: str, *arguments: str, environment=None) -> subprocess.Popen:
        command = [sys.executable, "-B", "-c", source, *arguments]
        programs.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                env=environment,
                # What the program starts itself ends with it.
                start_new_session=True,
            )
        )
        return programs[-1]

    yield start
    for process in programs:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(params=["sync", "async"])
def hold(request):
    """Calls a function with a lock while it is held, by `with` or by `async with`."""

    def sync(work, *arguments, **options):
        guard = lock(*arguments, **options)
        with guard:
            return work(guard)

    def in_loop(work, *arguments, **options):
        async def hold_it():
            async with aio.lock(*arguments, **options) as guard:
                return await asyncio.to_thread(work, guard)

        return asyncio.run(hold_it())

    return sync if request.param == "sync" else in_loop


@pytest.fixture
def proxy():
    """Puts a proxy before a server; it ends with the test."""
    proxies = []

    def start(server: Server, tls=None) -> Proxy:
        proxies.append(Proxy(server, tls))
        return proxies[-1]

    yield start
    for one in proxies:
        one.close()


@pytest.fixture
def nobody():
    """A URL where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


@contextmanager
def within(seconds: float):
    """Fails if the block takes longer."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert took < seconds, f"it took {took:.1f} s"


def need(package: str):
    """Skips the test if a package is not installed. It is not imported: it might change this process."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def end(process: subprocess.Popen) -> tuple:
    """Waits for a program to end: its exit code and what it printed."""
    stdout, stderr = process.communicate(timeout=LONG)
    return process.returncode, stdout.strip(), stderr.strip()


def run(work):
    """Runs a coroutine to its end, which comes soon."""
    return asyncio.run(asyncio.wait_for(work, LONG))


def peers(server) -> list:
    """The peers that the server knows."""
    with urlopen(f"{server.url}/peers/", timeout=LONG) as answer:
        return json.load(answer)


def uptime(server) -> float:
    """For how many seconds the server has been running, as it says in the answer about an unknown peer.

    A client takes the removal of a peer for a restart if the server is younger than an answer takes.
    """
    question = Request(
        f"{server.url}/peers/1/is_acquired", headers={"Accept": "application/problem+json"}
    )
    try:
        urlopen(question, timeout=LONG)
    except HTTPError as answer:
        return json.load(answer)["uptime_seconds"]
    raise AssertionError("the peer is known")


def holders(server, semaphore: str) -> list:
    """The peers that hold some of a semaphore, as the server tells them."""
    with urlopen(f"{server.url}/semaphores/{semaphore}", timeout=LONG) as answer:
        return json.load(answer)["held_by"]

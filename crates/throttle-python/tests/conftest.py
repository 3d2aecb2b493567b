"""Fixtures and helpers for all tests."""

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
    """Starts servers with the given semaphores, and stops them after the test."""
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
    """Starts Python programs, and kills them after the test."""
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
                # Its own process group, so that its children are killed too.
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
    """Calls a function while it holds a lock, taken with `with` or with `async with`."""

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
    """Starts proxies in front of servers, and closes them after the test."""
    proxies = []

    def start(server: Server, tls=None) -> Proxy:
        proxies.append(Proxy(server, tls))
        return proxies[-1]

    yield start
    for one in proxies:
        one.close()


@pytest.fixture
def dead_url():
    """A URL at which no server listens."""
    return f"http://127.0.0.1:{free_port()}"


@contextmanager
def within(seconds: float):
    """Fails if the block takes longer than `seconds`."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert took < seconds, f"it took {took:.1f} s"


def need(package: str):
    """Skips the test if a package is not installed. Does not import it, which could patch this process."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def end(process: subprocess.Popen) -> tuple:
    """Waits for the end of a program. Returns its exit code, standard output and standard error."""
    stdout, stderr = process.communicate(timeout=LONG)
    return process.returncode, stdout.strip(), stderr.strip()


def run(work):
    """Runs a coroutine to its end. Fails if it hangs."""
    return asyncio.run(asyncio.wait_for(work, LONG))


def peers(server) -> list:
    """All peers of the server."""
    with urlopen(f"{server.url}/peers/", timeout=LONG) as answer:
        return json.load(answer)


def uptime(server) -> float:
    """The uptime of the server in seconds, from the answer for an unknown peer.

    If the server is younger than an answer takes, a client takes the removal of its peer for a restart.
    """
    request = Request(
        f"{server.url}/peers/1/is_acquired", headers={"Accept": "application/problem+json"}
    )
    try:
        urlopen(request, timeout=LONG)
    except HTTPError as answer:
        return json.load(answer)["uptime_seconds"]
    raise AssertionError("the peer is known")


def holders(server, semaphore: str) -> list:
    """The holders of a semaphore, as the server lists them."""
    with urlopen(f"{server.url}/semaphores/{semaphore}", timeout=LONG) as answer:
        return json.load(answer)["held_by"]

"""Runs the server under test as a process.

The environment variable `THROTTLE_BIN` names its binary. Any version works: only the flags and a log
line that ends with "ready" are required.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from threading import Thread, Timer
from time import monotonic, sleep

import requests
from throttle_client import Client

# In seconds. Anything that takes longer never happens.
LONG = 20


class Server:
    """A server process on a free port."""

    def __init__(self, directory: Path, configuration: str):
        self._configuration = directory / "throttle.toml"
        self._configuration.write_text(configuration, encoding="utf-8")
        # Another process may take the free port before the server binds it.
        for _ in range(10):
            self._port = free_port()
            if self._start():
                return
        raise RuntimeError("the server does not start")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def client(self) -> Client:
        return Client(self.url)

    @property
    def endpoint(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def restart(self):
        """Kills the server, as a power failure does, and starts it again at the same port."""
        self.kill()
        if not self._start():
            raise RuntimeError("the server does not start again")

    def kill(self):
        self._process.kill()
        self._process.wait()

    def suspend(self):
        """Stops the process of the server, while its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)
        # The signal takes effect a little later. Waits for that.
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self):
        """Continues a suspended server."""
        self._process.send_signal(signal.SIGCONT)

    def pending(self, semaphore: str) -> int:
        """The sum of all pending counts."""
        metrics = requests.get(f"{self.url}/metrics", timeout=LONG).text
        series = re.escape(f'throttle_pending{{semaphore="{semaphore}"}}')
        return int(re.search(f"^{series} (.+)$", metrics, re.MULTILINE)[1])

    def await_pending(self, semaphore: str, count: int):
        eventually(lambda: self.pending(semaphore) == count)

    def _start(self) -> bool:
        """Starts the process. Returns whether the server listens, as soon as that is known."""
        host, port = self.endpoint
        self._process = subprocess.Popen(
            [os.environ["THROTTLE_BIN"], "--address", host, "--port", str(port)]
            + ["--configuration", str(self._configuration)],
            env={**os.environ, "THROTTLE_LOG": "INFO"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        timeout = Timer(LONG, self._process.kill)
        timeout.start()
        log = self._process.stderr
        is_ready = any(echo(line).rstrip().lower().endswith("ready") for line in log)
        timeout.cancel()
        if is_ready:
            Thread(target=follow, args=[log], daemon=True).start()
        else:
            log.close()
            self._process.wait()
        return is_ready


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def follow(log):
    """Reads the log to its end, because the server would block on a full pipe."""
    with log:
        for line in log:
            echo(line)


def echo(line: str) -> str:
    """Prints a line of the log, which pytest shows if the test fails."""
    sys.stderr.write(line)
    return line


def eventually(condition):
    """Polls until the condition holds."""
    deadline = monotonic() + LONG
    while not condition():
        assert monotonic() < deadline, "the condition never held"
        sleep(0.01)


def spawn(function, *args, **kwargs) -> Future:
    """Runs the function in a new daemon thread, which does not delay the end of a failed test.

    It uses no pool, because the client keeps a peer for each thread.
    """
    future = Future()

    def run():
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future

"""The server under test, as a process of its own.

Which binary that is, the environment variable `THROTTLE_BIN` says. Any version will do: all that is
taken for granted are the flags and a line of the log that ends with "ready".
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

# Nothing takes that long unless it never happens.
LONG = 20


class Server:
    """A server on a free port, until it is killed."""

    def __init__(self, directory: Path, configuration: str):
        self._configuration = directory / "throttle.toml"
        self._configuration.write_text(configuration, encoding="utf-8")
        # Between looking for a port and using it, somebody else may take it.
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
        """Lets the server die as if the power failed, and brings up another at its place."""
        self.kill()
        if not self._start():
            raise RuntimeError("the server does not start again")

    def kill(self):
        self._process.kill()
        self._process.wait()

    def suspend(self):
        """Lets the server say nothing more, while its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)
        # Its threads may run on until the system reports that it has stopped.
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self):
        """Lets a suspended server go on."""
        self._process.send_signal(signal.SIGCONT)

    def pending(self, semaphore: str) -> int:
        """The sum of the counts that are waited for."""
        metrics = requests.get(f"{self.url}/metrics", timeout=LONG).text
        series = re.escape(f'throttle_pending{{semaphore="{semaphore}"}}')
        return int(re.search(f"^{series} (.+)$", metrics, re.MULTILINE)[1])

    def await_pending(self, semaphore: str, count: int):
        eventually(lambda: self.pending(semaphore) == count)

    def _start(self) -> bool:
        """Returns when the server listens, or cannot."""
        host, port = self.endpoint
        self._process = subprocess.Popen(
            [os.environ["THROTTLE_BIN"], "--address", host, "--port", str(port)]
            + ["--configuration", str(self._configuration)],
            env={**os.environ, "THROTTLE_LOG": "INFO"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        patience = Timer(LONG, self._process.kill)
        patience.start()
        log = self._process.stderr
        is_ready = any(echo(line).rstrip().lower().endswith("ready") for line in log)
        patience.cancel()
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
    """Reads to the end, or the server would have to wait when the pipe is full."""
    with log:
        for line in log:
            echo(line)


def echo(line: str) -> str:
    """pytest shows it if the test fails."""
    sys.stderr.write(line)
    return line


def eventually(condition):
    """Waits for something that nobody announces."""
    deadline = monotonic() + LONG
    while not condition():
        assert monotonic() < deadline, "it never happened"
        sleep(0.01)


def spawn(function, *args, **kwargs) -> Future:
    """Runs the function in a thread that keeps no failed test from ending.

    Not a pool: the client remembers a peer for each thread, so each task has a thread of its own.
    """
    future = Future()

    def run():
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future

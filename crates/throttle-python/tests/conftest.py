"""What every test has at hand."""

import subprocess
import sys

import pytest
from server import LONG, Server
from throttle_client import clear_peers


@pytest.fixture
def serve(tmp_path):
    """Starts a server with the semaphores it is called with; it ends with the test."""
    servers = []

    def start(semaphores: str = "A = 1") -> Server:
        servers.append(Server(tmp_path, f"[semaphores]\n{semaphores}\n"))
        return servers[-1]

    yield start
    clear_peers()
    for server in servers:
        server.kill()


@pytest.fixture
def program():
    """Starts a Python program with arguments; it ends with the test."""
    programs = []

    def start(source: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-B", "-c", source, *arguments]
        programs.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
            )
        )
        return programs[-1]

    yield start
    for process in programs:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen) -> tuple:
    """Waits for a program to end: its exit code and what it printed."""
    stdout, stderr = process.communicate(timeout=LONG)
    return process.returncode, stdout.strip(), stderr.strip()

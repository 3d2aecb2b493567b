"""Fixtures for all tests."""

import pytest
from server import Server
from throttle_client import clear_peers


@pytest.fixture
def serve(tmp_path):
    """Starts servers with the given semaphores, and stops them after the test."""
    servers = []

    def start(semaphores: str) -> Server:
        servers.append(Server(tmp_path, f"[semaphores]\n{semaphores}\n"))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
    # The client keeps the peer of this thread after the end of the server.
    clear_peers()

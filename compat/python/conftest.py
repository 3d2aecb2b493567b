"""What every test has at hand."""

import pytest
from server import Server
from throttle_client import clear_peers


@pytest.fixture
def serve(tmp_path):
    """Starts a server with the semaphores it is called with; it ends with the test."""
    servers = []

    def start(semaphores: str) -> Server:
        servers.append(Server(tmp_path, f"[semaphores]\n{semaphores}\n"))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
    # The client remembers the peer of this thread beyond the life of the server.
    clear_peers()

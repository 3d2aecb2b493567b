"""Requests of scripts that use no client, such as those with `curl`."""

import json
from contextlib import closing
from http.client import HTTPConnection

import pytest
import requests
from server import LONG


@pytest.fixture
def call(serve):
    """A function that sends a request to a server with A = 1, and returns status and text of the answer.

    It sends the path unchanged, while `requests` would normalise it.
    """
    server = serve("A = 1")

    def call(method: str, path: str, body=None) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        body = None if body is None else json.dumps(body)
        with closing(HTTPConnection(*server.endpoint, timeout=LONG)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    call.url = server.url
    return call


@pytest.fixture
def peer(call) -> int:
    """A peer of that server."""
    status, peer = call("POST", "/new_peer", {"expires_in": "5m"})
    assert status == 200
    return int(peer)


def test_the_whole_life_of_a_peer_and_its_lock(call, peer):
    status, _ = call("PUT", f"/peers/{peer}/A?expires_in=5m&block_for=10s", 1)
    assert status == 200
    assert call("PUT", f"/peers/{peer}", {"expires_in": "1h 30m"}) == (200, "Ok")
    assert call("GET", f"/peers/{peer}/is_acquired") == (200, "true")
    assert call("GET", "/remainder?semaphore=A") == (200, "0")
    assert call("DELETE", f"/peers/{peer}/A") == (200, "Ok")
    assert call("DELETE", f"/peers/{peer}") == (200, '"Peer released"')
    assert call("DELETE", f"/peers/{peer}") == (200, '"Peer not found"')


def test_the_status_of_a_pending_lock_is_202(call, peer):
    restored = {"expires_in": "5m", "peer_id": peer + 1, "acquired": {"A": 1}}
    assert call("POST", "/restore", restored) == (200, "Ok")
    status, _ = call("PUT", f"/peers/{peer}/A?block_for=10ms", 1)
    assert status == 202
    assert call("GET", f"/peers/{peer}/is_acquired") == (200, "false")


def test_an_empty_query_is_the_same_as_none(call, peer):
    assert call("PUT", f"/peers/{peer}/A?", 1)[0] == 200
    assert call("PUT", f"/peers/{peer}/A", 1)[0] == 200


def test_a_plus_is_a_space_in_a_duration(call, peer):
    assert call("PUT", f"/peers/{peer}/A?expires_in=1h+30m", 1)[0] == 200
    assert call("PUT", f"/peers/{peer}/A?expires_in=1h%2030m", 1)[0] == 200


def test_peers_are_listed(call, peer):
    call("POST", "/restore", {"expires_in": "5m", "peer_id": 42, "acquired": {"A": 1}})
    peers = requests.get(f"{call.url}/peers/", timeout=LONG).json()
    assert sorted(it["id"] for it in peers) == sorted([42, peer])


def test_errors_have_the_sentences_that_clients_compare(call, peer):
    assert call("PUT", "/peers/42", {"expires_in": "5m"}) == (400, "Unknown peer")
    assert call("PUT", "/peers/42/A", 1) == (400, "Unknown peer")
    assert call("PUT", f"/peers/{peer}/B", 1) == (400, "Unknown semaphore")
    assert call("GET", "/remainder?semaphore=B") == (400, "Unknown semaphore")
    status, text = call("PUT", f"/peers/{peer}/A", 2)
    assert status == 409
    assert text.startswith("Lock can never be acquired.")


def test_health_version_and_icon_are_served(call):
    assert call("GET", "/") == (200, "Hello from Throttle!")
    assert call("GET", "/health") == (200, "Ok")
    status, version = call("GET", "/version")
    assert status == 200
    assert version.split(".")[0].isdecimal()
    assert requests.get(f"{call.url}/favicon.ico", timeout=LONG).content


def test_metrics_have_the_names_that_dashboards_use(call, peer):
    call("PUT", f"/peers/{peer}/A", 1)
    lines = call("GET", "/metrics")[1].splitlines()
    for line in [
        "# HELP throttle_acquired Sum of all acquired locks.",
        "# TYPE throttle_acquired gauge",
        'throttle_acquired{semaphore="A"} 1',
        "# HELP throttle_longest_pending_sec Time the longest pending peer is waiting until now, "
        "to acquire a lock to a semaphore.",
        "# TYPE throttle_longest_pending_sec gauge",
        'throttle_longest_pending_sec{semaphore="A"} 0',
        "# HELP throttle_max Maximum allowed lock count for this semaphore.",
        "# TYPE throttle_max gauge",
        'throttle_max{semaphore="A"} 1',
        "# HELP throttle_pending Sum of all pending locks",
        "# TYPE throttle_pending gauge",
        'throttle_pending{semaphore="A"} 0',
    ]:
        assert line in lines


@pytest.mark.repaired
def test_an_overflowing_duration_does_not_crash_the_server(call, peer):
    status, _ = call("POST", "/new_peer", {"expires_in": "500000000000y"})
    assert status == 422
    assert call("GET", f"/peers/{peer}/is_acquired") == (200, "true")

"""Proxies that answer in place of the server."""

import pytest
from conftest import peers
from server import LONG, eventually, spawn
from throttle_client import Unreachable, lock

# The statuses that an ingress answers while the server behind it restarts.
STATUSES = [404, 502, 503, 504]


def token(held):
    return held.fencing_token


@pytest.mark.parametrize("status", STATUSES)
def test_a_lock_is_granted_once_the_proxy_reaches_its_server(serve, proxy, hold, status):
    server = serve()
    between = proxy(server)
    between.status = status
    waiting = spawn(hold, token, between.url, "A", timeout=LONG)
    eventually(lambda: len(between.requests) >= 2)
    between.status = None
    assert waiting.result(timeout=LONG) > 0
    eventually(lambda: server.client.remainder("A") == 1)


@pytest.mark.parametrize("status", STATUSES)
def test_a_wait_continues_once_the_proxy_reaches_its_server(serve, proxy, hold, status):
    server = serve()
    between = proxy(server)
    with lock(server.url, "A"):
        waiting = spawn(hold, token, between.url, "A", timeout=LONG)
        server.await_pending("A", 1)
        between.status = status
        # Breaks the blocked request at the proxy and at the server.
        between.interrupt()
        asked = len(between.requests)
        eventually(lambda: len(between.requests) >= asked + 2)
        between.status = None
        server.await_pending("A", 1)
    assert waiting.result(timeout=LONG) > 0
    assert peers(server) == []


def test_unreachable_names_the_status_of_the_page_of_a_proxy(serve, proxy, hold):
    between = proxy(serve())
    between.status = 502
    with pytest.raises(Unreachable, match="502"):
        hold(token, between.url, "A", timeout=1)


@pytest.mark.parametrize("status", [301, 302])
def test_unreachable_names_the_location_of_a_redirect_that_is_not_followed(serve, proxy, hold, status):
    between = proxy(serve())
    between.status, between.location = status, lambda path: f"https://throttle.example{path}"
    with pytest.raises(Unreachable, match='"A".*https://throttle.example/'):
        hold(token, between.url, "A", timeout=5)


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method_is_followed(serve, proxy, hold, status):
    server = serve()
    between = proxy(server)
    between.status, between.location = status, lambda path: server.url + path
    assert hold(token, between.url, "A", timeout=LONG) > 0
    assert peers(server) == []


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_are_reported_at_once(serve, proxy, hold, status):
    between = proxy(serve())
    between.status = status
    with pytest.raises(Unreachable, match=f'"A".*{status}'):
        hold(token, between.url, "A")
    assert len(between.requests) == 1

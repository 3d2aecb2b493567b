"""Proxies that answer in the place of the server."""

import pytest
from conftest import peers
from server import LONG, eventually, spawn
from throttle_client import Unreachable, lock

# What an ingress answers while the server behind it is started again.
STATUSES = [404, 502, 503, 504]


def token(held):
    return held.fencing_token


@pytest.mark.parametrize("status", STATUSES)
def test_who_comes_while_a_proxy_has_no_server_gets_the_lock_later(serve, proxy, hold, status):
    server = serve()
    between = proxy(server)
    between.status = status
    waiting = spawn(hold, token, between.url, "A", timeout=LONG)
    eventually(lambda: len(between.requests) >= 2)
    between.status = None
    assert waiting.result(timeout=LONG) > 0
    eventually(lambda: server.client.remainder("A") == 1)


@pytest.mark.parametrize("status", STATUSES)
def test_who_waits_while_a_proxy_has_no_server_keeps_its_place(serve, proxy, hold, status):
    server = serve()
    between = proxy(server)
    with lock(server.url, "A"):
        waiting = spawn(hold, token, between.url, "A", timeout=LONG)
        server.await_pending("A", 1)
        between.status = status
        # The wait at the server ends here, and with it what the proxy passed on.
        between.interrupt()
        asked = len(between.requests)
        eventually(lambda: len(between.requests) >= asked + 2)
        between.status = None
        server.await_pending("A", 1)
    assert waiting.result(timeout=LONG) > 0
    assert peers(server) == []


def test_a_page_that_is_no_answer_is_named_when_the_time_is_over(serve, proxy, hold):
    between = proxy(serve())
    between.status = 502
    with pytest.raises(Unreachable, match="502"):
        hold(token, between.url, "A", timeout=1)


@pytest.mark.parametrize("status", [301, 302])
def test_a_redirect_that_is_not_followed_names_where_it_leads(serve, proxy, hold, status):
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
def test_credentials_that_are_wrong_are_told_at_once(serve, proxy, hold, status):
    between = proxy(serve())
    between.status = status
    with pytest.raises(Unreachable, match=f'"A".*{status}'):
        hold(token, between.url, "A")
    assert len(between.requests) == 1

"""Events of locks in Python's `logging`."""

import logging

import pytest
from server import LONG, eventually
from throttle_client import LockLost, lock


@pytest.fixture
def log(caplog):
    """A function that returns the messages of the package so far."""
    with caplog.at_level(logging.DEBUG, "throttle_client"):
        yield lambda level=logging.DEBUG: [
            record.getMessage()
            for record in list(caplog.records)
            if record.name.startswith("throttle_client") and record.levelno >= level
        ]


def has_message(messages, *words):
    """Whether one of the messages contains all of the words."""
    return any(all(word in message for word in words) for message in messages)


def test_a_restart_of_the_server_is_logged(serve, log):
    server = serve()
    held = lock(server.url, "A", expiration_time=1)
    with held:
        server.restart()
        eventually(lambda: has_message(log(logging.WARNING), "restored at the server", "A"))
        assert held.is_held()


def test_failed_heartbeats_and_the_loss_are_logged(serve, log):
    server = serve()
    with pytest.raises(LockLost):
        held = lock(server.url, "A", expiration_time=1)
        with held:
            server.kill()
            eventually(lambda: has_message(log(logging.WARNING), "heartbeat", server.url))
            assert held.lost.wait(LONG)
            eventually(lambda: has_message(log(logging.WARNING), "lost"))


def test_messages_name_the_semaphore_or_the_server(serve, log):
    server = serve()
    with pytest.raises(LockLost):
        held = lock(server.url, "A", expiration_time=1)
        with held:
            server.kill()
            assert held.lost.wait(LONG)
            eventually(lambda: has_message(log(logging.WARNING), "lost", server.url))


def test_a_wait_for_a_server_that_is_away_is_logged(dead_url, program):
    source = """
import sys
from throttle_client import lock
# If logging is not configured, Python writes warnings to standard error.
lock(sys.argv[1], "A").acquire()
"""
    warning = program(source, dead_url).stderr.readline()
    assert dead_url in warning and '"A"' in warning


def test_a_log_handler_that_sends_requests_blocks_no_heartbeat(serve, caplog):
    server = serve("A = 1\nB = 1")
    results = []

    class RequestingHandler(logging.Handler):
        def emit(self, record):
            if not results:
                results.append(record)
                results.append(server.client.remainder("B"))

    logger = logging.getLogger("throttle_client")
    handler = RequestingHandler()
    logger.addHandler(handler)
    try:
        held = lock(server.url, "A", expiration_time=1)
        with held:
            server.restart()
            eventually(lambda: len(results) == 2)
            assert not held.lost.wait(1)
    finally:
        logger.removeHandler(handler)
    assert results[1] == 1

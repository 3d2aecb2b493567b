"""What Python's `logging` hears of locks."""

import logging

import pytest
from server import LONG, eventually
from throttle_client import LockLost, lock


@pytest.fixture
def log(caplog):
    """The messages of the package so far."""
    with caplog.at_level(logging.DEBUG, "throttle_client"):
        yield lambda level=logging.DEBUG: [
            record.getMessage()
            for record in list(caplog.records)
            if record.name.startswith("throttle_client") and record.levelno >= level
        ]


def heard(messages, *words):
    return any(all(word in message for word in words) for message in messages)


def test_a_restart_of_the_server_is_heard_of(serve, log):
    server = serve()
    held = lock(server.url, "A", expiration_time=1)
    with held:
        server.restart()
        eventually(lambda: heard(log(logging.WARNING), "told what the peer holds", "A"))
        assert held.is_held()


def test_failed_signs_of_life_and_the_loss_are_heard_of(serve, log):
    server = serve()
    with pytest.raises(LockLost):
        held = lock(server.url, "A", expiration_time=1)
        with held:
            server.kill()
            eventually(lambda: heard(log(logging.WARNING), "heartbeat", server.url))
            assert held.lost.wait(LONG)
            eventually(lambda: heard(log(logging.WARNING), "lost"))


def test_messages_name_the_semaphore_or_the_server(serve, log):
    server = serve()
    with pytest.raises(LockLost):
        held = lock(server.url, "A", expiration_time=1)
        with held:
            server.kill()
            assert held.lost.wait(LONG)
            eventually(lambda: heard(log(logging.WARNING), "lost", server.url))


def test_who_waits_for_a_server_that_is_away_says_so(nobody, program):
    source = """
import sys
from throttle_client import lock
# Where no logging is set up, Python writes warnings to standard error.
lock(sys.argv[1], "A").acquire()
"""
    said = program(source, nobody).stderr.readline()
    assert nobody in said and '"A"' in said


def test_a_handler_that_takes_locks_itself_stops_nobody(serve, caplog):
    server = serve("A = 1\nB = 1")
    told = []

    class Curious(logging.Handler):
        def emit(self, record):
            if not told:
                told.append(record)
                told.append(server.client.remainder("B"))

    logger = logging.getLogger("throttle_client")
    handler = Curious()
    logger.addHandler(handler)
    try:
        held = lock(server.url, "A", expiration_time=1)
        with held:
            server.restart()
            eventually(lambda: len(told) == 2)
            assert not held.lost.wait(1)
    finally:
        logger.removeHandler(handler)
    assert told[1] == 1

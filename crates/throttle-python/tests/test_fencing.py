"""Whether the lock with a fencing token is held, for resources that ask."""

import asyncio

import pytest
from throttle_client import Client, Refused, Unreachable, aio, lock


def test_a_token_is_held_as_long_as_its_lock(serve):
    server = serve("A = 2\nB = 1")
    client = Client(server.url)
    first, second = lock(server.url, "A"), lock(server.url, "A")
    with first:
        token = first.fencing_token
        assert client.is_held("A", token)
        assert not client.is_held("A", token + 1)
        assert not client.is_held("B", token)
    # The second lock has a greater token. That alone says nothing about the first one.
    with second:
        assert second.fencing_token > token
        assert client.is_held("A", second.fencing_token)
        assert not client.is_held("A", token)


def test_holders_of_a_semaphore_are_held_side_by_side_whatever_their_tokens(serve):
    server = serve("A = 2")

    async def work():
        client = aio.Client(server.url)
        async with aio.lock(client, "A") as older, aio.lock(client, "A") as newer:
            assert older.fencing_token < newer.fencing_token
            assert await client.is_held("A", older.fencing_token)
            assert await client.is_held("A", newer.fencing_token)

    asyncio.run(work())


def test_an_unknown_semaphore_and_a_missing_server_are_no_permission(serve, dead_url):
    client = Client(serve("A = 1").url)
    with pytest.raises(Refused) as error:
        client.is_held("X", 1)
    assert error.value.code == "unknown_semaphore"
    with pytest.raises(Unreachable):
        Client(dead_url, timeout=0.1).is_held("A", 1)


@pytest.mark.parametrize("token", [-1, 1 << 64])
def test_a_number_that_is_no_token_is_refused_at_once(dead_url, token):
    with pytest.raises(ValueError, match=f"{token} is no fencing token"):
        Client(dead_url).is_held("A", token)
    with pytest.raises(ValueError, match=f"{token} is no fencing token"):
        asyncio.run(aio.Client(dead_url).is_held("A", token))

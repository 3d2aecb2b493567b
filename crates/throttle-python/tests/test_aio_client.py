"""The methods of `aio.Client`."""

import asyncio
from datetime import timedelta

import pytest
from conftest import holders
from throttle_client import UnknownPeer, Unreachable, aio

MINUTE = timedelta(minutes=1)


def test_every_method_can_be_awaited(serve):
    server = serve("A = 2")

    async def work():
        client = aio.Client(server.url)
        peer = await client.new_peer(expires_in=MINUTE)
        assert await client.acquire(peer, "A", count=2, block_for=1, expires_in=MINUTE)
        assert await client.remainder("A") == 0
        assert await client.is_acquired(peer)
        await client.heartbeat(peer, expires_in=MINUTE)
        token = holders(server, "A")[0]["fencing_token"]
        assert await client.is_held("A", token)
        await client.release_lock(peer, "A")
        assert not await client.is_held("A", token)
        assert await client.remainder("A") == 2
        await client.release(peer)
        with pytest.raises(UnknownPeer):
            await client.heartbeat(peer, expires_in=MINUTE)
        await client.restore(peer, {"A": 1}, expires_in=MINUTE)
        assert await client.remainder("A") == 1

    asyncio.run(work())


def test_a_blocking_acquire_does_not_block_the_loop(serve):
    server = serve("A = 1")

    async def work():
        client = aio.Client(server.url)
        holder = await client.new_peer(expires_in=MINUTE)
        waiter = await client.new_peer(expires_in=MINUTE)
        await client.acquire(holder, "A")
        waiting = asyncio.ensure_future(client.acquire(waiter, "A", block_for=MINUTE))
        while server.pending("A") != 1:
            await asyncio.sleep(0)
        await client.release(holder)
        assert await waiting

    asyncio.run(work())


def test_locks_accept_both_kinds_of_clients(serve):
    server = serve("A = 1")

    async def work():
        client = aio.Client(server.url)
        async with aio.lock(client, "A"):
            assert await client.remainder("A") == 0

    asyncio.run(work())
    with pytest.raises(Unreachable):
        asyncio.run(aio.Client("http://127.0.0.1:9", timeout=0.1).remainder("A"))

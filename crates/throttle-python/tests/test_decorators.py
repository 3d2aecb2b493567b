"""Locks as decorators of functions."""

import asyncio
import inspect

import pytest
from conftest import run
from throttle_client import aio, lock

both = pytest.mark.parametrize("decorate", [lock, aio.lock])


def test_a_function_runs_under_the_lock_each_time(serve):
    server = serve()

    @lock(server.url, "A")
    def remainder():
        """How much is left."""
        return server.client.remainder("A")

    assert [remainder(), remainder()] == [0, 0]
    assert server.client.remainder("A") == 1
    assert remainder.__doc__ == "How much is left."


@both
def test_a_coroutine_function_runs_under_the_lock_to_its_end(serve, decorate):
    server = serve()

    @decorate(server.url, "A")
    async def remainder():
        await asyncio.sleep(0)
        return await asyncio.to_thread(server.client.remainder, "A")

    assert inspect.iscoroutinefunction(remainder)

    async def twice():
        return [await remainder(), await remainder()]

    assert run(twice()) == [0, 0]
    assert server.client.remainder("A") == 1


@both
def test_calls_of_a_coroutine_function_exclude_each_other(serve, decorate):
    server = serve()
    steps = []

    @decorate(server.url, "A")
    async def work(number):
        steps.append(number)
        await asyncio.sleep(0)
        steps.append(number)

    async def together():
        await asyncio.gather(*(work(number) for number in range(4)))

    run(together())
    assert steps[::2] == steps[1::2] and len(steps) == 8


def test_the_lock_of_a_function_is_released_if_the_function_raises(serve):
    server = serve()

    @lock(server.url, "A")
    async def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(fail())
    assert server.client.remainder("A") == 1


@both
def test_a_generator_function_cannot_be_decorated(dead_url, decorate):
    def numbers():
        yield 1

    async def later_numbers():
        yield 1

    for function in (numbers, later_numbers):
        with pytest.raises(TypeError, match="numbers is a generator function"):
            decorate(dead_url, "A")(function)

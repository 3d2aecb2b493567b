"""All kinds of clients exclude each other."""

import asyncio
import os
import subprocess
import threading

import pytest
from throttle_client import aio, lock

PROGRAM = os.environ.get("THROTTLECTL_BIN")


@pytest.mark.skipif(PROGRAM is None, reason="THROTTLECTL_BIN is not set")
def test_a_counter_that_all_clients_increment_under_the_lock_loses_no_increment(serve, tmp_path):
    server = serve()
    count = tmp_path / "count"
    count.write_text("0\n")

    def increment():
        seen = int(count.read_text())
        count.write_text(f"{seen + 1}\n")

    def in_a_thread():
        for _ in range(20):
            with lock(server.url, "A"):
                increment()

    async def in_a_task():
        for _ in range(20):
            async with aio.lock(server.url, "A"):
                increment()

    def in_a_loop():
        async def tasks():
            await asyncio.gather(in_a_task(), in_a_task())

        asyncio.run(tasks())

    def in_a_shell():
        script = 'seen=$(cat "$1"); echo $((seen + 1)) > "$1"'
        command = ["lock", "A", "--", "sh", "-c", script, "sh", str(count)]
        for _ in range(10):
            subprocess.run([PROGRAM, "--url", server.url, *command], check=True)

    workers = [in_a_thread, in_a_thread, in_a_loop, in_a_shell, in_a_shell]
    threads = [threading.Thread(target=work) for work in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(count.read_text()) == 2 * 20 + 2 * 20 + 2 * 10
    assert server.client.remainder("A") == 1

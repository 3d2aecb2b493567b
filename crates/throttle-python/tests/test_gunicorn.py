"""A web application under gunicorn, which forks its workers."""

import re
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest
from conftest import need, peers
from server import LONG, eventually

# Takes a lock during its import, before the workers are forked, and one for each request.
APPLICATION = """
import os
from throttle_client import lock

URL = os.environ["THROTTLE_URL"]
guard = lock(URL, "A", timeout=10)
with guard:
    pass

def application(environ, start_response):
    with guard as peer:
        body = f"{os.getpid()} {guard.fencing_token}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def application(serve, tmp_path):
    """Starts the application with options of gunicorn. Returns the server, the URL and the process."""
    processes = []

    def start(*options):
        server = serve()
        (tmp_path / "web.py").write_text(APPLICATION)
        command = [sys.executable, "-B", "-m", "gunicorn", "--preload", "--workers=2"]
        process = subprocess.Popen(
            [*command, "--bind=127.0.0.1:0", *options, "web:application"],
            cwd=tmp_path,
            env={"PATH": "", "THROTTLE_URL": server.url},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        processes.append(process)
        for line in process.stderr:
            found = re.search(r"Listening at: (http://\S+)", line)
            if found:
                return server, found[1], process
        raise RuntimeError("gunicorn does not start")

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_forked_workers_take_locks(application, kind):
    need("gunicorn")
    if kind == "gevent":
        need("gevent")
    server, url, process = application(f"--worker-class={kind}", "--threads=2")
    workers, tokens = set(), []

    def request():
        with urlopen(url, timeout=LONG) as answer:
            worker, token = answer.read().split()
        workers.add(worker)
        tokens.append(int(token))
        return len(workers) == 2

    eventually(request)
    assert tokens == sorted(set(tokens))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LONG)
    assert process.returncode == 0
    assert peers(server) == []

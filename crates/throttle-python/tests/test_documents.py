"""Runs the Python examples in the documents. Only the URL of the server is replaced."""

import re
from pathlib import Path

import pytest
import requests
from server import LONG

ROOT = Path(__file__).parents[3]
DOCUMENTS = ["README.md", "docs/clients.md", "docs/migrating.md"]
ADDRESS = "http://localhost:8000"


def examples():
    """The Python blocks that use the package, by document and line."""
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 1
            if "throttle_client" in block[1]:
                yield pytest.param(block[1], id=f"{document}:{line}")


@pytest.mark.parametrize("source", list(examples()))
def test_an_example_in_the_documents_runs_and_leaves_no_peer_behind(serve, source):
    server = serve("A = 42\nB = { max = 1, level = 1 }\nreport = 1\n")
    reports = []
    assert ADDRESS in source
    source = source.replace(ADDRESS, server.url)

    exec(source, {"make_report": lambda: reports.append(server.client.remainder("report"))})

    assert reports in ([], [0])
    assert requests.get(f"{server.url}/peers", timeout=LONG).json() == []

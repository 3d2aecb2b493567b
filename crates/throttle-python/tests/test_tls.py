"""Servers behind `https`, with self-signed certificates."""

import shutil
import ssl
import subprocess

import pytest
from conftest import peers
from throttle_client import Client, Unreachable

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")

REQUEST = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = throttle
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
"""


class Certificate:
    """A self-signed certificate and its key, as files."""

    def __init__(self, directory, name):
        self.path, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        request = directory / "request.cnf"
        request.write_text(REQUEST)
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-config", request, "-keyout", self.key, "-out", self.path]
        subprocess.run(
            ["openssl", "req", "-x509", "-days", "2", *curve, *files],
            check=True,
            capture_output=True,
        )


@pytest.fixture
def certificate(tmp_path):
    """A function that makes a certificate."""
    return lambda name: Certificate(tmp_path, name)


def server_context(certificate, client=None):
    """A TLS context for a proxy with this certificate, which requires that of the client if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    if client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client.path)
    return context


def token(held):
    return held.fencing_token


def test_unreachable_names_an_untrusted_certificate_as_the_cause(serve, proxy, certificate, hold):
    between = proxy(serve(), server_context(certificate("server")))
    with pytest.raises(Unreachable, match="certificate"):
        hold(token, between.url, "A", timeout=1)


@pytest.mark.parametrize("form", ["path", "text", "bytes"])
def test_a_certificate_passed_as_ca_is_trusted(serve, proxy, certificate, hold, form):
    server, shown = serve(), certificate("server")
    between = proxy(server, server_context(shown))
    forms = {"path": shown.path, "text": shown.path.read_text(), "bytes": shown.path.read_bytes()}
    assert hold(token, between.url, "A", ca=forms[form]) > 0
    assert peers(server) == []


@pytest.mark.parametrize("form", ["two files", "one file"])
def test_a_client_presents_its_certificate(serve, proxy, certificate, hold, form, tmp_path):
    server, shown, client = serve(), certificate("server"), certificate("client")
    between = proxy(server, server_context(shown, client))
    both = tmp_path / "both.pem"
    both.write_bytes(client.path.read_bytes() + client.key.read_bytes())
    client_cert = (client.path, client.key) if form == "two files" else both
    assert hold(token, between.url, "A", ca=shown.path, client_cert=client_cert) > 0
    with pytest.raises(Unreachable):
        Client(between.url, ca=shown.path, timeout=1).remainder("A")


def test_an_invalid_certificate_is_refused_before_any_request(dead_url, hold):
    with pytest.raises(ValueError, match="certificate"):
        hold(token, dead_url.replace("http:", "https:"), "A", ca=b"no certificate", timeout=1)
    with pytest.raises(FileNotFoundError, match="missing.pem"):
        hold(token, dead_url, "A", ca="missing.pem")

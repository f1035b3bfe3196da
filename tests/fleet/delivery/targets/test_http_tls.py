"""Delivery over TLS: trusted and untrusted certificates."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from fleet.delivery.target import Receipt, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.http.client import HttpTimeouts
from fleet.delivery.targets.http.target import HttpTarget
from tests.fleet.delivery.delivering import FIRST_ID, delivery_error, raw_server, retry_without_waiting
from tests.fleet.delivery.scripted_server import ScriptedResponse, ScriptedServer, batch


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    if not shutil.which("openssl"):
        pytest.skip("certificates are made with the openssl command, which is not here")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-addext", "keyUsage=critical,keyCertSign,digitalSignature", "-keyout", str(path), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(certificate: Path) -> None:
    with ScriptedServer(certificate=certificate) as server:
        message = delivery_error(server.url, TargetMisconfigured)

    assert (
        "its certificate is not to be trusted: self-signed certificate (SSL_CERT_FILE may name its authority)"
        == message
    )
    assert [] == server.requests


def test_ssl_cert_file_names_authorities(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with ScriptedServer(certificate=certificate) as server:
        assert Receipt(FIRST_ID) == HttpTarget(server.url).deliver(batch(1))
        message = delivery_error(server.url.replace("127.0.0.1", "localhost"), TargetMisconfigured)

    assert "its certificate is not to be trusted: Hostname mismatch" in message
    assert message.endswith("(name the host as its certificate does)")
    assert 1 == len(server.requests)


def test_a_tls_connection_that_breaks_is_tried_again(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    cut = ScriptedResponse(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{}")
    with ScriptedServer(cut, ScriptedResponse(hangs=True), ScriptedResponse(), certificate=certificate) as server:
        target = HttpTarget(server.url, retry=retry_without_waiting(8), timeouts=HttpTimeouts(read=1.0))
        assert Receipt(FIRST_ID) == target.deliver(batch(1))

    assert 3 <= len(server.requests)


def test_a_server_without_tls_is_misconfigured_for_https() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with raw_server(plain) as url:
        assert delivery_error(url.replace("http:", "https:"), TargetMisconfigured).endswith(
            "(does it speak http:// there?)"
        )


def test_a_server_that_hangs_up_instead_of_a_handshake_may_be_back_later() -> None:
    with raw_server(lambda connection: connection.recv(65536)) as url:
        message = delivery_error(url.replace("http:", "https:"), TargetUnavailable, attempts=1)

    assert message == "the TLS connection broke before there was a whole answer (tried once)"

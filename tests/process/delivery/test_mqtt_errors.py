"""Messages about a broker that cannot be used: which setting is wrong, and what to do. They never contain a password."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fleet.delivery.target import DeliveryFailed, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.mqtt.address import parse_address
from fleet.delivery.targets.mqtt.client import connection_failure
from fleet.delivery.targets.mqtt.target import TOPIC_COLUMNS
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch
from tests.servers.mosquitto import Broker, broker


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates `ca`, `server` for 127.0.0.1, `other` for another host, and `client`, each with its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    make_certificate(folder, "ca", "basicConstraints=critical,CA:TRUE")
    for name, extension in (("server", "IP:127.0.0.1"), ("other", "DNS:broker.example.com"), ("client", "DNS:client")):
        make_certificate(
            folder, name, f"subjectAltName={extension}", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"
        )
    return folder


def make_certificate(folder: Path, name: str, extension: str, *options: object) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "9",
    ]
    files: list[object] = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
    arguments = [*command, "-subj", f"/CN={name}", "-addext", extension, *files, *options]
    subprocess.run([str(each) for each in arguments], check=True, capture_output=True)


@contextmanager
def tls_broker(folder: Path, certificates: Path, name: str, *lines: str) -> Iterator[Broker]:
    files = (f"cafile {certificates / 'ca.pem'}", f"certfile {certificates / f'{name}.pem'}")
    with broker(folder, *files, f"keyfile {certificates / f'{name}.key'}", "allow_anonymous true", *lines) as server:
        yield server


def delivered(url: str, **environment: str) -> int:
    """Deliver one reading; returns how many the broker has acknowledged."""
    with closing(open_target(url, TargetOptions(environment=environment, retry_seconds=0.0))) as target:
        return len(target.deliver(batch(1, 2)).accepted)


def message(url: str, kind: type[DeliveryFailed], **environment: str) -> str:
    with pytest.raises(kind) as raised:
        delivered(url, **environment)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_certificate_of_an_authority_of_the_users_own(tmp_path: Path, certificates: Path) -> None:
    ca = str(certificates / "ca.pem")
    with tls_broker(tmp_path, certificates, "server") as server:
        url = server.url.replace("mqtt:", "mqtts:")
        assert 1 == delivered(f"{url}?ca={ca}")
        assert 1 == delivered(f"{url}?connections=sensor&qos=2", MQTT_CA_FILE=ca)
        failure = message(url, TargetMisconfigured)
        assert "its certificate is not trusted: " in failure
        assert failure.endswith("name the authority with ?ca=FILE or MQTT_CA_FILE")
        plain = message(server.url, TargetUnavailable)
        assert (
            f"127.0.0.1:{server.port} closed the connection without an answer: is it a broker? if it speaks TLS, use mqtts://"
            in plain
        )


def test_a_certificate_for_another_host(tmp_path: Path, certificates: Path) -> None:
    with tls_broker(tmp_path, certificates, "other") as server:
        failure = message(f"{server.url.replace('mqtt:', 'mqtts:')}?ca={certificates / 'ca.pem'}", TargetMisconfigured)
        assert "mismatch" in failure
        assert failure.endswith("use the host's name in it")


def test_a_broker_that_wants_a_certificate_of_the_client(tmp_path: Path, certificates: Path) -> None:
    with tls_broker(tmp_path, certificates, "server", "require_certificate true") as server:
        url = f"{server.url.replace('mqtt:', 'mqtts:')}?ca={certificates / 'ca.pem'}"
        assert "set MQTT_CERT_FILE" in message(url, TargetUnavailable)
        cert, key = str(certificates / "client.pem"), str(certificates / "client.key")
        assert 1 == delivered(f"{url}&cert={cert}&key={key}")
        assert 1 == delivered(url, MQTT_CERT_FILE=cert, MQTT_KEY_FILE=key)


def test_files_that_cannot_be_used(tmp_path: Path, certificates: Path) -> None:
    missing, ca, cert = tmp_path / "missing.pem", certificates / "ca.pem", certificates / "client.pem"
    for options, reason in (
        (f"ca={missing}", f"ca is {missing}: No such file or directory (the option ca, or MQTT_CA_FILE)"),
        (f"ca={certificates / 'ca.key'}", "which holds no certificates: allowed is a file in PEM"),
        (f"ca={ca}&cert={cert}", "private key without a passphrase"),
        (f"ca={ca}&cert={cert}&key={certificates / 'ca.key'}", "private key without a passphrase"),
        (f"key={certificates / 'ca.key'}", "key is given without cert"),
    ):
        with pytest.raises(UserError) as raised:
            open_target(f"mqtts://127.0.0.1/x?{options}", TargetOptions(environment={}))
        assert reason in str(raised.value)


def test_no_tls_behind_the_port(tmp_path: Path) -> None:
    with broker(tmp_path) as server:
        failure = message(server.url.replace("mqtt:", "mqtts:"), DeliveryFailed)
    assert f"127.0.0.1:{server.port}" in failure


def test_no_host_and_no_broker(tmp_path: Path) -> None:
    assert "no address for the host broker.invalid" in message("mqtt://broker.invalid/x", TargetUnavailable)
    with socket.create_server(("127.0.0.1", 0)) as other:

        def hang_up() -> None:
            accepted, _ = other.accept()
            accepted.close()

        threading.Thread(target=hang_up).start()
        failure = message(f"mqtt://127.0.0.1:{other.getsockname()[1]}/x", TargetUnavailable)
    assert "closed the connection without an answer: is it a broker?" in failure


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("connections", ["one", "sensor"])
def test_a_topic_for_which_there_is_no_permission(qos: int, connections: str, tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic write allowed/#\n")
    with broker(tmp_path, "allow_anonymous true", f"acl_file {tmp_path / 'acl'}") as server:
        options = f"?qos={qos}&connections={connections}"
        failure = message(f"{server.url}/forbidden/{{sensor_id}}{options}", TargetMisconfigured)
        expected = (
            "the broker refuses what is published: Not authorized: topic forbidden/KIN_1: the user needs a permission"
        )
        assert expected in failure
        allowed = f"{server.url}/allowed/{{sensor_id}}{options}"
        assert 1 == delivered(allowed)
        assert "Not authorized: topic state" in message(f"{allowed}&status=state", TargetMisconfigured)
        assert "Not authorized: topic spBv1.0/plant/NBIRTH/" in message(
            f"{server.url}/plant{options}&payload=sparkplug", TargetMisconfigured
        )


def test_no_more_files() -> None:
    address = parse_address("mqtt://127.0.0.1/x", TOPIC_COLUMNS)
    failure = connection_failure(address, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    assert isinstance(failure, TargetMisconfigured)
    assert "`ulimit -n`, to more than the number of sensors" in str(failure)

"""A topic of Kafka as a target, with a real broker."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from fleet.delivery.records.record import ROW
from fleet.delivery.target import TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.kafka.address import parse_address
from fleet.delivery.targets.kafka.client import client_settings
from fleet.delivery.targets.kafka.target import KafkaTarget
from fleet.delivery.targets.retry import RetryPolicy
from tests.fleet.delivery.samples import batch, episodes, epochs, with_values
from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.running_fleet import wait_for
from tests.servers.kafka import KafkaBroker, TopicMessage, TopicReader, create_topic, kafka_broker
from tests.servers.program import free_port
from tests.servers.tcp_proxy import TcpProxy

SECONDS = 1.0
"""Seconds for which a target without a connection tries."""

PASSWORD = "a-password-for-the-test"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[KafkaBroker]:
    with kafka_broker(tmp_path) as server:
        yield server


def target(url: str, environment: Mapping[str, str] | None = None, seconds: float = SECONDS) -> KafkaTarget:
    address = parse_address(url)
    return KafkaTarget(address, client_settings(address, environment or {}), ROW, RetryPolicy(seconds))


def refusal(url: str, environment: Mapping[str, str] | None = None) -> str:
    """The message with which a target refuses to work, or cannot."""
    with (
        closing(target(url, environment)) as opened,
        pytest.raises((TargetUnavailable, TargetMisconfigured)) as raised,
    ):
        opened.deliver(batch(1, 2))
    assert "\n" not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("options", ["", "?acks=1&compression=gzip", "?acks=0&compression=lz4", "?compression=zstd"])
def test_readings_are_messages(options: str, running: KafkaBroker) -> None:
    """The key is the sensor; the headers have the key of the reading, also where the record has no room for it."""
    with closing(TopicReader(running.port)) as reader, closing(target(f"{running.url}/plant{options}")) as opened:
        receipt = opened.deliver(batch(1, 101, episodes=episodes((7, 9)), epochs=epochs(0)))
        assert (frozenset(range(1, 101)), {}, 0) == (receipt.accepted, receipt.rejected, receipt.duplicates)
        wait_for(lambda: len(reader.messages) == 102, "all arrive")

    expected = {name: value for name, value in batch(1, 2).documents()[0].items() if name != "synced"}
    first = next(each for each in reader.messages if each.document.get("id") == 1)
    assert ("plant", "KIN_1", expected) == (first.topic, first.key, first.document)
    assert {"key": "generation-1/KIN_1/0", "generation": "generation-1", "seq": "0"} == first.headers
    history = {each.topic: (each.key, each.headers) for each in reader.messages if "key" not in each.headers}
    assert {
        f"plant.{name}": ("KIN_1", {"generation": "generation-1"}) for name in ("anomaly_episodes", "epochs")
    } == history


def test_readings_of_a_sensor_stay_in_order(running: KafkaBroker) -> None:
    create_topic(running.port, "plant", 4)
    with closing(TopicReader(running.port)) as reader, closing(target(f"{running.url}/plant")) as opened:
        for first in range(1, 2001, 250):
            opened.deliver(batch(first, first + 250))
        wait_for(lambda: len(reader.messages) == 2000, "all arrive")
    assert list(range(1, 2001)) == [each.document["id"] for each in reader.messages]
    assert 1 == len({each.partition for each in reader.messages})


def test_a_reading_that_is_too_large_is_refused(running: KafkaBroker) -> None:
    with closing(target(f"{running.url}/plant")) as opened:
        receipt = opened.deliver(with_values(batch(1, 11), 4, location="x" * 2_000_000))
    assert frozenset(range(1, 11)) - {4} == receipt.accepted
    assert [4] == list(receipt.rejected)
    assert "Message size too large" in receipt.rejected[4]


def test_no_broker(running: KafkaBroker) -> None:
    name = f"kafka://127.0.0.1:{running.port}/fleet"
    running.kill()
    said = refusal(running.url)
    assert said.startswith(f"{name}: no connection: Connect to ")
    assert "failed: Connection refused (tried once)" in said
    assert "Failed to resolve 'no-such-host.invalid:9092'" in refusal("kafka://no-such-host.invalid")


def test_a_broker_that_ends_between_two_batches(running: KafkaBroker) -> None:
    """The new one knows nothing of the producer, which is replaced."""
    with closing(target(running.url, seconds=20.0)) as opened:
        opened.deliver(batch(1, 11))
        running.kill()
        running.start()
        with closing(TopicReader(running.port)) as reader:
            assert frozenset(range(11, 21)) == opened.deliver(batch(11, 21)).accepted
            wait_for(lambda: len({each.headers["key"] for each in reader.messages}) == 10, "all arrive")


def test_another_server_on_the_port() -> None:
    """It takes connections, and closes them at once."""
    proxy = TcpProxy(free_port())
    assert "check KAFKA_SECURITY_PROTOCOL" in refusal(f"kafka://127.0.0.1:{proxy.port}")
    proxy.cut()


def test_a_broker_that_wants_a_password(tmp_path: Path) -> None:
    wrong = {"KAFKA_USERNAME": "fleet", "KAFKA_PASSWORD": PASSWORD, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
    with kafka_broker(tmp_path, "--authentication") as server:
        assert "every server closes the connection" in refusal(server.url)
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            said = refusal(server.url, wrong | {"KAFKA_SASL_MECHANISM": mechanism})
            assert "SASL SCRAM authentication failed" in said
            assert "check KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_SASL_MECHANISM" in said


def test_tls(tmp_path: Path) -> None:
    """The certificate must be one of an authority that is trusted, and for this host."""
    if not shutil.which("openssl"):
        pytest.skip("certificates are made with the openssl command, which is not here")
    certificate = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    subprocess.run([*command, "-keyout", certificate, "-out", certificate], check=True, capture_output=True)
    port = free_port()
    proxy = TcpProxy(port, certificate)
    url = f"kafka://127.0.0.1:{proxy.port}/plant"
    with kafka_broker(tmp_path, port=port, advertised=proxy.port):
        trusting = {"KAFKA_SECURITY_PROTOCOL": "SSL", "SSL_CERT_FILE": str(certificate)}
        with closing(target(url, trusting)) as opened:
            assert 10 == len(opened.deliver(batch(1, 11)).accepted)
        untrusted = refusal(url, {"KAFKA_SECURITY_PROTOCOL": "SSL"})
        assert "certificate verify failed" in untrusted
        assert "check KAFKA_SECURITY_PROTOCOL, and SSL_CERT_FILE for an authority of your own" in untrusted
        assert "certificate verify failed" in refusal(url.replace("127.0.0.1", "localhost"), trusting)
        assert "check KAFKA_SECURITY_PROTOCOL" in refusal(url)
    proxy.cut()


def test_a_fleet_whose_network_is_cut_loses_nothing(up: Up, tmp_path: Path) -> None:
    """Also with requests on their way: what arrives twice has the same key, and each sensor's readings are in order."""
    data, port = tmp_path / "data", free_port()
    proxy = TcpProxy(port)
    with kafka_broker(tmp_path, port=port, advertised=proxy.port), closing(TopicReader(proxy.port)) as reader:
        started = up("--replicas", 3, "--rate", 50, "--to", f"kafka://127.0.0.1:{proxy.port}/plant").ready()
        wait_for(lambda: len(reader.readings()) > 60, "readings arrive")
        proxy.cut()
        wait_for(lambda: "no connection" in status(data), "the fleet knows")
        proxy.restore()
        started.interrupt()
        assert 0 == started.wait(), started.output
        sent = keys(data)
        wait_for(lambda: len({each.headers["key"] for each in reader.readings()}) == len(sent), "all arrive")
    assert set(sent) == {each.headers["key"] for each in reader.readings()}
    assert_in_order(reader.readings())
    proxy.cut()


def status(data: Path) -> str:
    path = data / "run" / "delivery.json"
    return path.read_text() if path.exists() else ""


def keys(data: Path) -> Counter[str]:
    query = "SELECT i.generation, r.sensor_id, r.seq FROM sensor_readings r, database_info i"
    return Counter("/".join(map(str, row)) for path in data.glob("*.db") for row in select(path, query))


def assert_in_order(readings: Sequence[TopicMessage]) -> None:
    """Each sensor's readings, each by its first arrival, are in the order of their numbers."""
    first: dict[str, dict[int, None]] = defaultdict(dict)
    for each in readings:
        first[each.key].setdefault(int(each.headers["seq"]))
    assert first
    for numbers in first.values():
        assert sorted(numbers) == list(numbers)

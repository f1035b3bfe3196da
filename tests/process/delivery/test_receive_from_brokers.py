"""`fleet receive --from`: what a fleet publishes to a broker is in a central database, which is compared with the fleet."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Producer
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from fleet.delivery.receiver.messages import parse_messages
from fleet.delivery.receiver.subscriber import SUBSCRIPTIONS, Subscription, SubscriptionClass
from fleet.delivery.records.record import ROW
from fleet.delivery.targets.kafka.address import parse_address
from fleet.delivery.targets.kafka.client import client_settings
from fleet.delivery.targets.kafka.target import KafkaTarget
from fleet.delivery.targets.registry import utc_now
from fleet.delivery.targets.retry import RetryPolicy
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch
from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.delivery.receiver_process import ROOT
from tests.process.running_fleet import fleet, wait_for
from tests.servers.kafka import kafka_broker
from tests.servers.mosquitto import PASSWORD, USER, broker
from tests.servers.program import free_port
from tests.servers.tcp_proxy import TcpProxy


class Receiving:
    """A running `fleet receive --from`."""

    def __init__(self, url: str, central: Path) -> None:
        self.central, self._errors = central, central.with_suffix(".stderr")
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "fleet", "receive", "--from", url, "--to", str(central)],
                cwd=ROOT,
                env={**os.environ},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert first.startswith("receiving from "), self.errors()

    def errors(self) -> str:
        return self._errors.read_text()

    def count(self) -> int:
        return int(select(self.central, "SELECT count(*) FROM sensor_readings")[0][0])

    def stop(self) -> str:
        """Interrupt it; returns its last words."""
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=20)
        assert 0 == self.process.returncode, self.errors()
        assert "Traceback" not in self.errors()
        return output

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def receiving(url: str, central: Path) -> Iterator[Receiving]:
    running = Receiving(url, central)
    try:
        yield running
    finally:
        running.kill()
        assert running.process.stdout is not None
        running.process.stdout.close()


@pytest.fixture(params=["mqtt", "kafka"])
def topic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a topic, for `--to` and for `--from`."""
    if request.param == "mqtt":
        with broker(tmp_path) as mosquitto:
            yield f"{mosquitto.url}/plant/{{location}}/{{sensor_id}}"
    else:
        with kafka_broker(tmp_path) as kafka:
            yield f"{kafka.url}/plant"


def test_the_far_end_of_a_broker_has_what_the_fleet_has(topic: str, up: Up, tmp_path: Path) -> None:
    """Also after a receiver that was killed: the next one goes on where the database ends. The columns that a kind of sensor has
    of its own arrive, too."""
    data, central, config = tmp_path / "data", tmp_path / "central.db", tmp_path / "fleet.yaml"
    config.write_text("replicas: {count: 3, kinds: {air_quality: 2, environmental: 1}}\n")
    with receiving(topic, central) as first:
        started = up("-c", config, "--rate", 50, "--to", topic).ready()
        wait_for(lambda: first.count() > 100, "readings arrive")
        first.kill()
    with receiving(topic, central) as second:
        before = second.count()
        wait_for(lambda: second.count() > before + 50, "readings arrive again")
        started.interrupt()
        assert 0 == started.wait(), started.output
        sent = sum(select(path, "SELECT count(*) FROM sensor_readings")[0][0] for path in data.glob("*.db"))
        wait_for(lambda: second.count() == sent, "all have arrived")
        wait_for(lambda: verdict(data, central) == 0, "the history has arrived, too")
        summary = second.stop()
    assert "0 rejected with other content" in summary
    assert "0 damaged messages" in summary
    assert "lost" not in second.errors()


def verdict(data: Path, central: Path) -> int:
    return fleet("verify", "--data", data, "--against", f"sqlite:///{central}").returncode


def test_damaged_messages_are_counted_and_those_beside_them_stored(tmp_path: Path) -> None:
    with kafka_broker(tmp_path) as kafka, receiving(f"{kafka.url}/plant", tmp_path / "central.db") as receiver:
        publish(
            kafka.url, b"{no JSON", b"[1]", b"", document(1), document(1), document(2, temperature="hot"), document(3)
        )
        publish(kafka.url, document(3, temperature=7.5))
        wait_for(lambda: receiver.count() == 2, "the good ones are stored")
        wait_for(lambda: "another temperature" in receiver.errors(), "the altered one is said")
        summary = receiver.stop()
    assert "received 8 messages" in summary
    assert "2 new readings, 1 there already, 1 rejected with other content, 0 episodes and epochs, 4 damaged" in summary
    said = receiver.errors()
    for reason in ("it is no JSON", "it is no JSON object", "it is empty", "temperature: 'hot' is no real number"):
        assert f"a message is damaged: {reason}" in said or f"/KIN_1/1: {reason}" in said


def test_a_network_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    """The receiver says so, connects again, and goes on where it was."""
    port = free_port()
    proxy = TcpProxy(port)
    url = f"kafka://127.0.0.1:{proxy.port}/plant"
    with kafka_broker(tmp_path, port=port, advertised=proxy.port), receiving(url, tmp_path / "central.db") as receiver:
        deliver(url, 1, 21)
        wait_for(lambda: receiver.count() == 20, "the first ones are stored")
        proxy.cut()
        wait_for(lambda: f"warning: {url}: Connect to " in receiver.errors(), "it says so")
        proxy.restore()
        deliver(url, 21, 31)
        wait_for(lambda: receiver.count() == 30, "all are stored")
        assert "30 new readings, 0 there already, 0 rejected" in receiver.stop()
    proxy.cut()
    assert f"{url}: well again" in receiver.errors()


def test_what_is_taken_and_not_stored_comes_again(topic: str, tmp_path: Path) -> None:
    """And what is stored and acknowledged does not."""
    payloads = [document(number) for number in range(1, 31)]
    with closing(CentralDatabase(tmp_path / "central.db")) as central:
        with closing(subscribe(topic, central)):
            publish(topic, *payloads)
        with closing(subscribe(topic, central)) as second:
            assert payloads == take(second, 30)
        with closing(subscribe(topic, central)) as third:
            assert payloads == take(third, 30, central)
        publish(topic, document(31))
        with closing(subscribe(topic, central)) as last:
            assert [document(31)] == take(last, 1)


def subscribe(url: str, central: CentralDatabase) -> Subscription:
    opened: SubscriptionClass = pkgutil.resolve_name(SUBSCRIPTIONS[url.partition(":")[0]])
    return opened.open(url, central, lambda _: None)


def take(subscription: Subscription, count: int, central: CentralDatabase | None = None) -> list[bytes | None]:
    """Take until there is that number of messages. With `central` they are stored and acknowledged."""
    payloads: list[bytes | None] = []
    end = time.monotonic() + 20
    while len(payloads) < count and time.monotonic() < end:
        received = subscription.take(0.2)
        payloads += received.payloads
        if central is not None:
            central.insert_batches(parse_messages(received.payloads, "x").batches, utc_now(), received.positions)
            subscription.acknowledge()
    return payloads


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    port = free_port()
    for scheme, reason in {"kafka": "no connection: Connect to ", "mqtt": "no connection: Connection refused"}.items():
        url = f"{scheme}://127.0.0.1:{port}/x"
        with (
            closing(CentralDatabase(tmp_path / "central.db")) as central,
            pytest.raises(UserError, match=f"--from: {url}: {reason}"),
        ):
            subscribe(url, central)


def test_a_broker_that_refuses_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_USERNAME", USER)
    monkeypatch.setenv("MQTT_PASSWORD", PASSWORD)
    with (
        broker(tmp_path, "allow_anonymous false") as server,
        closing(CentralDatabase(tmp_path / "central.db")) as central,
        pytest.raises(UserError, match=r"the broker refuses the connection: .*: check MQTT_USERNAME") as raised,
    ):
        subscribe(f"{server.url}/x", central)
    assert PASSWORD not in str(raised.value)


def test_options_of_the_http_server_are_not_for_brokers(tmp_path: Path) -> None:
    refused = fleet("receive", "--to", tmp_path / "central.db", "--from", "kafka://127.0.0.1/x", "--port", "1")
    assert 1 == refused.returncode
    assert "--port: is for the HTTP server, and not allowed with --from" in refused.stderr


def deliver(url: str, first: int, end: int) -> None:
    address = parse_address(url)
    target = KafkaTarget(address, client_settings(address, {}), ROW, RetryPolicy(20.0))
    assert end - first == len(target.deliver(batch(first, end)).accepted)
    target.close()


def document(number: int, **values: Any) -> bytes:
    (reading,) = ROW.documents(batch(number, number + 1))
    return json.dumps(reading | values).encode()


def publish(url: str, *payloads: bytes) -> None:
    if url.startswith("mqtt"):
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", urlsplit(url).port or 0)
        client.loop_start()
        for sent in [client.publish("plant/here/one", payload, qos=1) for payload in payloads]:
            sent.wait_for_publish(10)
        client.disconnect()
        client.loop_stop()
    else:
        producer = Producer({"bootstrap.servers": urlsplit(url).netloc})
        for payload in payloads:
            producer.produce("plant", payload, "one")
        producer.flush()

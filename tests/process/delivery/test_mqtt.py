"""An MQTT broker as a target, with a real one."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleet.delivery.records.record import ROW
from fleet.delivery.target import TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.mqtt.address import parse_address
from fleet.delivery.targets.mqtt.target import TOPIC_COLUMNS, MqttTarget
from fleet.delivery.targets.retry import RetryPolicy
from tests.fleet.delivery.samples import batch, episodes
from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.running_fleet import fleet, wait_for
from tests.servers.mosquitto import PASSWORD, USER, Broker, Subscriber, broker


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as server:
        yield server


def target(url: str, attempts: int = 1, environment: dict[str, str] | None = None) -> MqttTarget:
    retry = RetryPolicy(attempts=attempts, sleep=lambda _: None)
    return MqttTarget(parse_address(url, TOPIC_COLUMNS), ROW, environment or {}, retry)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_readings_are_messages(version: str, qos: int, running: Broker) -> None:
    url = f"{running.url}/plant/{{location}}/{{sensor_id}}?qos={qos}&version={version}"
    with closing(Subscriber(running.port)) as subscriber, closing(target(url)) as opened:
        receipt = opened.deliver(batch(1, 101, episodes=episodes((7, 9))))
        assert (frozenset(range(1, 101)), {}, 0) == (receipt.accepted, receipt.rejected, receipt.duplicates)
        wait_for(lambda: len(subscriber.messages) == 101, "all arrive")

    expected = batch(1, 2).documents()[0]
    topic, document = next(each for each in subscriber.messages if each[1].get("id") == 1)
    assert "plant/Kinshasa, 🌍/KIN_1" == topic
    assert {name: value for name, value in expected.items() if name != "synced"} == document
    assert ["plant/anomaly_episodes/KIN_1"] == [topic for topic, each in subscriber.messages if "key" not in each]


def test_a_broker_that_ends_between_two_batches(running: Broker) -> None:
    """The next batch goes over a new connection."""
    with closing(target(running.url, attempts=5)) as opened:
        opened.deliver(batch(1, 11))
        running.kill()
        running.start()
        with closing(Subscriber(running.port)) as subscriber:
            assert frozenset(range(11, 21)) == opened.deliver(batch(11, 21)).accepted
            wait_for(lambda: len(subscriber.messages) == 10, "all arrive")


def test_no_broker(running: Broker) -> None:
    running.kill()
    with closing(target(running.url)) as opened, pytest.raises(TargetUnavailable) as raised:
        opened.deliver(batch(1, 2))
    name = f"mqtt://127.0.0.1:{running.port}/fleet/{{sensor_id}}"
    assert (
        f"{name}: no connection to 127.0.0.1:{running.port}: Connection refused: check host and port, and the broker (tried once)"
        == str(raised.value)
    )


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_broker_that_wants_a_password(version: str, tmp_path: Path) -> None:
    maker = shutil.which("mosquitto_passwd")
    if maker is None:
        pytest.skip("mosquitto_passwd is not installed")
    subprocess.run([maker, "-b", "-c", tmp_path / "users", USER, PASSWORD], check=True, capture_output=True)
    with broker(tmp_path, "allow_anonymous false", f"password_file {tmp_path / 'users'}") as server:
        url = f"{server.url}?version={version}"
        no_password: dict[str, str] = {}
        for wrong in (no_password, {"MQTT_USERNAME": USER, "MQTT_PASSWORD": "wrong-password"}):
            with closing(target(url, environment=wrong)) as opened, pytest.raises(TargetMisconfigured) as raised:
                opened.deliver(batch(1, 2))
            assert "the broker refuses the connection: " in str(raised.value)
            assert "MQTT_USERNAME" in str(raised.value)
            assert "wrong-password" not in str(raised.value)
        with closing(target(url, environment={"MQTT_USERNAME": USER, "MQTT_PASSWORD": PASSWORD})) as opened:
            assert 1 == len(opened.deliver(batch(1, 2)).accepted)


def test_a_topic_that_may_not_be_written(tmp_path: Path) -> None:
    """MQTT 5 says so; before, a broker acknowledges what it throws away."""
    (tmp_path / "acl").write_text("topic write allowed/#\n")
    with broker(tmp_path, "allow_anonymous true", f"acl_file {tmp_path / 'acl'}") as server:
        with closing(target(f"{server.url}/forbidden/x")) as opened, pytest.raises(TargetMisconfigured) as raised:
            opened.deliver(batch(1, 2))
        assert "the broker refuses what is published: Not authorized" in str(raised.value)
        with closing(target(f"{server.url}/allowed/{{sensor_id}}")) as opened:
            assert 1 == len(opened.deliver(batch(1, 2)).accepted)


def test_a_fleet_delivers_to_a_broker_that_is_killed(running: Broker, up: Up, tmp_path: Path) -> None:
    """Every reading is acknowledged by one or the other; what comes twice has the same key."""
    data = tmp_path / "data"
    with closing(Subscriber(running.port)) as subscriber:
        started = up("--replicas", 3, "--rate", 20, "--to", f"{running.url}/x/{{sensor_id}}").ready()
        wait_for(lambda: len(subscriber.readings()) > 60, "readings arrive")
        running.kill()
        wait_for(lambda: "no connection" in fleet("status", "--data", data).stdout, "the fleet knows")
        running.start()
        subscriber.wait()
        before = len(subscriber.readings())
        wait_for(lambda: len(subscriber.readings()) > before + 60, "readings arrive again")
        started.interrupt()
        assert 0 == started.wait(), started.output
    arrived = Counter(document["key"] for document in subscriber.readings())
    sent = {f"{generation}/{sensor}/{seq}" for path in data.glob("*.db") for generation, sensor, seq in keys(path)}
    assert set(arrived) <= sent
    unmarked = "SELECT count(*) FROM sensor_readings WHERE synced = 0"
    assert [0, 0, 0] == [select(path, unmarked)[0][0] for path in data.glob("*.db")]


def keys(path: Path) -> list[tuple[str, str, int]]:
    query = "SELECT i.generation, r.sensor_id, r.seq FROM sensor_readings r, database_info i"
    return select(path, query)

"""An MQTT broker under load tests: a connection for each sensor, sessions, storms, and a broker that is killed."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from fleet.delivery.batch import NO_ROWS, Batch
from fleet.delivery.target import SourceFailed, TargetUnavailable
from fleet.delivery.targets.mqtt.target import MqttTarget
from tests.fleet.delivery.samples import batch, episodes, reading, source
from tests.process.delivery.broker_kills import deliver_through_kills, opened, readings
from tests.process.running_fleet import wait_for
from tests.servers.mosquitto import Broker, Subscriber, broker


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as server:
        yield server


def test_a_connection_for_each_sensor(tmp_path: Path) -> None:
    """Each has the sensor as its client id, by a template of the user's, and sends the readings of that sensor in their order."""
    with broker(tmp_path, "allow_anonymous true", "log_type all") as server:
        url = f"{server.url}/x/{{sensor_id}}?connections=sensor&client_id=load-{{sensor_id}}"
        with closing(Subscriber(server.port)) as subscriber, closing(opened(url)) as target:
            assert frozenset(range(1, 201)) == target.deliver(readings(1, 201, sensors=20)).accepted
            wait_for(lambda: len(subscriber.messages) == 200, "all arrive")
    log = (tmp_path / "mosquitto.log").read_text()
    for number in range(20):
        assert 1 == log.count(f" as load-KIN_{number} ")
        assert 10 == log.count(f"Received PUBLISH from load-KIN_{number} ")
        numbers = [each["id"] for topic, each in subscriber.messages if topic == f"x/KIN_{number}"]
        assert sorted(numbers) == numbers


@pytest.mark.timed
def test_the_rate_of_connects(running: Broker) -> None:
    with closing(opened(f"{running.url}?connections=sensor&connect_rate=20")) as target:
        thread = threading.Thread(target=target.deliver, args=(readings(1, 41, sensors=40),))
        thread.start()
        thread.join(1.5)
        assert thread.is_alive()
        thread.join()


def test_the_state_of_each_sensor_is_retained(running: Broker) -> None:
    """`online` with the connection; `offline` by the last will when it breaks, and when the target closes."""
    url = f"{running.url}?connections=sensor&status=state/{{sensor_id}}&storm=1500ms"
    with closing(States(running.port)) as states:
        with closing(opened(url)) as target:
            target.deliver(readings(1, 21, sensors=20))
            wait_for(lambda: set(states.now.values()) == {"online"} and len(states.now) == 20, "all are online")
            wait_for(lambda: states.count["online"] >= 40, "all connect again after a storm")
            assert 20 <= states.count["offline"] <= states.count["online"]
        wait_for(lambda: set(states.now.values()) == {"offline"}, "all are offline")
    with closing(States(running.port)) as later:
        wait_for(lambda: len(later.now) == 20, "the states are retained")


@pytest.mark.parametrize(
    ("options", "times"),
    [("qos=1", 2), ("qos=2&session=persistent", 1), ("qos=2&session=persistent&connections=sensor", 1)],
)
def test_acknowledgements_that_a_broken_connection_swallows(options: str, times: int, running: Broker) -> None:
    """The broker has the readings, and the target does not know: with a persistent session they are recognised at QoS 2."""
    with closing(Subscriber(running.port, qos=0)) as subscriber:
        with closing(opened(f"{running.url}?{options}&storm=1s")) as target:
            target.deliver(batch(1, 2, episodes=episodes((7, 9))))
            with running.suspended(), pytest.raises(TargetUnavailable, match="the connection was closed"):
                target.deliver(batch(2, 12))
            deliver_all(target, batch(2, 12))
        wait_for(lambda: subscriber.is_quiet(0.3), "the last messages arrive")
    counts = Counter(document["id"] for document in subscriber.readings())
    assert set(range(1, 12)) == counts.keys()
    assert times == max(counts.values())


def test_a_sensor_that_cannot_connect_holds_up_no_other(tmp_path: Path) -> None:
    """Its database fails, and so does one whose episodes do not arrive; the target as a whole goes on."""
    limited = broker(tmp_path, "allow_anonymous true", "max_connections 1")
    with limited as server, closing(opened(f"{server.url}?connections=sensor")) as target:
        receipt = target.deliver(readings(1, 5, sensors=4))
        good, *_ = receipt.accepted
        bad, *_ = {1, 2, 3, 4} - receipt.accepted
        assert receipt.doubt
        one, other = f"KIN_{good % 4}", f"KIN_{bad % 4}"
        lost = episodes((7, 9), sensor=other)
        for rows, history in (((reading(5, other),), NO_ROWS), ((), lost), ((reading(5, one),), lost)):
            with pytest.raises(SourceFailed):
                target.deliver(Batch(source(), rows, history))
        assert {6} == target.deliver(Batch(source(), (reading(6, one),), episodes((7, 9), sensor=one))).accepted


@pytest.mark.parametrize(("session", "starts"), [("clean", ["c1", "c1"]), ("persistent", ["c1", "c0"])])
def test_the_session_of_a_connection_that_breaks(session: str, starts: list[str], tmp_path: Path) -> None:
    """The first one of a process begins a new session, under the same client id as those that follow."""
    connected = re.compile(r" as (fleet-\w+) \(p5, (c\d)")
    with broker(tmp_path, "allow_anonymous true", "log_type all") as server:
        with closing(opened(f"{server.url}?session={session}&storm=1s")) as target:
            target.deliver(batch(1, 2))
            log = tmp_path / "mosquitto.log"
            wait_for(lambda: len(connected.findall(log.read_text())) > 1, "it connects again")
        first, second = connected.findall(log.read_text())[:2]
    assert first[0] == second[0]
    assert starts == [first[1], second[1]]


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "x" * 70_000, "a/+#"])
@pytest.mark.parametrize("options", ["connections=sensor&properties=1", "payload=sparkplug&connections=sensor"])
def test_a_sensor_whose_name_mqtt_cannot_express(text: str, options: str, running: Broker) -> None:
    """As another simulator may have one: neither it nor the others are held up."""
    with closing(opened(f"{running.url}?{options}")) as target:
        one, other = Batch(source(), (reading(1, text),)), Batch(source(), (reading(2),))
        assert {1} == target.deliver(one).accepted
        assert {2} == target.deliver(other).accepted


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_broker_that_is_killed_again_and_again(qos: int, running: Broker) -> None:
    """At QoS 0 readings may be lost and none is doubled; from QoS 1 on none is lost."""
    outcome = deliver_through_kills(running, f"qos={qos}", seconds=1.6, between_kills=0.6)
    assert outcome.kills > 0
    assert outcome.accepted >= 1000
    if qos == 0:
        assert 0 == outcome.doubled
    else:
        assert 0 == outcome.lost


def test_the_key_and_the_number_as_properties(running: Broker) -> None:
    with closing(Subscriber(running.port, version=MQTTProtocolVersion.MQTTv5)) as subscriber:
        with closing(opened(f"{running.url}?properties=1")) as target:
            target.deliver(batch(3, 5))
        wait_for(lambda: len(subscriber.messages) == 2, "all arrive")
    expected = [[("key", f"generation-1/KIN_1/{seq}"), ("seq", str(seq))] for seq in (2, 3)]
    assert expected == subscriber.properties


def deliver_all(target: MqttTarget, left: Batch) -> None:
    while left.rows:
        try:
            ids = target.deliver(left).accepted
        except TargetUnavailable:
            continue
        left = Batch(left.source, tuple(row for row in left.rows if row[0] not in ids))


class States:
    """The newest state of each sensor, and how often each state was announced."""

    def __init__(self, port: int) -> None:
        self.now, self.count = dict[str, str](), Counter[str]()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="states")
        self._client.on_connect = lambda client, *_: client.subscribe("state/#", 1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        state = message.payload.decode()
        self.now[message.topic] = state
        self.count[state] += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

"""Sparkplug B over a real broker: what a host application sees, by an independent decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.fleet.delivery.samples import batch, episodes
from tests.fleet.delivery.targets.sparkplug_decoder import PAYLOAD, decode, values
from tests.process.delivery.broker_kills import opened, readings
from tests.process.running_fleet import wait_for
from tests.servers.mosquitto import Broker, broker


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as server:
        yield server


def test_one_node_for_all_sensors(running: Broker) -> None:
    """Born with its devices, again when the host asks for it; dead when the target closes. Episodes are JSON beside it."""
    with closing(Host(running.port)) as host:
        with closing(opened(f"{running.url}/plant?payload=sparkplug&node=edge")) as target:
            target.deliver(readings(1, 5, sensors=2))
            wait_for(lambda: len(host.messages) == 7, "all arrive")
            kinds = ["NBIRTH/edge", "DBIRTH/edge/KIN_1", "DDATA/edge/KIN_1", "DBIRTH/edge/KIN_0", "DDATA/edge/KIN_0"]
            assert [*kinds, "DDATA/edge/KIN_1", "DDATA/edge/KIN_0"] == host.kinds()
            host.command("edge", "Node Control/Rebirth")
            wait_for(lambda: len(host.messages) == 8, "the node is born again")
            target.deliver(batch(5, 6, episodes=episodes((7, 9))))
            wait_for(lambda: len(host.messages) == 10, "the device is born again")
        wait_for(lambda: len(host.messages) == 11, "the node is dead")
    assert ["NBIRTH/edge", "DBIRTH/edge/KIN_1", "DDATA/edge/KIN_1", "NDEATH/edge"] == host.kinds()[7:]
    assert [0, 1, 2, 3, 4, 5, 6, 0, 1, 2] == [message.seq for _, message in host.messages[:-1]]
    seqs = [values(message)["seq"][1] for topic, message in host.messages if "DDATA" in topic]
    assert [0, 1, 2, 3, 4] == seqs
    assert ["plant/anomaly_episodes/KIN_1"] == host.others


def test_each_sensor_is_a_node_whose_death_the_broker_tells(running: Broker) -> None:
    """The will has the bdSeq of the birth before it."""
    url = f"{running.url}/plant?payload=sparkplug&connections=sensor&storm=1s"
    with closing(Host(running.port)) as host:
        with closing(opened(url)) as target:
            target.deliver(readings(1, 5, sensors=2))
            wait_for(lambda: {"NDEATH/KIN_0", "NDEATH/KIN_1"} <= set(host.kinds()), "both break")
            wait_for(lambda: all(host.kinds().count(f"NBIRTH/KIN_{number}") > 1 for number in (0, 1)), "both come back")
        wait_for(lambda: host.kinds().count("NDEATH/KIN_0") == host.kinds().count("NBIRTH/KIN_0"), "both are dead")
    of_one = [
        (topic, values(message)["bdSeq"][1])
        for topic, message in host.messages
        if topic.endswith("/KIN_0") and "N" in topic.split("/")[2][0]
    ]
    expected = [(f"spBv1.0/plant/{kind}/KIN_0", number) for number in (0, 1) for kind in ("NBIRTH", "NDEATH")]
    assert expected == of_one[:4]


class Host:
    """A host application: has all messages of Sparkplug, decoded, and the topics of others."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.others: list[str] = []
        subscribed: list[object] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="host")
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(lambda: bool(subscribed), "it is subscribed")

    def kinds(self) -> list[str]:
        return [topic.removeprefix("spBv1.0/plant/") for topic, _ in list(self.messages)]

    def command(self, node: str, name: str) -> None:
        payload = PAYLOAD()
        payload.metrics.add(name=name, datatype=11, boolean_value=True)
        self._client.publish(f"spBv1.0/plant/NCMD/{node}", payload.SerializeToString(), 1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        if not message.topic.startswith("spBv1.0/"):
            self.others.append(message.topic)
        elif "/NCMD/" not in message.topic:
            self.messages.append((message.topic, decode(bytes(message.payload))))

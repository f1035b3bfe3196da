"""Sparkplug B: payloads as an independent decoder reads them, and the order of births, data and deaths."""

from __future__ import annotations

from fleet.delivery.records.record import ROW
from fleet.delivery.targets.mqtt.messages import Message
from fleet.delivery.targets.mqtt.sparkplug import SparkplugNode, encode_reading
from tests.fleet.delivery.samples import batch
from tests.fleet.delivery.targets.sparkplug_decoder import decode, values

INT64, DOUBLE, BOOLEAN, STRING = 4, 10, 11, 12
NOW = 1_767_225_600.25


def node() -> SparkplugNode:
    return SparkplugNode("plant", "edge", lambda: NOW)


def test_a_reading_is_a_payload_of_metrics() -> None:
    document = ROW.documents(batch(3, 4))[0]
    message = decode(encode_reading(document["timestamp"], document))
    assert 1_767_261_592_000 == message.timestamp  # 2026-01-01T09:59:52Z
    metrics = values(message)
    assert list(document) == list(metrics)
    assert (DOUBLE, document["temperature"]) == metrics["temperature"]
    assert (DOUBLE, None) == metrics["humidity"]
    assert (INT64, 2) == metrics["seq"]
    assert (STRING, "Kinshasa, 🌍") == metrics["location"]
    assert (STRING, "generation-1/KIN_1/2") == metrics["key"]


def test_values_of_all_types() -> None:
    document = {
        "negative": -5,
        "large": 2**63 - 1,
        "no": False,
        "pressure": 101_325,
        "place": {"latitude": -4.3, "city": "Kinshasa"},
        "list": [1, 2],
        "surrogate": "\ud800",
        "anomaly_type": None,
    }
    expected = {
        "negative": (INT64, -5),
        "large": (INT64, 2**63 - 1),
        "no": (BOOLEAN, False),
        "pressure": (DOUBLE, 101_325.0),
        "place/latitude": (DOUBLE, -4.3),
        "place/city": (STRING, "Kinshasa"),
        "list": (STRING, "[1,2]"),
        "surrogate": (STRING, "?"),
        "anomaly_type": (STRING, None),
    }
    assert expected == values(decode(encode_reading("no time", document)))
    assert not decode(encode_reading("no time", document)).HasField("timestamp")


def test_births_come_before_data_and_numbers_follow_each_other() -> None:
    """The numbers go up to 255 and begin again; a new connection begins with 0, and has the bdSeq of its will."""
    edge = node()
    will = edge.will()
    (birth,) = edge.births()
    assert ("spBv1.0/plant/NDEATH/edge", "spBv1.0/plant/NBIRTH/edge") == (will.topic, birth.topic)
    assert {"bdSeq": (INT64, 0)} == values(decode(will.payload))
    assert {"bdSeq": (INT64, 0), "Node Control/Rebirth": (BOOLEAN, False)} == values(decode(birth.payload))
    assert round(NOW * 1000) == decode(birth.payload).timestamp
    assert not decode(will.payload).HasField("seq")
    sent = [(birth.topic, birth.payload)]
    for number in range(1, 301):
        sent += edge.packets(Message(f"S/{number % 2}", "", encode_reading("", {"seq": number})))
    kinds = [topic.split("/", 2)[2] for topic, _ in sent]
    assert ["NBIRTH/edge", "DBIRTH/edge/S_1", "DDATA/edge/S_1", "DBIRTH/edge/S_0", "DDATA/edge/S_0"] == kinds[:5]
    assert {"DDATA/edge/S_0", "DDATA/edge/S_1"} == set(kinds[5:])
    assert [number % 256 for number in range(303)] == [decode(payload).seq for _, payload in sent]

    assert {"bdSeq": (INT64, 1)} == values(decode(edge.will().payload))
    assert 0 == decode(edge.births()[0].payload).seq
    first, second = edge.packets(Message("S/1", "", b""))
    assert ("spBv1.0/plant/DBIRTH/edge/S_1", "spBv1.0/plant/DDATA/edge/S_1") == (first[0], second[0])
    assert [{"bdSeq": (INT64, 1)}] == [values(decode(each.payload)) for each in edge.farewells()]

"""The URL of a broker, and the topics of readings."""

from __future__ import annotations

import pytest

from fleet.delivery.targets.mqtt.address import parse_address
from fleet.errors import UserError

COLUMNS = frozenset(("sensor_id", "location", "model"))


def test_what_is_left_out_has_a_default() -> None:
    address = parse_address("mqtt://broker", COLUMNS)
    assert ("broker", 1883, False, "fleet/{sensor_id}") == (address.host, address.port, address.tls, address.topic)
    assert (1, False, "5", 60) == (
        address.options.qos,
        address.options.retain,
        address.options.version,
        address.options.keep_alive,
    )
    secure = parse_address("mqtts://broker/a/{model}?qos=2&retain=1&version=3.1.1&keepalive=5", COLUMNS)
    assert (8883, True, "a/{model}") == (secure.port, secure.tls, secure.topic)
    assert (2, True, "3.1.1", 5) == (
        secure.options.qos,
        secure.options.retain,
        secure.options.version,
        secure.options.keep_alive,
    )
    assert "mqtts://broker:8883/a/{model}" == secure.name


@pytest.mark.parametrize(
    ("value", "level"),
    [("KIN_1", "KIN_1"), ("Köln, Rhein", "Köln, Rhein"), ("a/b+c#d\0", "a_b_c_d_"), (None, "_"), ("", "_"), (7, "7")],
)
def test_a_value_is_one_level_of_a_topic(value: object, level: str) -> None:
    address = parse_address("mqtt://broker/x/{model}/y", COLUMNS)
    assert f"x/{level}/y" == address.topic_of({"model": value})


@pytest.mark.parametrize(
    ("topic", "expected"),
    [("plant/a/{sensor_id}", "plant/a/epochs/S/1"), ("{model}", "fleet/epochs/S/1"), ("all", "fleet/epochs/S/1")],
)
def test_the_history_is_below_the_constant_part(topic: str, expected: str) -> None:
    found = parse_address(f"mqtt://broker/{topic}", COLUMNS).history_topic("epochs", "S/1")
    assert expected.replace("S/1", "S_1") == found


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mqtt://user:secret@broker/x", "set MQTT_USERNAME and MQTT_PASSWORD"),
        ("mqtt:///x", "names no broker"),
        ("mqtt://broker:port/x", "has no valid port"),
        ("mqtt://broker:99999/x", "has no valid port"),
        ("mqtt://broker/x?qos=3", "qos is '3', allowed is 0 or 1 or 2"),
        ("mqtt://broker/x?quality=1", "'quality' is no option of a broker"),
        ("mqtt://broker/x?keepalive=0", "keepalive is '0', allowed are whole seconds"),
        ("mqtt://broker/{city}", "the topic names 'city', which is no column"),
        ("mqtt://broker/a/+/b", "is no topic to publish to"),
        ("mqtt://broker/%23", "is no topic to publish to"),
        ("mqtt://broker/a{b", "is no topic to publish to"),
        ("mqtt://broker/$SYS/x", "is no topic to publish to"),
    ],
)
def test_what_cannot_be_published_to(url: str, reason: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_address(url, COLUMNS)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)

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
    [
        ("KIN_1", "KIN_1"),
        ("Köln, Rhein", "Köln, Rhein"),
        ("a/b+c#d\0", "a_b_c_d_"),
        (None, "_"),
        ("", "_"),
        (7, "7"),
        ("a\ud800", "a?"),
    ],
)
def test_a_value_is_one_level_of_a_topic(value: object, level: str) -> None:
    address = parse_address("mqtt://broker/x/{model}/y", COLUMNS)
    assert f"x/{level}/y" == address.topic_of({"model": value})


def test_the_names_of_the_connection_of_a_sensor() -> None:
    one = parse_address("mqtt://broker", COLUMNS)
    assert ("", "") == (one.client_id("S/1"), one.status_topic("S/1"))
    each = parse_address("mqtt://broker?connections=sensor&client_id=a-{sensor_id}&status=x/{sensor_id}/state", COLUMNS)
    assert ("a-S/1", "x/S_1/state") == (each.client_id("S/1"), each.status_topic("S/1"))
    assert "S/1" == parse_address("mqtt://broker?connections=sensor", COLUMNS).client_id("S/1")


def test_a_group_of_sparkplug() -> None:
    address = parse_address("mqtt://broker/plant?payload=sparkplug", COLUMNS)
    assert "mqtt://broker:1883/plant?payload=sparkplug" == address.name
    assert "plant/epochs/S_1" == address.history_topic("epochs", "S/1")
    assert "fleet" == parse_address("mqtt://broker?payload=sparkplug", COLUMNS).topic


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
        ("mqtt://broker/x?connections=two", "connections is 'two', allowed is one or sensor"),
        ("mqtt://broker/x?connect_rate=0", "connect_rate is '0', allowed are whole numbers from 1 to 100000"),
        ("mqtt://broker/x?storm=soon", "storm: 'soon' is not a duration"),
        ("mqtt://broker/x?session=persistent&version=3.1.1", "session=persistent needs version=5"),
        ("mqtt://broker/x?properties=1&version=3.1.1", "properties=1 needs version=5"),
        ("mqtt://broker/x?client_id={sensor_id}", "allowed is a text without braces, or connections=sensor"),
        ("mqtt://broker/x?connections=sensor&client_id=a", "allowed is a text with {sensor_id} in it"),
        ("mqtt://broker/x?connections=sensor&client_id={sensor_id}{model}", "allowed is a text with {sensor_id} in it"),
        ("mqtt://broker/x?status={sensor_id}", "the topic names 'sensor_id'"),
        ("mqtt://broker/x?connections=sensor&status={model}", "the topic names 'model'"),
        ("mqtt://broker/x?status=", "status is empty"),
        ("mqtt://broker/x?node=a", "node is the edge node of payload=sparkplug with connections=one"),
        ("mqtt://broker/x?ca=ca.pem", "ca is a file for TLS: mqtts://HOST"),
        ("mqtt://broker/a/b?payload=sparkplug", "'a/b' is no group of Sparkplug"),
        ("mqtt://broker/{model}?payload=sparkplug", "is no group of Sparkplug"),
        ("mqtt://broker/a?payload=sparkplug&retain=1", "retain=1 does not go with payload=sparkplug"),
        ("mqtt://broker/a?payload=sparkplug&session=persistent", "session=persistent does not go with"),
        ("mqtt://broker/a?payload=sparkplug&status=x", "status does not go with payload=sparkplug"),
        ("mqtt://broker/a?payload=sparkplug&node=a/b", "node is 'a/b', allowed is one level"),
    ],
)
def test_what_cannot_be_published_to(url: str, reason: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_address(url, COLUMNS)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)

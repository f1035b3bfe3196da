"""The URL of an MQTT broker: `mqtt://HOST[:PORT][/TOPIC][?OPTIONS]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from fleet.delivery.targets.mqtt.options import BrokerOptions, parse_options
from fleet.errors import UserError
from fleet.escaping import escape_short

EXAMPLE = "mqtt://HOST/fleet/{sensor_id}?qos=1"
PORTS = {"mqtt": 1883, "mqtts": 8883}
DEFAULT_TOPIC, DEFAULT_GROUP = "fleet/{sensor_id}", "fleet"
FIELD = re.compile(r"\{([^{}]*)\}")
MAX_TEXT_LENGTH = 10_000
NOT_IN_A_LEVEL = re.compile("[/+#\0]")
"""Characters that separate levels of a topic, or are wildcards, or that MQTT forbids."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker, and how to publish there. `topic` has names of columns in braces; for Sparkplug it is the group."""

    host: str
    port: int
    tls: bool
    topic: str
    options: BrokerOptions

    @property
    def name(self) -> str:
        suffix = "?payload=sparkplug" if self.options.sparkplug else ""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}/{self.topic}{suffix}"

    def topic_of(self, document: Mapping[str, object]) -> str:
        """Return the topic of a reading. What would be another level or a wildcard in a value becomes `_`, as does NULL."""
        return FIELD.sub(lambda found: topic_level(document.get(found[1])), self.topic)

    def history_topic(self, table: str, sensor: object) -> str:
        """Return the topic of the episodes or epochs of a sensor: below the part of the topic that is the same for all."""
        base = self.topic if self.options.sparkplug else self.topic.partition("{")[0].rpartition("/")[0] or "fleet"
        return f"{base}/{table}/{topic_level(sensor)}"

    def client_id(self, sensor: str) -> str:
        """Return the client id of the connection of a sensor."""
        return self.options.client_id.replace("{sensor_id}", expressible(sensor))

    def status_topic(self, sensor: str) -> str:
        """Return the topic of the state of a sensor's connection, empty if there is none."""
        return self.options.status.replace("{sensor_id}", topic_level(sensor))


def topic_level(value: object) -> str:
    return NOT_IN_A_LEVEL.sub("_", expressible(str(value))) if value not in (None, "") else "_"


def expressible(text: str) -> str:
    """Return a text as MQTT can express it: Unicode without NUL, of limited length."""
    return text[:MAX_TEXT_LENGTH].encode("utf-8", "replace").decode().replace("\0", "_")


def parse_address(url: str, columns: frozenset[str]) -> BrokerAddress:
    """Parse a URL whose topic may name `columns`. UserError, which does not repeat a password."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise UserError(
            "--to: the URL of a broker has a user or a password, which other users of the machine could see: set MQTT_USERNAME "
            "and MQTT_PASSWORD in the environment"
        )
    shown = escape_short(url)
    try:
        port = parts.port
    except ValueError:
        raise UserError(f"--to: {shown!r} has no valid port: {EXAMPLE}") from None
    if not parts.hostname:
        raise UserError(f"--to: {shown!r} names no broker: {EXAMPLE}")
    tls = parts.scheme == "mqtts"
    options = parse_options(dict(parse_qsl(parts.query, keep_blank_values=True)), tls=tls)
    topic = unquote(parts.path.lstrip("/"))
    if options.sparkplug:
        topic = checked_group(topic or DEFAULT_GROUP)
    else:
        topic = checked_topic(topic or DEFAULT_TOPIC, columns)
    if options.status:
        checked_topic(options.status, frozenset(("sensor_id",) if options.per_sensor else ()))
    return BrokerAddress(parts.hostname, port or PORTS[parts.scheme], tls, topic, options)


def checked_topic(topic: str, columns: frozenset[str]) -> str:
    """Return a topic with names of columns in braces. UserError if it is not one."""
    for name in FIELD.findall(topic):
        if name not in columns:
            raise UserError(
                f"--to: the topic names {name!a}, which is no column of every reading, such as {{sensor_id}}"
            )
    rest = FIELD.sub("", topic)
    if any(character in rest for character in "+#{}\0") or topic.startswith("$"):
        raise UserError(
            f"--to: {escape_short(topic)!r} is no topic to publish to: it has a wildcard, a single brace or a leading $"
        )
    return topic


def checked_group(group: str) -> str:
    """Return a name of a Sparkplug group. UserError if it is not one."""
    if NOT_IN_A_LEVEL.search(group) or "{" in group:
        raise UserError(
            f"--to: {escape_short(group)!r} is no group of Sparkplug: one level of a topic is allowed, as in "
            "mqtt://HOST/GROUP?payload=sparkplug"
        )
    return group

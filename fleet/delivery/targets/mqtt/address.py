"""The URL of an MQTT broker: `mqtt://HOST[:PORT][/TOPIC][?OPTIONS]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from fleet.errors import UserError
from fleet.escaping import escape_short

EXAMPLE = "mqtt://HOST/fleet/{sensor_id}?qos=1"
PORTS = {"mqtt": 1883, "mqtts": 8883}
DEFAULT_TOPIC = "fleet/{sensor_id}"
FIELD = re.compile(r"\{([^{}]*)\}")
NOT_IN_A_LEVEL = re.compile("[/+#\0]")
"""Characters that separate levels of a topic, or are wildcards, or that MQTT forbids."""

CHOICES = {"qos": ("0", "1", "2"), "retain": ("0", "1"), "version": ("5", "3.1.1")}
KEEP_ALIVE = "keepalive"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker, and how to publish there. `topic` has names of columns in braces."""

    host: str
    port: int
    tls: bool
    topic: str
    qos: int
    retain: bool
    version: str
    keep_alive: int

    @property
    def name(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}/{self.topic}"

    def topic_of(self, document: Mapping[str, object]) -> str:
        """Return the topic of a reading. What would be another level or a wildcard in a value becomes `_`, as does NULL."""
        return FIELD.sub(lambda found: topic_level(document.get(found[1])), self.topic)

    def history_topic(self, table: str, sensor: object) -> str:
        """Return the topic of the episodes or epochs of a sensor: below the part of the topic that is the same for all."""
        return f"{self.topic.partition('{')[0].rpartition('/')[0] or 'fleet'}/{table}/{topic_level(sensor)}"


def topic_level(value: object) -> str:
    return NOT_IN_A_LEVEL.sub("_", str(value)) if value not in (None, "") else "_"


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
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in CHOICES and name != KEEP_ALIVE:
            raise UserError(f"--to: {name!a} is no option of a broker: allowed are {', '.join((*CHOICES, KEEP_ALIVE))}")
        if name in CHOICES and value not in CHOICES[name]:
            raise UserError(f"--to: {name} is {value!a}, allowed is {' or '.join(CHOICES[name])}")
    keep_alive = options.get(KEEP_ALIVE, "60")
    if not (keep_alive.isdecimal() and 1 <= int(keep_alive) <= 65_535):
        raise UserError(f"--to: {KEEP_ALIVE} is {keep_alive!a}, allowed are whole seconds from 1 to 65535")
    return BrokerAddress(
        parts.hostname,
        port or PORTS[parts.scheme],
        parts.scheme == "mqtts",
        checked_topic(unquote(parts.path.lstrip("/")) or DEFAULT_TOPIC, columns),
        int(options.get("qos", "1")),
        options.get("retain", "0") == "1",
        options.get("version", "5"),
        int(keep_alive),
    )


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

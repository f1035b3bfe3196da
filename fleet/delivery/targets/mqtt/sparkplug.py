"""Sparkplug B 3.0: readings as metrics of devices, with the births and deaths of their edge node.

A sensor is a device of an edge node; with a connection for each sensor it is its own edge node, otherwise one node has them all. A payload is a message of
protocol buffers, of which few fields are needed: https://github.com/eclipse-sparkplug/sparkplug (sparkplug_b.proto).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fleet.delivery.columns import INTEGER_COLUMNS, REAL_COLUMNS, parse_timestamp
from fleet.delivery.json_documents import dump_json
from fleet.delivery.targets.mqtt.address import topic_level
from fleet.delivery.targets.mqtt.messages import Message
from fleet.delivery.targets.mqtt.presence import Packet

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
SEQUENCE_NUMBERS = 256

INT64, DOUBLE, BOOLEAN, STRING = 4, 10, 11, 12
"""Types of metrics."""

# Fields of a payload and of a metric, with the types in which protocol buffers encode them.
VARINT, FIXED64, BYTES = 0, 1, 2
TIMESTAMP, METRICS, SEQ = 1, 2, 3
NAME, DATATYPE, IS_NULL, LONG_VALUE, DOUBLE_VALUE, BOOLEAN_VALUE, STRING_VALUE = 1, 4, 7, 11, 13, 14, 15


class SparkplugNode:
    """The announcements of an edge node: its birth, that of each device before the first reading, and its death."""

    def __init__(self, group: str, node: str, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns the time in seconds since 1970."""
        self._group, self._node, self._clock = group, node, clock
        self.command_topic = self._topic("NCMD")
        self._seq, self._connections = 0, -1
        self._born: set[str] = set()

    def will(self) -> Message:
        self._connections = (self._connections + 1) % SEQUENCE_NUMBERS
        return self._death()

    def births(self) -> list[Message]:
        self._seq = 0
        self._born.clear()
        metrics = encode_metrics({"bdSeq": self._connections, REBIRTH: False})
        return [Message("", self._topic("NBIRTH"), self._numbered(self._now() + metrics))]

    def is_rebirth(self, payload: bytes) -> bool:
        return REBIRTH.encode() in payload

    def packets(self, message: Message) -> list[Packet]:
        if message.topic:
            return [(message.topic, message.payload)]
        device = topic_level(message.sensor)
        kinds = ("DDATA",) if device in self._born else ("DBIRTH", "DDATA")
        self._born.add(device)
        return [(self._topic(kind, device), self._numbered(message.payload)) for kind in kinds]

    def farewells(self) -> list[Message]:
        return [self._death()]

    def _death(self) -> Message:
        payload = self._now() + encode_metrics({"bdSeq": self._connections})
        return Message("", self._topic("NDEATH"), payload)

    def _now(self) -> bytes:
        return tag(TIMESTAMP, VARINT) + varint(round(self._clock() * 1000))

    def _numbered(self, payload: bytes) -> bytes:
        """Return a payload with the next sequence number."""
        number, self._seq = self._seq, (self._seq + 1) % SEQUENCE_NUMBERS
        return payload + tag(SEQ, VARINT) + varint(number)

    def _topic(self, kind: str, device: str = "") -> str:
        return "/".join((NAMESPACE, self._group, kind, self._node, *filter(None, (device,))))


def encode_reading(timestamp: object, document: Mapping[str, Any]) -> bytes:
    """Return the payload of a reading without its sequence number. Nested objects become names with `/`."""
    time_of_reading = parse_timestamp(timestamp) if isinstance(timestamp, str) else None
    begin = b""
    if time_of_reading is not None and time_of_reading.timestamp() >= 0:
        begin = tag(TIMESTAMP, VARINT) + varint(round(time_of_reading.timestamp() * 1000))
    return begin + encode_metrics(dict(flatten(document)))


def flatten(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def encode_metrics(values: Mapping[str, Any]) -> bytes:
    return b"".join(field(METRICS, encode_metric(name, value)) for name, value in values.items())


def encode_metric(name: str, value: object) -> bytes:
    """Return a metric. Its type depends on the name only, as far as that is a column of every sensor."""
    begin = field(NAME, text(name)) + tag(DATATYPE, VARINT)
    if name in REAL_COLUMNS and isinstance(value, int):
        value = float(value)
    if value is None:
        datatype = DOUBLE if name in REAL_COLUMNS else INT64 if name in INTEGER_COLUMNS else STRING
        return begin + varint(datatype) + tag(IS_NULL, VARINT) + varint(1)
    if isinstance(value, bool):
        return begin + varint(BOOLEAN) + tag(BOOLEAN_VALUE, VARINT) + varint(value)
    if isinstance(value, int):
        return begin + varint(INT64) + tag(LONG_VALUE, VARINT) + varint(value % 2**64)
    if isinstance(value, float):
        return begin + varint(DOUBLE) + tag(DOUBLE_VALUE, FIXED64) + struct.pack("<d", value)
    content = text(value) if isinstance(value, str) else dump_json(value)
    return begin + varint(STRING) + field(STRING_VALUE, content)


# Protocol buffers


def text(value: str) -> bytes:
    return value.encode("utf-8", "replace")


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def field(number: int, content: bytes) -> bytes:
    return tag(number, BYTES) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Encode a number that is not negative: seven bits in each byte, the lowest first, with a bit that says whether more follow."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

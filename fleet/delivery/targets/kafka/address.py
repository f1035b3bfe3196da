"""The URL of a topic of Kafka: `kafka://HOST[:PORT][,HOST2[:PORT]]/TOPIC[?OPTIONS]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from fleet.errors import UserError
from fleet.escaping import escape_short

EXAMPLE = "kafka://HOST[:PORT]/TOPIC"
DEFAULT_PORT = 9092
DEFAULT_TOPIC = "fleet"
HISTORY_TABLES = ("anomaly_episodes", "epochs")
TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,230}", re.ASCII)
"""The name of a topic: at most 249 letters, also of those of the history."""

HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:@/\s]+)(?::(?P<port>[0-9]{1,5}))?")
CHOICES = {"acks": ("all", "1", "0"), "compression": ("none", "gzip", "snappy", "lz4", "zstd")}
"""The options, each with its default first."""


@dataclass(frozen=True, slots=True)
class TopicAddress:
    """The servers of a cluster, each with its port, and a topic there."""

    servers: tuple[str, ...]
    topic: str
    acks: str
    compression: str

    @property
    def name(self) -> str:
        return f"kafka://{','.join(self.servers)}/{self.topic}"

    def history_topic(self, table: str) -> str:
        return f"{self.topic}.{table}"


def parse_address(url: str, flag: str = "--to") -> TopicAddress:
    """Parse a URL. UserError, which names the flag and does not repeat a password."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UserError(
            f"{flag}: the URL of Kafka has a user or a password, which other users of the machine could see: set "
            "KAFKA_USERNAME and KAFKA_PASSWORD in the environment"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in CHOICES:
            raise UserError(f"{flag}: {name!a} is no option of Kafka: allowed are {' and '.join(CHOICES)}")
        if value not in CHOICES[name]:
            raise UserError(f"{flag}: {name} is {value!a}, allowed is {' or '.join(CHOICES[name])}")
    topic = unquote(parts.path.strip("/")) or DEFAULT_TOPIC
    if not TOPIC.fullmatch(topic):
        raise UserError(
            f"{flag}: {escape_short(topic)!r} is no topic of Kafka: allowed are 1 to 230 of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return TopicAddress(
        tuple(parse_server(server, url, flag) for server in parts.netloc.split(",")),
        topic,
        options.get("acks", CHOICES["acks"][0]),
        options.get("compression", CHOICES["compression"][0]),
    )


def parse_server(server: str, url: str, flag: str) -> str:
    """Return HOST:PORT. UserError."""
    found = HOST.fullmatch(server)
    if found is None:
        raise UserError(f"{flag}: {escape_short(url)!r} names no server, or one without a valid port: {EXAMPLE}")
    port = int(found["port"] or DEFAULT_PORT)
    if not 1 <= port <= 65_535:
        raise UserError(f"{flag}: {escape_short(url)!r} has no valid port: {EXAMPLE}")
    return f"{found['host']}:{port}"

"""An MQTT broker as a target: each reading is a message, and is delivered once the broker has acknowledged it.

After a failure the readings without an acknowledgement are published again, so a subscriber may see some of them twice: it
knows them by their `key`. With QoS 2 and a persistent session none comes twice as long as this process runs and the broker keeps the
session. Episodes and epochs are messages on topics of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Self

from fleet.delivery.batch import Batch, Value
from fleet.delivery.columns import DELIVERED_COLUMNS
from fleet.delivery.json_documents import (
    dump_json,
    history_documents,
    unserializable,
    without_readings,
)
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.target import DeliveryFailed, Receipt, SourceFailed, TargetUnavailable
from fleet.delivery.targets.mqtt.address import BrokerAddress, expressible, parse_address, topic_level
from fleet.delivery.targets.mqtt.client import PASSWORD_VARIABLE, USERNAME_VARIABLE, reading_properties, tls_context
from fleet.delivery.targets.mqtt.connections import Connections
from fleet.delivery.targets.mqtt.messages import Message
from fleet.delivery.targets.mqtt.presence import Presence, StatusTopic
from fleet.delivery.targets.mqtt.sparkplug import SparkplugNode, encode_reading
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError
from fleet.target_urls import login_variables

TOPIC_COLUMNS = frozenset(DELIVERED_COLUMNS) - {"timestamp", "seq"}

MAX_TEXT_BYTES = 65_535
"""The length of a topic that MQTT can express."""


class MqttTarget:
    """A broker, with one connection for all sensors or one for each."""

    def __init__(
        self, address: BrokerAddress, record: Record, environment: Mapping[str, str], retry: RetryPolicy
    ) -> None:
        """UserError if a file for TLS cannot be used."""
        self._address, self._record, self._environment, self._retry = address, record, environment, retry
        self.name = address.name
        self._tls = tls_context(address, environment)
        self._lock = threading.Lock()
        self._connections: Connections | None = None

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        return cls(
            parse_address(url, TOPIC_COLUMNS),
            options.record,
            login_variables(options.environment, options.login, USERNAME_VARIABLE, PASSWORD_VARIABLE),
            RetryPolicy(options.retry_seconds, stop=options.stop, on_retry=options.on_retry),
        )

    @classmethod
    def read_back(cls, _url: str, _options: ReadBackOptions) -> NoReturn:
        raise UserError(
            "--against: a broker keeps no readings: name what its subscriber writes to, such as sqlite:///FILE"
        )

    def deliver(self, batch: Batch) -> Receipt:
        rejected = unserializable(batch)
        good = without_readings(batch, rejected) if rejected else batch
        readings = dict(zip(good.ids, self._readings(good), strict=True))
        for number in [number for number, message in readings.items() if len(message.topic.encode()) > MAX_TEXT_BYTES]:
            rejected[number] = f"its topic is longer than the {MAX_TEXT_BYTES:,} bytes that MQTT can express"
            del readings[number]
        history = self._history(batch)
        messages = [*history, *readings.values()]
        failure: DeliveryFailed | None = None
        try:
            self._retry.call(lambda: self._publish(messages))
        except TargetUnavailable as error:
            failure = error
        except DeliveryFailed as error:
            raise type(error)(f"{self.name}: {error}") from error
        accepted = frozenset(number for number, message in readings.items() if message.acknowledged)
        if failure is not None and not (accepted and all(message.acknowledged for message in history)):
            kind = SourceFailed if self._others_go_on() else TargetUnavailable
            raise kind(f"{self.name}: {failure}") from failure
        return Receipt(accepted, rejected=rejected, doubt=str(failure or ""))

    def cursor(self, source: str) -> None:
        """None: a broker keeps no record."""

    def close(self) -> None:
        with self._lock:
            connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()

    def _others_go_on(self) -> bool:
        """Whether other sensors have connections that work."""
        return self._address.options.per_sensor and self._open_connections().any_open()

    def _history(self, batch: Batch) -> list[Message]:
        return [
            Message(
                str(document["sensor_id"]),
                self._address.history_topic(table, document["sensor_id"]),
                dump_json(document),
                self._address.options.retain,
            )
            for table, rows in (("anomaly_episodes", batch.episodes), ("epochs", batch.epochs))
            for document in history_documents(table, rows, batch)
        ]

    def _readings(self, batch: Batch) -> list[Message]:
        documents = self._record.documents(batch)
        rows = documents if self._record is ROW else batch.documents()
        return [
            self._reading(row, document, seq)
            for row, document, seq in zip(rows, documents, batch.key_numbers, strict=True)
        ]

    def _reading(self, row: Mapping[str, Value], document: dict[str, Any], seq: int | None) -> Message:
        options, sensor, key = self._address.options, str(row["sensor_id"]), str(row["key"])
        if options.sparkplug:
            return Message(sensor, "", encode_reading(row["timestamp"], document), key=key)
        properties = reading_properties(expressible(key), seq) if options.properties else None
        return Message(sensor, self._address.topic_of(row), dump_json(document), options.retain, key, properties)

    def _publish(self, messages: Sequence[Message]) -> None:
        """Publish what is not yet acknowledged. RetryableFailure, TargetMisconfigured."""
        outbox = self._open_connections().publish([message for message in messages if not message.acknowledged])
        if outbox.failure is not None:
            raise outbox.failure

    def _open_connections(self) -> Connections:
        with self._lock:
            if self._connections is None:
                self._connections = Connections(self._address, self._environment, self._tls, self._presence)
            return self._connections

    def _presence(self, sensor: str) -> Presence:
        address = self._address
        if address.options.sparkplug:
            return SparkplugNode(
                address.topic, topic_level(sensor) if address.options.per_sensor else address.options.node
            )
        return StatusTopic(address.status_topic(sensor))

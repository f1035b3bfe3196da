"""A subscription to a topic of Kafka, with those of its episodes and epochs.

It reads all partitions, without a group: the positions are kept in the central database, with the readings.
"""

from __future__ import annotations

import os
import time
from typing import Any, Self

import apsw

from fleet.delivery.receiver.subscriber import MAX_MESSAGES, Received, Say
from fleet.delivery.targets.kafka.address import HISTORY_TABLES, TopicAddress, parse_address
from fleet.delivery.targets.kafka.client import client_settings, describe_error
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.delivery.targets.sqlite.positions import Partition, Positions
from fleet.errors import UserError

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition  # isort: skip  # after the extra's module

CONNECT_SECONDS = 5.0
METADATA_SECONDS = 2.0
"""Seconds between two looks for topics and partitions that are new."""

FROM_THE_BEGINNING = 0


class KafkaSubscription:
    """An open subscription. For one thread."""

    def __init__(self, address: TopicAddress, central: CentralDatabase, warn: Say) -> None:
        """UserError if the settings are not possible."""
        self.name = address.name
        self._topics = (address.topic, *map(address.history_topic, HISTORY_TABLES))
        self._central, self._warn = central, warn
        self._error: KafkaError | None = None
        self._reported = ""
        self._cluster = ""
        self._offsets: dict[Partition, int] = {}
        self._looked_at = 0.0
        settings: dict[str, Any] = client_settings(address, os.environ) | {
            "group.id": "fleet-receive",  # needed, although it joins no group
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "error_cb": self._on_error,
        }
        try:
            self._consumer = Consumer(settings)
        except KafkaException as error:
            raise UserError(f"--from: {self.name}: {describe_error(error.args[0])}") from error

    @classmethod
    def open(cls, url: str, central: CentralDatabase, warn: Say) -> Self:
        subscription = cls(parse_address(url, "--from"), central, warn)
        try:
            subscription._find_partitions(CONNECT_SECONDS)
        except KafkaException as error:
            subscription.close()
            reason = describe_error(subscription._error or error.args[0])
            raise UserError(f"--from: {subscription.name}: no connection: {reason}") from error
        except apsw.Error as error:
            subscription.close()
            raise UserError(f"{central.path}: cannot be read: {error}") from error
        if not subscription._offsets:
            warn(f"{subscription.name}: there is no such topic yet")
        return subscription

    def take(self, seconds: float) -> Received:
        if time.monotonic() > self._looked_at + METADATA_SECONDS:
            self._look_for_partitions()
        payloads: list[bytes | None] = []
        offsets: dict[Partition, int] = {}
        for message in self._consumer.consume(MAX_MESSAGES, seconds):
            if (error := message.error()) is not None:
                self._on_error(error)
                continue
            value: Any = message.value()
            payloads.append(value)
            offset: Any = message.offset()
            offsets[str(message.topic()), message.partition() or 0] = offset + 1
        if payloads:
            self._error = None
        self._report()
        return Received(payloads, Positions(self._cluster, offsets))

    def acknowledge(self) -> None:
        """Nothing to do: the positions are on disk."""

    def close(self) -> None:
        self._consumer.close()

    def _look_for_partitions(self) -> None:
        try:
            self._find_partitions(METADATA_SECONDS)
        except KafkaException as error:
            self._on_error(error.args[0])
        except apsw.Error as error:
            self._warn(f"{self._central.path}: {error}")

    def _find_partitions(self, seconds: float) -> None:
        """Add the partitions that are new, each at its position. Raises KafkaException and apsw.Error."""
        metadata = self._consumer.list_topics(timeout=seconds)
        self._looked_at, self._error = time.monotonic(), None
        self._cluster = str(metadata.cluster_id or self.name)
        present = {
            (topic, number)
            for topic in self._topics
            if topic in metadata.topics
            for number in metadata.topics[topic].partitions
        }
        if new := present - self._offsets.keys():
            saved = self._central.positions(self._cluster).offsets
            found = {each: saved.get(each, FROM_THE_BEGINNING) for each in new}
            self._consumer.incremental_assign([TopicPartition(*each, offset) for each, offset in found.items()])
            self._offsets |= found

    def _on_error(self, error: KafkaError) -> None:
        if self._error is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._error = error

    def _report(self) -> None:
        """Say what is wrong, once, and that all is well again."""
        reason = describe_error(self._error) if self._error else ""
        if bool(reason) != bool(self._reported):
            self._warn(f"{self.name}: {reason or 'well again'}")
            self._reported = reason

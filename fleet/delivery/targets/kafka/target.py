"""A topic of Kafka as a target: each reading is a message, and is delivered once the broker's report says so.

The key of a message is the sensor, so that its readings stay in order. The producer is idempotent: its own retries store
nothing twice. Readings without a report are published again by another producer, so a consumer may see some of them twice: it
knows them by the header `key`. Episodes and epochs are messages in topics of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NoReturn, Self

from fleet.delivery.batch import Batch
from fleet.delivery.json_documents import dump_json, history_documents, unserializable, without_readings
from fleet.delivery.records.record import Record
from fleet.delivery.target import BatchRejected, DeliveryFailed, Receipt, TargetUnavailable
from fleet.delivery.targets.kafka.address import HISTORY_TABLES, TopicAddress, parse_address
from fleet.delivery.targets.kafka.client import PASSWORD_VARIABLE, USERNAME_VARIABLE, Settings, client_settings
from fleet.delivery.targets.kafka.producer import Message, TopicProducer
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError
from fleet.target_urls import login_variables


class KafkaTarget:
    """A topic, with one producer for all sensors."""

    def __init__(self, address: TopicAddress, client: Settings, record: Record, retry: RetryPolicy) -> None:
        self._address, self._client, self._record, self._retry = address, client, record, retry
        self.name = address.name
        self._lock = threading.Lock()
        self._producer: TopicProducer | None = None

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        address = parse_address(url)
        retry = RetryPolicy(options.retry_seconds, stop=options.stop, on_retry=options.on_retry)
        return cls(
            address,
            client_settings(
                address, login_variables(options.environment, options.login, USERNAME_VARIABLE, PASSWORD_VARIABLE)
            ),
            options.record,
            retry,
        )

    @classmethod
    def read_back(cls, _url: str, _options: ReadBackOptions) -> NoReturn:
        raise UserError(
            "--against: a topic of Kafka is not read back: name what its consumer writes to, such as sqlite:///FILE of "
            "`fleet receive --from`"
        )

    def deliver(self, batch: Batch) -> Receipt:
        rejected = unserializable(batch)
        good = without_readings(batch, rejected) if rejected else batch
        history = [
            Message(
                self._address.history_topic(table),
                str(document["sensor_id"]),
                dump_json(document),
                {"generation": batch.source.key},
            )
            for table, rows in zip(HISTORY_TABLES, (batch.episodes, batch.epochs), strict=True)
            for document in history_documents(table, rows, batch)
        ]
        readings = dict(zip(good.ids, self._readings(good), strict=True))
        accepted: set[int] = set()
        with self._lock:
            try:
                self._retry.call(lambda: self._publish(history, readings, accepted, rejected))
            except TargetUnavailable as error:
                if not accepted:
                    raise TargetUnavailable(f"{self.name}: {error}") from error
                return Receipt(frozenset(accepted), rejected=rejected, doubt=str(error))
            except DeliveryFailed as error:
                raise type(error)(f"{self.name}: {error}") from error
        return Receipt(frozenset(accepted), rejected=rejected)

    def cursor(self, source: str) -> None:
        """None: a topic keeps no record."""

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _readings(self, batch: Batch) -> list[Message]:
        topic, generation = self._address.topic, batch.source.key
        sensor = batch.source.columns.index("sensor_id") if batch.rows else 0
        return [
            Message(
                topic, str(row[sensor]), dump_json(document), {"key": key, "generation": generation, "seq": str(number)}
            )
            for row, key, number, document in zip(
                batch.rows, batch.keys(), batch.key_numbers, self._record.documents(batch), strict=True
            )
        ]

    def _publish(
        self, history: list[Message], readings: Mapping[int, Message], accepted: set[int], rejected: dict[int, str]
    ) -> None:
        """Publish what is not yet in `accepted` or `rejected`, and add it to one of them. Raises DeliveryFailed."""
        if self._producer is None:
            self._producer = TopicProducer(self._address, self._client)
        waiting = [number for number in readings if number not in accepted and number not in rejected]
        messages = [*history, *(readings[number] for number in waiting)]
        try:
            delivered, too_large = self._producer.publish(messages, self._retry.seconds, self._retry.stop)
        except DeliveryFailed:
            self.close()
            raise
        first = len(history)
        accepted.update(number for number, arrived in zip(waiting, delivered[first:], strict=True) if arrived)
        rejected.update({waiting[index - first]: reason for index, reason in too_large.items() if index >= first})
        if not all(arrived or index in too_large for index, arrived in enumerate(delivered)):
            failure = self._producer.failure
            self.close()
            raise failure
        if any(index < first for index in too_large):
            raise BatchRejected(next(iter(too_large.values())))

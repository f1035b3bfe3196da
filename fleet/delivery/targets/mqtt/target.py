"""An MQTT broker as a target: each reading is a message, and is delivered once the broker has acknowledged it.

After a failure the readings without an acknowledgement are published again, so a subscriber may see some of them twice: it
knows them by their `key`. Episodes and epochs are messages on topics of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn, Self

from fleet.delivery.batch import Batch
from fleet.delivery.columns import DELIVERED_COLUMNS
from fleet.delivery.json_documents import (
    dump_json,
    history_documents,
    unserializable,
    without_readings,
)
from fleet.delivery.records.record import Record
from fleet.delivery.target import DeliveryFailed, Receipt, TargetUnavailable
from fleet.delivery.targets.mqtt.address import BrokerAddress, parse_address
from fleet.delivery.targets.mqtt.connection import BrokerConnection, Message, login_variables
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryableFailure, RetryPolicy
from fleet.errors import UserError

TOPIC_COLUMNS = frozenset(DELIVERED_COLUMNS) - {"timestamp", "seq"}


class MqttTarget:
    """A broker, with one connection for all sensors."""

    def __init__(
        self, address: BrokerAddress, record: Record, environment: Mapping[str, str], retry: RetryPolicy
    ) -> None:
        self._address, self._record, self._environment, self._retry = address, record, environment, retry
        self.name = address.name
        self._lock = threading.Lock()
        self._connection: BrokerConnection | None = None

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        return cls(
            parse_address(url, TOPIC_COLUMNS),
            options.record,
            login_variables(options.environment, options.login),
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
        address = self._address
        history = [
            (address.history_topic(table, document["sensor_id"]), dump_json(document))
            for table, rows in (("anomaly_episodes", batch.episodes), ("epochs", batch.epochs))
            for document in history_documents(table, rows, batch)
        ]
        readings = [
            (address.topic_of(row), dump_json(document))
            for row, document in zip(good.documents(), self._record.documents(good), strict=True)
        ]
        accepted: set[int] = set()
        with self._lock:
            try:
                self._retry.call(lambda: self._publish(history, dict(zip(good.ids, readings, strict=True)), accepted))
            except TargetUnavailable as error:
                if not accepted:
                    raise TargetUnavailable(f"{self.name}: {error}") from error
                return Receipt(frozenset(accepted), rejected=rejected, doubt=str(error))
            except DeliveryFailed as error:
                raise type(error)(f"{self.name}: {error}") from error
        return Receipt(frozenset(accepted), rejected=rejected)

    def cursor(self, source: str) -> None:
        """None: a broker keeps no record."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _publish(self, history: list[Message], readings: Mapping[int, Message], accepted: set[int]) -> None:
        """Publish what is not yet in `accepted`, and add to it what is acknowledged. RetryableFailure, TargetMisconfigured."""
        if self._connection is None:
            self._connection = BrokerConnection(self._address, self._environment)
        waiting = [number for number in readings if number not in accepted]
        try:
            acknowledged = self._connection.publish(
                [*history, *(readings[number] for number in waiting)], self._address.retain
            )
        except DeliveryFailed:
            self._drop()
            raise
        accepted.update(
            number for number, arrived in zip(waiting, acknowledged[len(history) :], strict=True) if arrived
        )
        if not all(acknowledged):
            lost = self._connection.lost
            self._drop()
            raise RetryableFailure(lost)

    def _drop(self) -> None:
        with suppress(OSError):
            self.close()
        self._connection = None

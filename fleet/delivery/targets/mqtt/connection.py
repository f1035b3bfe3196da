"""One connection to a broker: its client, what waits to be published over it, and what the broker has yet to acknowledge.

With a clean session the messages that are unacknowledged when it breaks have failed, and the target publishes them again. With a
persistent one the client sends them again under their numbers, so that a broker that has kept the session recognises them.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from fleet.delivery.target import DeliveryFailed, TargetMisconfigured
from fleet.delivery.targets.mqtt.address import BrokerAddress
from fleet.delivery.targets.mqtt.client import (
    CONNECT_SECONDS,
    PASSWORD_VARIABLE,
    USERNAME_VARIABLE,
    Client,
    connection_failure,
    lost_connection,
    refused_connection,
    refused_message,
)
from fleet.delivery.targets.mqtt.messages import Message
from fleet.delivery.targets.mqtt.presence import Presence
from fleet.delivery.targets.retry import RetryableFailure

PATIENCE_SECONDS = 20.0
"""Seconds without any acknowledgement after which a connection is given up."""

MAX_UNACKNOWLEDGED = 1000
MAX_UNACKNOWLEDGED_VERSION_3 = 20
"""Messages that may be on their way in one connection. Version 5 lets the broker set a lower limit; under version 3.1.1 a broker
may discard what is above its own: mosquitto takes 20 at a time."""

QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class State(Enum):
    CLOSED = auto()
    OPENING = auto()
    """A thread opens the socket."""

    CONNECTING = auto()
    """The broker has yet to answer."""

    OPEN = auto()


class Connection:
    """A connection that can be made again and again. All methods except `connect` are called by the thread of the loop."""

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        presence: Presence,
        tls: ssl.SSLContext | None,
        environment: Mapping[str, str],
        on_closed: Callable[[Connection, socket.socket | None], None],
    ) -> None:
        """`on_closed` is called with the socket, before it is closed, and with None when the connection is lost."""
        self.state = State.CLOSED
        self.failures = 0
        """Attempts in a row after which nothing could be published."""

        self.due = float("inf")
        """When the next attempt is to be made, in the clock of the loop."""

        self.stormed = False
        """True if the connection was cut for a storm."""

        self._address, self._presence, self._on_closed = address, presence, on_closed
        self._queue: deque[Message] = deque()
        self._unacknowledged: dict[int, Message | None] = {}
        self._numbers: dict[str, int] = {}
        """The numbers in `_unacknowledged` of readings, by key."""

        self._late: set[str] = set()
        """The keys of readings that were acknowledged after the attempt to deliver them had ended."""

        self._births: set[Message] = set()
        """The births that the broker has yet to acknowledge."""

        self._window = MAX_UNACKNOWLEDGED_VERSION_3
        self._failure: DeliveryFailed | None = None
        self._heard = 0.0
        self._client = Client(address, client_id)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_publish, self._client.on_message = self._on_publish, self._on_message
        self._client.on_socket_close = lambda _client, _data, opened: on_closed(self, opened)  # type: ignore[arg-type]
        if environment.get(USERNAME_VARIABLE):
            self._client.username_pw_set(environment[USERNAME_VARIABLE], environment.get(PASSWORD_VARIABLE))
        if tls is not None:
            self._client.tls_set_context(tls)

    @property
    def socket(self) -> socket.socket | None:
        return self._client.socket()  # type: ignore[return-value]  # a web socket has another type

    @property
    def waits(self) -> bool:
        """Whether there is something to publish."""
        return bool(self._queue)

    @property
    def wants_write(self) -> bool:
        return self._client.want_write()

    def connect(self) -> DeliveryFailed | None:
        """Open the socket; returns the failure. It blocks, so it runs in a thread of its own while the state is OPENING."""
        will = self._presence.will()
        if will is not None:
            self._client.will_set(will.topic, will.payload, 1, will.retain)
        try:
            self._client.reconnect()
        except OSError as error:
            return connection_failure(self._address, error)
        return None

    def begin(self, now: float) -> None:
        """Begin the conversation over the new socket."""
        self._heard = now
        self.pump()

    def enqueue(self, message: Message) -> None:
        """Publish a message, if need be once there is a connection."""
        if message.key in self._late:
            self._late.discard(message.key)
            self._settle(message)
        elif message.key in self._numbers:
            self._unacknowledged[self._numbers[message.key]] = message
        else:
            self._queue.append(message)

    def read(self) -> None:
        """Read what has arrived, and publish what there now is room for."""
        self._client.loop_read()
        while self._client.has_received and self.socket is not None:
            self._client.loop_read()
        self.pump()
        if (opened := self.socket) is not None and QUICK_ACK is not None:
            # Many brokers hold the second acknowledgement back until the system has confirmed the first, 40 ms later.
            with suppress(OSError):
                opened.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)

    def pump(self) -> None:
        """Publish what waits, as far as the broker takes it."""
        while True:
            while self._may_publish():
                self._publish(self._queue.popleft())
            self._client.loop_write()
            if self._client.want_write() or not self._may_publish():
                return

    def _may_publish(self) -> bool:
        """Whether the next message may be published now: readings follow once the broker has acknowledged the births."""
        if self.state is not State.OPEN or not self._queue or len(self._unacknowledged) >= self._window:
            return False
        return not self._births or self._queue[0] in self._births

    def tick(self, now: float) -> None:
        """Do what time demands: keep the connection alive, or give it up."""
        if not self._unacknowledged and self.state is State.OPEN:
            self._heard = now
        limit = PATIENCE_SECONDS if self.state is State.OPEN else CONNECT_SECONDS
        if now > self._heard + limit:
            what = "no acknowledgement for" if self.state is State.OPEN else "no answer within"
            self.cut(RetryableFailure(f"{what} {limit:.0f} s"))
        self._client.loop_misc()
        self.pump()

    def cut(self, failure: DeliveryFailed | None = None) -> None:
        """Break the connection off, as a network does; the loop then finds it lost."""
        self._failure = self._failure or failure
        if (opened := self.socket) is not None:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Say goodbye. The connection closes when that is written."""
        for message in self._presence.farewells():
            self._client.publish(message.topic, message.payload, self._address.options.qos, message.retain)
        self._client.disconnect()
        self._client.loop_write()

    def fail(self, failure: DeliveryFailed) -> None:
        """Tell those who wait for messages that those will not be acknowledged at present."""
        self.state = State.CLOSED
        self._failure = None
        waiting = [message for message in self._unacknowledged.values() if message is not None]
        if not self._address.options.persistent or not self._address.options.qos:
            self._forget_unacknowledged()
        for message in (*waiting, *self._queue):
            self._settle(message, failure)
        self._queue.clear()
        self._births.clear()

    def _forget_unacknowledged(self) -> None:
        self._client.drop_out_messages()
        self._unacknowledged.clear()
        self._numbers.clear()

    def _publish(self, message: Message) -> None:
        number = 0
        for topic, payload in self._presence.packets(message):
            qos = self._address.options.qos
            number = self._client.publish(topic, payload, qos, message.retain, message.properties).mid
            self._unacknowledged[number] = None
        self._unacknowledged[number] = message
        if message.key:
            self._numbers[message.key] = number

    def _announce(self) -> None:
        """Publish the births before anything else."""
        births = self._presence.births()
        self._births = set(births)
        self._queue.extendleft(reversed(births))

    def _settle(self, message: Message, failure: DeliveryFailed | None = None) -> None:
        if message.outbox is not None:
            message.outbox.settle(message, failure)
        elif message.key and failure is None:
            self._late.add(message.key)

    # Called by the client

    def _on_connect(self, client: Any, _data: object, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._failure = refused_connection(str(reason))
            return
        self.state, self._heard = State.OPEN, time.monotonic()
        if self._address.options.version == "5":
            self._window = min(getattr(properties, "ReceiveMaximum", MAX_UNACKNOWLEDGED), MAX_UNACKNOWLEDGED)
        if not flags.session_present:
            # The broker has forgotten the messages: those that a delivery waits for are published again.
            waiting = [message for message in self._unacknowledged.values() if message and message.outbox]
            self._forget_unacknowledged()
            self._queue.extendleft(reversed(waiting))
        if self._presence.command_topic:
            client.subscribe(self._presence.command_topic, 1)
        self._announce()

    def _on_disconnect(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        lost = lost_connection(self._address, str(reason), accepted=self.state is State.OPEN)
        self.failures += self.state is not State.OPEN or isinstance(self._failure, TargetMisconfigured)
        self.fail(self._failure or lost)
        self._on_closed(self, None)

    def _on_publish(self, _client: Any, _data: object, number: int, reason: Any, _properties: object) -> None:
        self._heard = time.monotonic()
        message = self._unacknowledged.pop(number, None)
        failure = None
        if reason.is_failure:
            failure = refused_message(message.topic if message else "", str(reason))
            if message is None or message in self._births:
                self.cut(failure)  # No delivery waits for an announcement: the readings behind it fail.
        else:
            self.failures = 0
        if message is not None:
            self._births.discard(message)
            self._numbers.pop(message.key, None)
            self._settle(message, failure)

    def _on_message(self, _client: Any, _data: object, received: Any) -> None:
        if self._presence.is_rebirth(received.payload):
            self._announce()

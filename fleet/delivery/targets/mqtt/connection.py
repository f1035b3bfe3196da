"""A connection to a broker that is used until it fails: a new one is made for the next attempt, with a clean session.

So no message is sent again behind the back of the target, which knows which readings have been acknowledged.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fleet.delivery.target import TargetMisconfigured
from fleet.delivery.targets.mqtt.address import BrokerAddress
from fleet.delivery.targets.retry import RetryableFailure
from fleet.errors import UserError
from fleet.target_urls import Login

try:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion
except ImportError as error:
    raise UserError(f"MQTT needs an extra: pip install 'sensor-fleet[mqtt]' ({error})") from error

USERNAME_VARIABLE, PASSWORD_VARIABLE = "MQTT_USERNAME", "MQTT_PASSWORD"

CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 20.0
"""Seconds without any acknowledgement after which a connection is given up."""

PASSING_REASONS = frozenset(
    ("Server unavailable", "Server busy", "Use another server", "Connection rate exceeded", "Quota exceeded")
)
"""Reasons of a broker that may pass; for others an operator has to act."""

Message = tuple[str, bytes]
"""A topic and a payload."""


def login_variables(environment: Mapping[str, str], login: Login | None) -> Mapping[str, str]:
    """The environment with the user and the password of the URL in place of its own."""
    return (
        environment
        if login is None
        else {**environment, USERNAME_VARIABLE: login.user, PASSWORD_VARIABLE: login.password}
    )


class BrokerConnection:
    """An open connection. One thread at a time publishes."""

    def __init__(self, address: BrokerAddress, environment: Mapping[str, str]) -> None:
        """RetryableFailure, or TargetMisconfigured if the broker refuses this client."""
        self._address = address
        self._changed = threading.Condition()
        self._acknowledged: dict[int, str] = {}
        self._answer: str | None = None
        self._lost = ""
        version = paho.MQTTv5 if address.version == "5" else paho.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=False)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_publish = self._on_publish
        if environment.get(USERNAME_VARIABLE):
            self._client.username_pw_set(environment[USERNAME_VARIABLE], environment.get(PASSWORD_VARIABLE))
        if address.tls:
            self._client.tls_set_context(ssl.create_default_context())
        self._connect()

    @property
    def lost(self) -> str:
        """Why the connection is lost, empty if it is not."""
        return self._lost

    def publish(self, messages: Sequence[Message], retain: bool) -> list[bool]:
        """Publish messages, and wait for the broker. Returns which of them it has acknowledged; all, unless the connection is
        lost. TargetMisconfigured if it refuses one."""
        with self._changed:
            self._acknowledged.clear()
        sent = [self._client.publish(topic, payload, self._address.qos, retain) for topic, payload in messages]
        numbers = [info.mid for info in sent]
        self._wait(set(numbers))
        with self._changed:
            refusals = [self._acknowledged[number] for number in numbers if self._acknowledged.get(number)]
            if refusals:
                raise TargetMisconfigured(f"the broker refuses what is published: {refusals[0]}")
            return [number in self._acknowledged for number in numbers]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self) -> None:
        try:
            self._client.connect_timeout = CONNECT_SECONDS
            self._client.connect(self._address.host, self._address.port, self._address.keep_alive)
        except ssl.SSLCertVerificationError as error:
            raise TargetMisconfigured(f"its certificate is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise TargetMisconfigured(f"no TLS: {error.reason or error}") from error
        except OSError as error:
            raise RetryableFailure(f"no connection: {error.strerror or error}") from error
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None or self._lost, CONNECT_SECONDS)
        if self._answer != "Success":
            self.close()
            reason = self._answer or self._lost or f"no answer within {CONNECT_SECONDS:.0f} s"
            if self._answer is None or self._answer in PASSING_REASONS:
                raise RetryableFailure(f"no connection: {reason}")
            raise TargetMisconfigured(
                f"the broker refuses the connection: {reason}: check {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}"
            )

    def _wait(self, numbers: set[int]) -> None:
        """Wait until all messages of these numbers are acknowledged, or the connection is lost."""
        seen, since = 0, time.monotonic()
        with self._changed:
            while not numbers <= self._acknowledged.keys() and not self._lost:
                self._changed.wait(1.0)
                if len(self._acknowledged) > seen:
                    seen, since = len(self._acknowledged), time.monotonic()
                elif time.monotonic() > since + PATIENCE_SECONDS:
                    self._lost = f"no acknowledgement for {PATIENCE_SECONDS:.0f} s"

    # Called by the thread of the client

    def _on_connect(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        with self._changed:
            self._answer = str(reason)
            self._changed.notify_all()

    def _on_disconnect(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        with self._changed:
            self._lost = self._lost or f"the connection was closed: {reason}"
            self._changed.notify_all()

    def _on_publish(self, _client: Any, _data: object, number: int, reason: Any, _properties: object) -> None:
        with self._changed:
            self._acknowledged[number] = str(reason) if reason.is_failure else ""
            self._changed.notify_all()

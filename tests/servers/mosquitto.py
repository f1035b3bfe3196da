"""A real MQTT broker for tests, on a port of its own of the loopback interface, and a subscriber to all of its topics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.process.running_fleet import wait_for
from tests.servers.program import ServerProgram, find_program, free_port

USER, PASSWORD = "fleet", "a-password-for-the-test"


class Broker(ServerProgram):
    """mosquitto, with these lines in its config."""

    def __init__(self, folder: Path, *lines: str) -> None:
        port, config = free_port(), folder / "mosquitto.conf"
        config.write_text("\n".join((f"listener {port} 127.0.0.1", "user root", *lines)) + "\n")
        super().__init__([find_program("mosquitto", "Debian"), "-c", str(config)], folder / "mosquitto.log", port)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


@contextmanager
def broker(folder: Path, *lines: str) -> Iterator[Broker]:
    """A broker that takes everybody, unless the lines of its config say otherwise."""
    running = Broker(folder, *(lines or ("allow_anonymous true",)))
    try:
        yield running
    finally:
        running.kill()


class Subscriber:
    """Has every message, as (topic, document), also across an end of the broker: it connects again by itself."""

    def __init__(self, port: int, qos: int = 1, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.properties: list[list[tuple[str, str]]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="subscriber", protocol=version)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.wait()

    def wait(self) -> None:
        """Wait until it is subscribed."""
        wait_for(self._subscribed.is_set, "it is subscribed")

    def wait_until_away(self) -> None:
        wait_for(lambda: not self._subscribed.is_set(), "it knows that the broker is gone")

    def is_quiet(self, seconds: float) -> bool:
        """Whether no message arrives for so long."""
        before = len(self.messages)
        time.sleep(seconds)
        return len(self.messages) == before

    def readings(self) -> list[dict[str, Any]]:
        return [document for _, document in list(self.messages) if "key" in document]

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.properties.append(getattr(message.properties, "UserProperty", []))
        self.messages.append((message.topic, json.loads(message.payload)))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

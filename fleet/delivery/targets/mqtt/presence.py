"""The announcements of a connection: the message when it opens, and the last will that the broker publishes when it breaks."""

from __future__ import annotations

from typing import Protocol

from fleet.delivery.targets.mqtt.messages import Message

ONLINE, OFFLINE = b"online", b"offline"

Packet = tuple[str, bytes]
"""A topic and a payload."""


class Presence(Protocol):
    """The announcements of one connection."""

    command_topic: str
    """A topic to subscribe to, empty for none. A message there asks for the births again."""

    def will(self) -> Message | None:
        """Return the last will of the next connection."""
        ...

    def births(self) -> list[Message]:
        """Return what is published first over a new connection."""
        ...

    def is_rebirth(self, payload: bytes) -> bool:
        """Check whether a message on the command topic asks for the births."""
        ...

    def packets(self, message: Message) -> list[Packet]:
        """Return what is published for a message, the message itself last."""
        ...

    def farewells(self) -> list[Message]:
        """Return what is published before an orderly end."""
        ...


class StatusTopic:
    """A retained `online` or `offline` on a topic; without a topic there are no announcements."""

    command_topic = ""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def will(self) -> Message | None:
        return Message("", self._topic, OFFLINE, retain=True) if self._topic else None

    def births(self) -> list[Message]:
        return [Message("", self._topic, ONLINE, retain=True)] if self._topic else []

    def is_rebirth(self, payload: bytes) -> bool:
        return False

    def packets(self, message: Message) -> list[Packet]:
        return [(message.topic, message.payload)]

    def farewells(self) -> list[Message]:
        return [Message("", self._topic, OFFLINE, retain=True)] if self._topic else []

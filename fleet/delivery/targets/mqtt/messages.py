"""Messages to a broker, and the outcome of one attempt to publish some."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet.delivery.target import DeliveryFailed, TargetMisconfigured


@dataclass(slots=True, eq=False)
class Message:
    """A message of a sensor's connection.

    `key` is that of a reading, empty for anything else. Without a `topic` it is a reading for Sparkplug, whose topic and
    sequence number are known when it is published.
    """

    sensor: str
    topic: str
    payload: bytes
    retain: bool = False
    key: str = ""
    properties: Any = None
    acknowledged: bool = False
    outbox: Outbox | None = field(default=None, repr=False)
    """The attempt that waits for the outcome, None if none does."""


class Outbox:
    """An attempt to publish messages. Its outcomes are set by the thread of the connections."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.done = threading.Event()
        self.failure: DeliveryFailed | None = None
        """The reason why messages were not acknowledged, the one for which an operator has to act if there are several."""

        self._left = len(messages)
        if not messages:
            self.done.set()

    def settle(self, message: Message, failure: DeliveryFailed | None = None) -> None:
        """Set the outcome of a message: acknowledged, or the failure."""
        message.outbox, message.acknowledged = None, failure is None
        if failure is not None and (self.failure is None or isinstance(failure, TargetMisconfigured)):
            self.failure = failure
        self._left -= 1
        if not self._left:
            self.done.set()

"""`fleet receive --from`: the messages of a broker, stored in the central database, and acknowledged once they are on disk.

To add a broker: a class with the methods of `Subscription`, and its line in SUBSCRIPTIONS.
"""

from __future__ import annotations

import pkgutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from fleet.delivery.receiver.messages import parse_messages
from fleet.delivery.receiver.store import CentralStore, StoreUnavailable
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.delivery.targets.sqlite.positions import Positions
from fleet.errors import UserError
from fleet.escaping import escape_short
from worker.supervision.signals import SignalSocket

TAKE_SECONDS = 0.2
STORE_RETRY_SECONDS = 1.0
MAX_MESSAGES = 5_000
"""Messages that are stored in one transaction."""

MAX_WARNINGS = 10
"""Damaged messages that are reported one by one; the others are only counted."""

Say = Callable[[str], None]


class Received(NamedTuple):
    """Messages in their order, None for one without content, and the positions after them if the broker has no memory of them."""

    payloads: Sequence[bytes | None]
    positions: Positions | None = None


class Subscription(Protocol):
    """A subscription that connects again by itself."""

    @property
    def name(self) -> str: ...

    def take(self, seconds: float) -> Received:
        """Return what has arrived, at most MAX_MESSAGES, after at most `seconds`."""
        ...

    def acknowledge(self) -> None:
        """Acknowledge what was taken last: it is on disk."""
        ...

    def close(self) -> None: ...


class SubscriptionClass(Protocol):
    """The class of a subscription."""

    def open(self, url: str, central: CentralDatabase, warn: Say) -> Subscription:
        """Subscribe. UserError if that is not possible. `warn` is called from any thread."""
        ...


SUBSCRIPTIONS = {
    "mqtt": "fleet.delivery.receiver.mqtt_subscription:MqttSubscription",
    "mqtts": "fleet.delivery.receiver.mqtt_subscription:MqttSubscription",
    "kafka": "fleet.delivery.receiver.kafka_subscription:KafkaSubscription",
}


@dataclass(slots=True)
class Counts:
    """What has become of the messages."""

    messages: int = 0
    readings: int = 0
    duplicates: int = 0
    conflicts: int = 0
    history: int = 0
    damaged: int = 0

    def summary(self, seconds: float) -> str:
        return (
            f"received {self.messages} messages in {seconds:.1f} s: {self.readings - self.duplicates} new readings, "
            f"{self.duplicates} there already, {self.conflicts} rejected with other content, {self.history} episodes and "
            f"epochs, {self.damaged} damaged messages"
        )


def receive_from(url: str, central_path: Path, say: Say, warn: Say) -> int:
    """Store the messages until SIGTERM or Ctrl-C. For the main thread. UserError if there is nothing to subscribe to."""
    path = SUBSCRIPTIONS.get(url.partition("://")[0])
    if path is None:
        raise UserError(
            f"--from: {escape_short(url)!r} is no broker: allowed is mqtt://HOST/TOPIC, mqtts://HOST/TOPIC or kafka://HOST/TOPIC"
        )
    subscription_class: SubscriptionClass = pkgutil.resolve_name(path)
    with closing(CentralDatabase(central_path)) as central, SignalSocket(signal.SIGTERM, signal.SIGINT) as wakeup:
        with closing(subscription_class.open(url, central, warn)) as subscription:
            say(f"receiving from {subscription.name} into {central_path}")
            started_at = time.monotonic()
            subscriber = Subscriber(subscription, CentralStore(central), warn, lambda: bool(wakeup.received()))
            subscriber.run()
        say(subscriber.counts.summary(time.monotonic() - started_at))
    return 0


class Subscriber:
    """The loop from a subscription to the store. `ended` returns True once a signal has come."""

    def __init__(self, subscription: Subscription, store: CentralStore, warn: Say, ended: Callable[[], bool]) -> None:
        self._subscription, self._store, self._warn, self._ended = subscription, store, warn, ended
        self.counts = Counts()
        self._notes: set[str] = set()

    def run(self) -> None:
        while not self._ended():
            received = self._subscription.take(TAKE_SECONDS)
            if received.payloads:
                if not self._store_until_done(received):
                    return  # what is not acknowledged comes again
                self._subscription.acknowledge()

    def _store_until_done(self, received: Received) -> bool:
        """Store messages, again and again if the store is not available. Returns False if it has ended before."""
        failing = False
        while True:
            try:
                self._store_messages(received)
            except StoreUnavailable as error:
                if not failing:
                    self._warn(f"{error}: nothing is acknowledged until it can be written")
                failing = True
                if self._wait():
                    return False
            else:
                return True

    def _wait(self) -> bool:
        """Wait before another attempt; returns True if a signal has come."""
        end = time.monotonic() + STORE_RETRY_SECONDS
        while time.monotonic() < end:
            if self._ended():
                return True
            time.sleep(0.05)
        return False

    def _store_messages(self, received: Received) -> None:
        parsed = parse_messages(received.payloads, self._subscription.name)
        receipts = self._store.store_all(parsed.batches, received.positions)
        counts = self.counts
        counts.messages += len(received.payloads)
        for batch, receipt in zip(parsed.batches, receipts, strict=True):
            counts.readings += len(receipt.accepted)
            counts.duplicates += receipt.duplicates
            counts.conflicts += len(receipt.rejected)
            counts.history += len(batch.episodes.rows) + len(batch.epochs.rows)
            if receipt.note and receipt.note not in self._notes:
                self._notes.add(receipt.note)
                self._warn(receipt.note)
            for number, reason in receipt.rejected.items():
                self._warn_of("rejected", f"id {number} of {batch.source.key}: {reason}")
        for reason in parsed.damaged:
            self._warn_of("damaged", reason)

    def _warn_of(self, noun: str, reason: str) -> None:
        if noun == "damaged":
            self.counts.damaged += 1
        count = self.counts.damaged + self.counts.conflicts
        if count <= MAX_WARNINGS:
            self._warn(
                f"a message is {noun}: {reason}" + ("; further ones are counted" if count == MAX_WARNINGS else "")
            )

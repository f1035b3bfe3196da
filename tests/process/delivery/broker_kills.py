"""Readings into a broker that is killed again and again: what a subscriber lacks, and what it has twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

from fleet.delivery.batch import Batch
from fleet.delivery.records.record import ROW
from fleet.delivery.target import TargetUnavailable
from fleet.delivery.targets.mqtt.address import parse_address
from fleet.delivery.targets.mqtt.target import TOPIC_COLUMNS, MqttTarget
from fleet.delivery.targets.retry import RetryPolicy
from tests.fleet.delivery.samples import reading, source
from tests.process.running_fleet import wait_for
from tests.servers.mosquitto import Broker, Subscriber


@dataclass(frozen=True, slots=True)
class Outcome:
    """`lost` and `doubled` are among the readings that the target has accepted."""

    kills: int
    accepted: int
    lost: int
    doubled: int


def deliver_through_kills(
    broker: Broker,
    options: str,
    *,
    seconds: float,
    between_kills: float,
    sensors: int = 5,
    batch_size: int = 1000,
    rate: int = 4000,
) -> Outcome:
    """Deliver for `seconds` while the broker is killed and started every `between_kills` seconds.

    What the broker accepts reaches the subscriber: it subscribes with QoS 0, so that the broker holds nothing back for it, is faster
    than `rate` messages a second, and is there before the publisher after each start.
    """
    ready, begin = threading.Event(), time.monotonic()
    end = begin + seconds
    kills, accepted = 0, Counter[str]()
    with closing(Subscriber(broker.port, qos=0)) as subscriber, closing(opened(f"{broker.url}?{options}")) as target:

        def kill() -> None:
            nonlocal kills
            while time.monotonic() + between_kills < end:
                time.sleep(between_kills)
                ready.clear()
                broker.kill()
                kills += 1
                subscriber.wait_until_away()
                broker.start()
                subscriber.wait()
                ready.set()

        ready.set()
        killer = threading.Thread(target=kill)
        killer.start()
        first = 1
        while time.monotonic() < end:
            batch = readings(first, first + batch_size, sensors)
            left = batch
            while left.rows:
                ready.wait()
                try:
                    ids = target.deliver(left).accepted
                except TargetUnavailable:
                    continue
                left = Batch(left.source, tuple(row for row in left.rows if row[0] not in ids))
            accepted.update(batch.keys())
            first += batch_size
            time.sleep(max(0.0, begin + first / rate - time.monotonic()))
        killer.join()
        wait_for(lambda: subscriber.is_quiet(0.5), "the last messages arrive")
    arrived = Counter(document["key"] for document in subscriber.readings())
    assert not arrived - Counter({key: arrived[key] for key in accepted})
    lost = sum(key not in arrived for key in accepted)
    return Outcome(kills, len(accepted), lost, sum(arrived[key] > 1 for key in accepted))


def readings(first: int, end: int, sensors: int) -> Batch:
    return Batch(source(), tuple(reading(number, f"KIN_{number % sensors}") for number in range(first, end)))


def opened(url: str) -> MqttTarget:
    return MqttTarget(parse_address(url, TOPIC_COLUMNS), ROW, {}, RetryPolicy(attempts=1))

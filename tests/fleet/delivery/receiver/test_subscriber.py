"""The loop from a subscription to the central database: only what is on disk is acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from fleet.delivery.receiver.mqtt_subscription import client_id_of, parse_subscription
from fleet.delivery.receiver.store import CentralStore
from fleet.delivery.receiver.subscriber import Received, Subscriber, receive_from
from fleet.delivery.records.record import ROW
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.delivery.targets.sqlite.positions import Positions
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch
from tests.fleet.verify.damage import select

PLANT = ("plant", 0)


class Script:
    """A subscription to prepared messages, with their number as position."""

    name = "script"

    def __init__(self, *portions: list[bytes]) -> None:
        self.portions = list(portions)
        self.taken = self.acknowledged = 0

    def take(self, seconds: float) -> Received:
        payloads = self.portions.pop(0) if self.portions else []
        self.taken += len(payloads)
        return Received(payloads, Positions("cluster", {PLANT: self.taken}))

    def acknowledge(self) -> None:
        self.acknowledged = self.taken

    def close(self) -> None:
        pass


def messages(first: int, end: int) -> list[bytes]:
    return [json.dumps(document).encode() for document in ROW.documents(batch(first, end))]


@pytest.fixture
def central(tmp_path: Path) -> Iterator[CentralDatabase]:
    with closing(CentralDatabase(tmp_path / "central.db")) as opened:
        yield opened


def run(script: Script, central: CentralDatabase) -> tuple[Subscriber, list[str]]:
    """Run the loop until the portions are used up, or for some rounds if they are not."""
    warnings: list[str] = []
    rounds = iter(range(20))
    loop = Subscriber(
        script, CentralStore(central), warnings.append, lambda: not script.portions or next(rounds, 99) == 99
    )
    loop.run()
    return loop, warnings


def test_messages_that_come_again_are_stored_once(central: CentralDatabase, tmp_path: Path) -> None:
    script = Script(messages(1, 6), messages(3, 9), [])
    loop, warnings = run(script, central)
    assert 8 == select(tmp_path / "central.db", "SELECT count(*) FROM sensor_readings")[0][0]
    assert (11, 11, 3, 0, []) == (
        script.acknowledged,
        loop.counts.readings,
        loop.counts.duplicates,
        loop.counts.damaged,
        warnings,
    )
    assert {PLANT: 11} == central.positions("cluster").offsets
    assert {} == central.positions("another cluster").offsets
    assert "received 11 messages in 2.0 s: 8 new readings, 3 there already" in loop.counts.summary(2.0)


def test_what_is_not_on_disk_is_not_acknowledged(central: CentralDatabase, tmp_path: Path) -> None:
    store = CentralStore(central)
    (tmp_path / "central.db").rename(tmp_path / "elsewhere.db")
    script, warnings = Script(messages(1, 6), []), list[str]()
    Subscriber(script, store, warnings.append, lambda: script.taken > 0).run()
    assert 0 == script.acknowledged
    assert [
        "the central database was deleted or replaced; start the receiver again: nothing is acknowledged until it can be written"
    ] == warnings


def test_readings_and_positions_are_committed_together(central: CentralDatabase, tmp_path: Path) -> None:
    """If the positions cannot be saved, the readings are not there either."""
    run(Script(messages(1, 2), []), central)
    with closing(apsw.Connection(str(tmp_path / "central.db"))) as other:
        other.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON broker_positions BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    with pytest.raises(apsw.ConstraintError):
        central.insert_batches([batch(2, 9)], datetime.now(UTC), Positions("cluster", {PLANT: 7}))
    assert 1 == select(tmp_path / "central.db", "SELECT count(*) FROM sensor_readings")[0][0]
    assert {PLANT: 1} == central.positions("cluster").offsets


def test_damaged_messages_are_said_up_to_a_limit(central: CentralDatabase) -> None:
    loop, warnings = run(Script([b"x"] * 30, messages(1, 2), []), central)
    assert (30, 1, 10) == (loop.counts.damaged, loop.counts.readings, len(warnings))
    assert warnings[0].startswith("a message is damaged: it is no JSON")
    assert warnings[-1].endswith("; further ones are counted")


@pytest.mark.parametrize(
    ("url", "filters"),
    [
        ("mqtt://broker", ("fleet/+", "fleet/anomaly_episodes/+", "fleet/epochs/+")),
        ("mqtt://broker/a/{location}/x-{sensor_id}", ("a/+/+", "a/anomaly_episodes/+", "a/epochs/+")),
        ("mqtt://broker/a/all", ("a/all", "a/anomaly_episodes/+", "a/epochs/+")),
        ("mqtt://broker/a/#", ("a/#",)),
        ("mqtt://broker/%23?qos=2", ("#",)),
        ("mqtt://broker/a/#?qos=2", ("a/#",)),
        ("mqtt://broker/a/+/b", ("a/+/b",)),
    ],
)
def test_the_url_of_a_fleet_or_a_filter_is_subscribed_to(url: str, filters: tuple[str, ...]) -> None:
    address = parse_subscription(url)
    assert filters == address.filters
    assert (2 if "qos" in url else 1) == address.qos


def test_a_session_belongs_to_a_database(tmp_path: Path) -> None:
    assert client_id_of(tmp_path / "a.db") == client_id_of(tmp_path / "a.db") != client_id_of(tmp_path / "b.db")
    assert "mine" == parse_subscription("mqtt://broker/x?client_id=mine").client_id


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mqtt://me:secret@broker/x", "set MQTT_USERNAME and MQTT_PASSWORD in the environment"),
        ("mqtt:///x", "names no broker"),
        ("mqtt://broker:99999/x", "has no valid port"),
        ("mqtt://broker/x?qos=3", "qos is '3', allowed is 1 or 2 or 0"),
        ("mqtt://broker/x?retain=1", "'retain' is no option of a subscription"),
        ("mqtt://broker/a/#/b", "is no filter of topics"),
        ("mqtt://broker/a+/b", "is no filter of topics"),
        ("kafka://me:secret@broker/x", "--from: the URL of Kafka has a user"),
        ("kafka://broker/x?acks=2", "--from: acks is '2'"),
        ("amqp://broker/x", "is no broker: allowed is mqtt://HOST/TOPIC, "),
    ],
)
def test_what_cannot_be_subscribed_to(url: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        receive_from(url, tmp_path / "central.db", print, print)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)

"""One reading per request, to a server with the schema of document 004."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from fleet.delivery.batch import Batch, Value
from fleet.delivery.records.record import ROW, Document, Record
from fleet.delivery.target import BatchRejected, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.http.credentials import Credentials
from fleet.delivery.targets.http.each import HttpEachTarget, parse_each
from fleet.delivery.targets.http.target import HttpTarget
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch, episodes, with_values
from tests.fleet.delivery.swept import open_collector
from tests.fleet.verify.damage import select
from tests.servers.single_readings import PATH, reading_server
from tests.worker.further import attributes, write_kinds

__all__ = ["attributes"]


class Bme280Record:
    """The columns of a reading under the names of document 004."""

    name, columns = "bme280", None

    def unfit(self, batch: Batch) -> dict[int, str]:
        return {}

    def reading(self, document: Document) -> Document:
        return document

    def read_back(self, column: str, value: Value) -> Value:
        return value

    def documents(self, batch: Batch) -> list[Document]:
        return [
            {
                "device_id": row["sensor_id"],
                "temperature_c": row.get("temperature") or 0.0,
                "humidity": row.get("humidity") or 50.0,
                "pressure_hpa": 1013.25,
                "timestamp": row["timestamp"],
                "metadata": {"seq": row["seq"]},
            }
            for row in batch.documents()
        ]


BME280 = Bme280Record()


def target(url: str, record: Record = BME280, attempts: int = 3) -> HttpEachTarget:
    each = parse_each(url, record)
    assert each is not None
    return HttpEachTarget(each, Credentials(), record, RetryPolicy(attempts=attempts, sleep=lambda _: None))


@pytest.mark.claim("004.client.1")
def test_each_reading_is_a_request() -> None:
    """In the record, with its key, over connections that are kept."""
    with reading_server() as server, closing(target(server.url)) as opened:
        receipt = opened.deliver(batch(1, 101))
        again = opened.deliver(batch(101, 111))
    assert (frozenset(range(1, 101)), {}, 0) == (receipt.accepted, receipt.rejected, receipt.duplicates)
    assert frozenset(range(101, 111)) == again.accepted
    assert list(range(110)) == sorted(document["metadata"]["seq"] for document in server.stored)
    assert {f"generation-1/KIN_1/{number}" for number in range(110)} == set(server.keys)
    assert len(server.connections) <= 8


def test_with_one_connection_they_are_in_order() -> None:
    with reading_server() as server, closing(target(f"{server.url}#each=1")) as opened:
        server.statuses = [503, 503]
        opened.deliver(batch(1, 51))
    assert list(range(50)) == [document["metadata"]["seq"] for document in server.stored]
    assert 1 == len(server.connections)


def test_a_refused_reading_is_rejected_with_the_reason() -> None:
    """The others are accepted, and what is tried again is not refused."""
    message = with_values(with_values(batch(1, 21), 7, temperature=99.5), 9, temperature=float("nan"))
    with reading_server() as server, closing(target(server.url)) as opened:
        server.statuses = [503, 429, 500]
        receipt = opened.deliver(message)
    assert frozenset(range(1, 21)) - {7, 9} == receipt.accepted
    assert {7, 9} == set(receipt.rejected)
    assert "answered 422 Unprocessable" in receipt.rejected[7]
    assert "Input should be less than or equal to 85" in receipt.rejected[7]
    assert 18 == len(server.stored)


def test_a_server_that_refuses_everything_gives_up_no_reading() -> None:
    with reading_server() as server:
        with closing(target(f"{server.url}#each", ROW)) as opened, pytest.raises(TargetMisconfigured) as refused:
            opened.deliver(batch(1, 6))
        elsewhere = target(server.url.replace("bme280", "other"))
        with closing(elsewhere), pytest.raises(TargetMisconfigured, match="answered 404 Not Found"):
            elsewhere.deliver(batch(1, 6))
    assert "refuses every reading: answered 422 Unprocessable" in str(refused.value)
    assert "device_id" in str(refused.value)


def test_what_was_accepted_after_a_failure_is_not_posted_again() -> None:
    """The collector's cursor is before it, so it comes again."""
    with reading_server() as server, closing(target(server.url, attempts=1)) as opened:
        server.busy = {"generation-1/KIN_1/2"}
        first = opened.deliver(batch(1, 9))
        assert frozenset(range(1, 9)) - {3} == first.accepted
        assert "answered 503 Service Unavailable: busy (tried once)" == first.doubt
        with pytest.raises(TargetUnavailable, match="busy"):
            opened.deliver(batch(3, 9))
        server.busy = set()
        second = opened.deliver(batch(3, 12))
        assert (frozenset(range(3, 12)), 5, "") == (second.accepted, second.duplicates, second.doubt)
    assert list(range(11)) == sorted(document["metadata"]["seq"] for document in server.stored)


def test_no_server() -> None:
    with reading_server() as server:
        server.stop()
        with closing(target(server.url)) as opened, pytest.raises(TargetUnavailable, match=r"no connection: .*3 times"):
            opened.deliver(batch(1, 100))


def test_episodes_have_no_place() -> None:
    with reading_server() as server, closing(target(server.url)) as opened:
        with pytest.raises(BatchRejected, match="no place for episodes"):
            opened.deliver(batch(1, 2, episodes=episodes((1, 2))))
        assert [] == server.stored


def test_a_server_that_is_down_for_a_while_has_everything_once(tmp_path: Path) -> None:
    """A sweep after the other, without marks in the databases, as the delivery of a running fleet does it."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        write_kinds(data / f"pack_{number}.db", 100)
    keys = "SELECT i.generation || '/' || r.sensor_id || '/' || r.seq FROM sensor_readings r, database_info i"
    expected = sorted(key for path in data.glob("*.db") for (key,) in select(path, keys))
    over = threading.Event()
    with reading_server() as server:

        def come_and_go() -> None:
            for _ in range(3):
                arrived = len(server.stored)
                while len(server.stored) < arrived + 80 and not over.wait(0.01):
                    pass
                server.stop()
                over.wait(0.2)
                server.start()

        going = threading.Thread(target=come_and_go)
        going.start()
        try:
            with (
                closing(target(server.url, attempts=1)) as opened,
                open_collector(opened, data, batch_size=100, marking=False) as (collector, context),
            ):
                end = time.monotonic() + 60
                sweeps = 0
                while sweeps < 2 or context.stats.failing():
                    assert time.monotonic() < end, context.stats.failing()
                    collector.sweep()
                    sweeps += 1
                    over.wait(0.02)
        finally:
            over.set()
            going.join()
        assert expected == sorted(server.keys)
    assert sweeps > 2


def test_the_fragment_of_a_url() -> None:
    """Queries are the server's; the record `bme280` has a path of its own."""
    each, plain = parse_each("http://host/x?each=1&y=2#each=3", ROW), parse_each("http://host/x?each=1", ROW)
    assert each is not None
    assert ("http://host/x?each=1&y=2", 3, None) == (each.url, each.connections, plain)
    opened = open_target("http://host:8000", TargetOptions(record=BME280, environment={}))
    with closing(opened):
        assert f"http://host:8000{PATH}" == opened.name
    batches = open_target("http://host:8000", TargetOptions(environment={}))
    with closing(batches):
        assert isinstance(batches, HttpTarget)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://host/x#one", "http://host/x#one: #one means nothing: #each posts each reading on its own"),
        ("http://host/x#each=0", "http://host/x#each=0: #each=0: wanted a number of connections from 1 to 64"),
        ("http://host/x#each=many", "#each=many: wanted a number"),
        ("http://host#each", "#each needs the path"),
        ("http://user:secret@host/x#each", "env:NAME or file:PATH"),
    ],
)
def test_what_cannot_be_posted_to(url: str, reason: str) -> None:
    with pytest.raises(UserError) as raised:
        open_target(url, TargetOptions())
    assert reason in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_secret_url_is_named_as_it_was_given() -> None:
    with pytest.raises(UserError, match=r"^--to: env:T: #one means nothing: [^:]+$"):
        open_target("env:T", TargetOptions(environment={"T": "http://user:secret@host/x#one"}))

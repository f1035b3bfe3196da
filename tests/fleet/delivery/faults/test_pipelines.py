"""For each fault, a pipeline that handles it and one that does not: `fleet verify --against` tells them apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.config.delivery_faults import DeliveryFaults
from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.delivery.faults.faulty_target import open_faulty_target
from fleet.delivery.records.registry import record_named
from fleet.delivery.state import STATE_FOLDER
from fleet.delivery.targets.registry import TargetOptions
from tests.fleet.delivery.swept import open_collector
from tests.fleet.verify.damage import make_identities, write_database

Document = dict[str, Any]
Pipeline = Callable[[Iterator[str]], Iterator[Document]]
"""Takes the lines of the stream, and returns what it stores."""

FIELDS = ("sensor_id", "timestamp", "temperature", "humidity", "pressure", "vibration", "voltage", "anomaly_type")
MEASURED = FIELDS[2:7]

SENSORS, SECONDS = 4, 200

FAULTS: dict[str, dict[str, Any]] = {
    "duplicate": {"probability": 0.1},
    "late": {"probability": 0.1, "mean": 20.0},
    "out_of_order": {"probability": 0.1, "window": 8},
    "drop": {"probability": 0.1},
    "corrupt": {"probability": 0.2},
    "truncate": {"probability": 0.1},
    "newest_first": {"probability": 0.2, "duration": 30.0},
    "burst": {"probability": 0.2, "duration": 30.0},
    "clock_skew": {"probability": 0.5, "size": 90.0},
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases that nothing is delivered from yet."""
    data = tmp_path_factory.mktemp("generated")
    write_database(data / "pack.db", SECONDS, sensors=make_identities(SENSORS), commit_every=1.0)
    return data


@pytest.fixture
def data(generated: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for path in generated.glob("*.db*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def deliver(data: Path, kind: str, record: str = "row") -> Path:
    """Deliver all with one kind of fault; return the stream."""
    faults, lines = DeliveryFaults.model_validate({kind: FAULTS[kind]}), data.with_name("stream.jsonl")
    target = open_faulty_target(
        f"jsonl:{lines}", TargetOptions(record=record_named(record)), faults, 3, data / STATE_FOLDER
    )
    with open_collector(target, data, marking=False, batch_size=50) as (collector, context):
        collector.sweep()
        target.write_held(everything=True)
        assert not context.stats.failing()
    return lines


def store(lines: Path, pipeline: Pipeline) -> Path:
    """Let a pipeline read the stream and write the user's table; return its database."""
    path = lines.with_name("pipeline.db")
    with (
        closing(apsw.Connection(str(path))) as opened,
        opened,
        lines.open(encoding="utf-8", errors="replace") as stream,
    ):
        opened.execute(f"CREATE TABLE measured ({','.join(FIELDS)})")
        for document in pipeline(stream):
            values = [document.get(name) for name in FIELDS]
            opened.execute(f"INSERT INTO measured VALUES ({','.join('?' * len(FIELDS))})", values)
    return path


def verdict(data: Path, pipeline: Pipeline, kind: str) -> DeliveryVerdict:
    path = store(deliver(data, kind), pipeline)
    return compare(data, ComparisonOptions(f"sqlite:///{path}", "measured", complete=True))


def parsed(lines: Iterator[str]) -> Iterator[Document]:
    """Those that are JSON."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def everything(lines: Iterator[str]) -> Iterator[Document]:
    """Whatever can be made out, without a check."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            fields = (field.partition(":") for field in line.strip().removeprefix("{").split(","))
            found = {name.strip('"'): value.strip('"') for name, _, value in fields}
            if (
                {"sensor_id", "timestamp"} <= found.keys()
                and len(found["timestamp"]) == 32
                and len(found["sensor_id"]) == 8
            ):
                yield {
                    name: float(value) if name in MEASURED and value[-1:].isdigit() else value or None
                    for name, value in found.items()
                }


def first_of_each(lines: Iterator[str]) -> Iterator[Document]:
    seen = set()
    for document in parsed(lines):
        if document["key"] not in seen:
            seen.add(document["key"])
            yield document


def only_newer(lines: Iterator[str]) -> Iterator[Document]:
    """Nothing that is older than what the sensor has sent."""
    latest: dict[str, str] = {}
    for document in parsed(lines):
        if document["timestamp"] > latest.get(document["sensor_id"], ""):
            latest[document["sensor_id"]] = document["timestamp"]
            yield document


def without_patience(lines: Iterator[str]) -> Iterator[Document]:
    """A watermark of all sensors, ten seconds behind the newest time."""
    newest = datetime.min.replace(tzinfo=UTC)
    for document in parsed(lines):
        time = datetime.fromisoformat(document["timestamp"])
        newest = max(newest, time)
        if newest - time <= timedelta(seconds=10):
            yield document


def of_right_type(lines: Iterator[str]) -> Iterator[Document]:
    return (
        document
        for document in parsed(lines)
        if not any(isinstance(value, str) and "�" in value for value in document.values())
    )


def by_the_schedule(lines: Iterator[str]) -> Iterator[Document]:
    """The sensors send in whole seconds: other times are of a wrong clock."""
    return (document for document in parsed(lines) if ".000000" in document["timestamp"])


HANDLING: dict[str, Pipeline] = {
    "duplicate": first_of_each,
    "late": parsed,
    "out_of_order": parsed,
    "drop": parsed,
    "corrupt": of_right_type,
    "truncate": parsed,
    "newest_first": parsed,
    "burst": parsed,
    "clock_skew": by_the_schedule,
}
FAILING: dict[str, tuple[Pipeline, str, str]] = {
    "duplicate": (parsed, "delivered twice", "are there twice: kept"),
    "late": (only_newer, "not delivered", "not all are taken"),
    "out_of_order": (only_newer, "not delivered", "not all are taken"),
    "corrupt": (parsed, "delivered altered", "wrong values: kept"),
    "truncate": (everything, "delivered altered", "wrong values: kept"),
    "newest_first": (only_newer, "not delivered", "not all are taken"),
    "burst": (without_patience, "not delivered", "not all are taken"),
    "clock_skew": (parsed, "delivered altered", "are there with it: kept"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_pipeline_that_handles_it(kind: str, data: Path) -> None:
    found = verdict(data, HANDLING[kind], kind)

    assert ({}, True) == (found.counts, found.ok)
    (outcome,) = found.faults
    assert (kind, True) == (outcome.kind, outcome.handled)
    assert outcome.sent > 30
    expected = {
        "duplicate": "0 are there twice: removed",
        "drop": "not counted as lost",
        "clock_skew": "refused or corrected",
    }
    assert expected.get(kind, "refused" if kind in {"corrupt", "truncate"} else "taken") in outcome.line()


@pytest.mark.parametrize("kind", FAILING)
def test_a_pipeline_that_does_not(kind: str, data: Path) -> None:
    pipeline, finding, words = FAILING[kind]
    found = verdict(data, pipeline, kind)

    assert {finding} == found.counts.keys()
    (outcome,) = found.faults
    assert not outcome.handled
    assert words in outcome.line()
    concerned = {"delivered twice": outcome.twice, "not delivered": outcome.absent, "delivered altered": outcome.wrong}
    assert found.counts[finding] == concerned[finding] > 10


def test_a_reading_that_is_lost_is_a_finding_beside_those_that_are_dropped(data: Path) -> None:
    def losing(lines: Iterator[str]) -> Iterator[Document]:
        return (document for number, document in enumerate(parsed(lines)) if number != 100)

    found = verdict(data, losing, "drop")

    assert {"not delivered": 1} == found.counts
    (outcome,) = found.faults
    assert outcome.absent == outcome.sent == found.not_taken
    assert found.generated == found.arrived + found.not_taken + 1


@pytest.mark.parametrize("record", ["row", "nested"])
def test_the_stream_itself_is_a_pipeline_that_keeps_all(record: str, data: Path) -> None:
    """Lines that are no JSON are findings, and no error; also without a sensor."""
    lines = deliver(data, "truncate", record)

    found = compare(data, ComparisonOptions(f"jsonl:{lines}", record=record, complete=True))
    assert {"delivered altered", "delivered, never generated"} >= found.counts.keys()
    (outcome,) = found.faults
    assert outcome.wrong == outcome.sent == sum(found.counts.values()) > 30

"""`fleet stream --to`: the records of a stream at the targets of a delivery, each once and in order."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click import UsageError

from fleet.config.config import load_config
from fleet.delivery.batch import Batch
from fleet.delivery.records.record import ROW
from fleet.delivery.target import Receipt, TargetUnavailable
from fleet.streaming import sender
from fleet.streaming.rows import StreamRows
from fleet.streaming.sender import Destination, StreamSender
from fleet.streaming.sensors import stream_sensors
from tests.fleet.delivery.recording_target import RecordingTarget
from tests.fleet.streaming.test_stream import QUICK, folder, stream
from tests.worker.stores import select

__all__ = ["folder"]

RATE = Fraction(1000)


def documents(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_the_records_are_those_of_the_file() -> None:
    """Of a kind whose readings miss now and then, too; the same stream again delivers none a second time."""
    for kind in ("pipeline", "environmental"):
        arguments = (*QUICK, "--kind", kind, "--sensors", "3", "-d", "20m", "-rate", "9")
        stream(*arguments, "-o", "file.jsonl")
        for _ in range(2):
            result = stream(*arguments, "--to", f"jsonl:{kind}.jsonl")
        written, delivered = documents("file.jsonl"), documents(f"{kind}.jsonl")
        said = dict(line.split(maxsplit=1) for line in result.stderr.splitlines())
        assert f"{len(written):,}" == said["records"]
        assert written == [{name: each[name] for name in written[0]} for each in delivered]
    assert len(written) < 20 * 60 * 9


def test_the_rows_are_in_a_database() -> None:
    arguments = (
        *QUICK,
        "--kind",
        "pipeline=1",
        "--kind",
        "environmental=1",
        "--sensors",
        "4",
        "-d",
        "1m",
        "-rate",
        "20",
    )
    stream(*arguments, "-o", "file.jsonl")
    stream(*arguments, "--to", "sqlite:///central.db")

    names = ("timestamp", "sensor_id", "temperature", "seq")
    expected = [tuple(each.get(name) for name in names) for each in documents("file.jsonl") if "seq" in each]
    found = select(
        Path("central.db"),
        f"SELECT {', '.join(names)} FROM sensor_readings WHERE temperature IS NOT NULL ORDER BY timestamp",
    )
    assert expected == found
    assert 0 < len(found) < 1200


def test_a_target_that_fails_holds_the_stream_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on in the same order, and a part of a batch that was taken is not sent again."""
    monkeypatch.setattr(sender, "RETRY_SECONDS", 0.0)
    stop, warnings, calls = threading.Event(), list[str](), 0

    def answer(batch: Batch) -> Receipt:
        nonlocal calls
        calls += 1
        if calls in (2, 3):
            raise TargetUnavailable("it is away")
        if calls == 5:
            return Receipt(frozenset(batch.ids[:100]))
        return Receipt(frozenset(batch.ids))

    target = RecordingTarget(answer)
    sensors = stream_sensors(load_config(None, {}, {"sensor.type": "pipeline", "replicas.count": 10}), 3)
    rows = StreamRows(sensors, 3, RATE, 0, throttled=False)
    sending = StreamSender(rows, Destination(target, ROW, warnings.append), 4000, stop, print, float("inf"))
    stats = sending.run(RATE, throttled=False)

    whole = StreamRows(sensors, 3, RATE, 0, throttled=False).take(4000)
    taken = list(dict.fromkeys(target.ids))
    assert 4000 == whole.end
    assert list(whole.batch.ids) == taken
    assert 900 == len(target.ids) - len(taken)
    assert len(taken) == stats.records
    assert [
        "it is away; the stream waits",
        "listening: well again",
        "listening did not acknowledge all records; the stream waits",
        "listening: well again",
    ] == warnings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "jsonl:x", "-o", "y"), "-o and --to both say where the records go"),
        (("--to", "jsonl:x", "--append"), "--append goes with -o"),
        (("--to", "jsonl:x", "--jobs", "2"), "--jobs goes with -o"),
        (("--record", "row"), "--record goes with --to"),
    ],
)
def test_options_that_contradict(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        stream(*arguments)

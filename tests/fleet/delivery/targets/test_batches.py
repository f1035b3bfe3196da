"""A directory of batches as a target: every reading is in one file, which is whole, whatever happens in between."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.delivery.target import HoldingTarget, Target, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.batches import target as batches
from fleet.delivery.targets.batches.open_batch import OpenBatch
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch, episodes, foreign_batch, with_values
from tests.fleet.delivery.swept import open_collector
from tests.worker.further import attributes, write_kinds

__all__ = ["attributes"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


def target(folder: Path, query: str = "?size=4", now: Callable[[], datetime] | None = None, **variables: str) -> Target:
    return open_target(f"batches:{folder}{query}", TargetOptions(environment=variables, now=now or Clock()))


def contents(folder: Path) -> list[Any]:
    paths = sorted(folder.glob("batch_*.json"), key=lambda path: int(path.stem.partition("_")[2]))
    return [json.loads(path.read_text()) for path in paths]


def ids(folder: Path) -> list[list[int]]:
    return [[record["id"] for record in content] for content in contents(folder)]


def write_rest(opened: Target) -> None:
    assert isinstance(opened, HoldingTarget)
    opened.write_held(everything=True)


def verdict(data: Path, folder: Path) -> DeliveryVerdict:
    return compare(data, ComparisonOptions(f"batches:{folder}", complete=True))


@pytest.mark.claim("003.expanso.2")
def test_readings_of_all_sources_fill_batches(tmp_path: Path) -> None:
    """No batch is larger than it should be; the rest is written at the end."""
    folder = tmp_path / "out"
    with closing(target(folder)) as opened:
        receipt = opened.deliver(batch(1, 7, episodes=episodes((7, 9))))
        opened.deliver(foreign_batch(1, 2))
        assert [[1, 2, 3, 4]] == ids(folder)
        assert (6, 1) == (opened.cursor("generation-1"), opened.cursor("foreign-1"))
        write_rest(opened)
        write_rest(opened)

    assert (frozenset(range(1, 7)), 0, {}) == (receipt.accepted, receipt.duplicates, receipt.rejected)
    assert [[1, 2, 3, 4], [5, 6, 1]] == ids(folder)
    expected = batch(1, 2).documents()[0]
    del expected["synced"]
    assert expected == contents(folder)[0][0]
    (history,) = (folder / "_history").iterdir()
    assert ("anomaly_episodes", 7) == tuple(json.loads(history.read_text())[name] for name in ("table", "first_seq"))


@pytest.mark.claim("003.expanso.2")
def test_a_batch_is_written_after_its_period(tmp_path: Path) -> None:
    folder, clock = tmp_path / "out", Clock()
    with closing(target(folder, "?period=10s", clock)) as opened:
        assert isinstance(opened, HoldingTarget)
        opened.deliver(batch(1, 3))
        clock.time += timedelta(seconds=9.9)
        opened.write_held(everything=False)
        assert [] == ids(folder)
        clock.time += timedelta(seconds=0.2)
        opened.write_held(everything=False)
        assert [[1, 2]] == ids(folder)
        (file,) = folder.glob("batch_*")
        assert file.name.startswith("batch_1767268810100000")
        assert len("batch_1705234567890123456.json") == len(file.name)


@pytest.mark.claim("003.expanso.3")
def test_the_envelope_of_the_document(tmp_path: Path) -> None:
    """Key by key."""
    folder = tmp_path / "out"
    with closing(target(folder, "?envelope=1&size=3", EDGE_NODE_ID="edge-west-01")) as opened:
        opened.deliver(with_values(with_values(batch(1, 4), 2, anomaly_flag=0, anomaly_type=None), 3, anomaly_flag=0))

    (content,) = contents(folder)
    assert {
        "record_count": 3,
        "anomaly_count": 1,
        "anomaly_rate_pct": 33,
        "batch_time": "2026-01-01T12:00:00.000Z",
        "edge_node": "edge-west-01",
        "pipeline": "sensor-batched-enriched",
    } == content["batch_meta"]
    first, second, _ = content["records"]
    lineage = {
        "edge_node": "edge-west-01",
        "pipeline": "sensor-batched-enriched",
        "ingested_at": "2026-01-01T12:00:00.000Z",
    }
    assert lineage == first["lineage"] == second["lineage"]
    assert {"is_anomaly": True, "anomaly_reasons": ["spike"], "validated": True} == first["data_quality"]
    assert {"is_anomaly": False, "anomaly_reasons": [], "validated": True} == second["data_quality"]
    assert ["lineage", "data_quality"] == list(first)[-2:]
    assert ["batch_meta", "records"] == list(content)


@pytest.mark.claim("003.expanso.4")
def test_variables_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {"OUTPUT_DIR": "given", "BATCH_SIZE": "2", "BATCH_PERIOD": "1h"}
    with closing(open_target("batches:", TargetOptions(environment=variables))) as opened:
        opened.deliver(batch(1, 6))
    with closing(open_target("batches:", TargetOptions(environment={}))) as opened:
        assert f"batches:{tmp_path}/output" == opened.name

    assert [[1, 2], [3, 4]] == ids(tmp_path / "given")


@pytest.mark.parametrize("died", ["before the file", "after the file", "before the seal"])
def test_a_batch_that_is_tried_again_is_one_file(died: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process, which finds the open batch full."""
    folder, clock = tmp_path / "out", Clock()
    owner, name = {
        "before the file": (batches.BatchFolder, "put"),
        "after the file": (OpenBatch, "clear"),
        "before the seal": (OpenBatch, "seal"),
    }[died]
    with closing(target(folder, now=clock)) as first:
        first.deliver(batch(1, 4))
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refuse)
            with pytest.raises(TargetUnavailable, match=r"No space left on device$"):
                first.deliver(batch(4, 10))
    clock.time += timedelta(seconds=5)
    with closing(target(folder, now=clock)) as second:
        again = second.deliver(batch(2, 10))
        write_rest(second)

    assert 3 == again.duplicates
    assert [[1, 2, 3, 4], [5, 6, 7, 8], [9]] == ids(folder)


def refuse(*_: object) -> None:
    raise OSError(28, os.strerror(28))


def test_nothing_more_is_taken_while_no_file_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So what is held back stays small."""
    folder = tmp_path / "out"
    with closing(target(folder)) as opened, monkeypatch.context() as patch:
        patch.setattr(batches.BatchFolder, "put", refuse)
        for _ in range(3):
            with pytest.raises(TargetUnavailable):
                opened.deliver(batch(1, 20))
        assert 4 == opened.cursor("generation-1")


def test_what_cannot_be_represented_is_left_out(tmp_path: Path) -> None:
    """Of each part of the delivery; once mended, it is taken."""
    folder = tmp_path / "out"
    bad = with_values(with_values(batch(1, 9), 2, temperature=float("inf")), 8, latitude=float("inf"))
    with closing(target(folder)) as opened:
        receipt = opened.deliver(bad)
        mended = opened.deliver(batch(2, 9))
        write_rest(opened)

    assert ({2, 8}, 5) == (set(receipt.rejected), mended.duplicates)
    assert [[1, 3, 4, 5], [6, 7, 2, 8]] == ids(folder)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with closing(target(folder)) as one, closing(target(folder)) as other:
        one.deliver(batch(1, 2))
        with pytest.raises(TargetMisconfigured, match="another process is delivering to it"):
            other.deliver(batch(1, 2))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("batches:missing/out", "missing is no folder"),
        ("batches:file", "file: is no folder"),
        ("batches:out?sise=3", "has the option 'sise': allowed are size, period, envelope"),
        ("batches:out?size=0", "--to: size: '0' is no whole number from 1 to 1000000"),
        ("batches:out?period=soon", "--to: period: 'soon' is not a duration such as 30s"),
        ("batches:out?envelope=yes", "--to: envelope is 'yes': allowed is 0 or 1"),
    ],
)
def test_what_cannot_work(url: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(UserError, match=reason) as raised:
        open_target(url, TargetOptions())
    assert "\n" not in str(raised.value)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_kinds(folder / "pack_0001.db", 120)
    return folder


@pytest.mark.usefixtures("attributes")
@pytest.mark.parametrize("query", ["?size=100", "?size=100&envelope=1"])
def test_a_sweep_is_compared(query: str, data: Path, tmp_path: Path) -> None:
    """Before the rest is written, too."""
    folder = tmp_path / "out"
    with open_collector(target(folder, query), data, batch_size=33) as (collector, context):
        collector.sweep()
        assert not context.stats.failing()
        assert (True, ()) == ((before := verdict(data, folder)).ok, before.findings)
        collector.finish()
    after = verdict(data, folder)
    assert (True, before.generated, before.epochs) == (after.ok, after.generated, after.epochs)
    assert -(-after.generated // 100) == len(contents(folder)) > 3

    first = min(folder.glob("batch_*.json"))
    text = first.read_text()
    first.write_text(text.replace('"co2":', '"co3":', 1))
    assert {"delivered altered": 1} == verdict(data, folder).counts
    first.write_text(text[:-5])
    with pytest.raises(UserError, match=rf"batches:{folder}: {first.name} cannot be read: "):
        verdict(data, folder)
    first.unlink()
    assert {"not delivered": 100} == verdict(data, folder).counts


@pytest.mark.usefixtures("attributes")
def test_a_rest_that_cannot_be_written_is_an_error(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_collector(target(tmp_path / "out", "?size=100000"), data) as (collector, context):
        collector.sweep()
        with monkeypatch.context() as patch:
            patch.setattr(batches.BatchFolder, "put", refuse)
            collector.finish()
        (failing,) = context.stats.failing()
        assert "No space left on device" in str(failing.error)
        collector.sweep()
        collector.finish()
        assert not context.stats.failing()

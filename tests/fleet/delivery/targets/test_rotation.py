"""Rotated files: a part is whole, and every reading is in one of them, whatever happens in between."""

from __future__ import annotations

import csv
import gzip
import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.target import HoldingTarget, Target, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.jsonl import appended_file
from fleet.delivery.targets.jsonl.appended_file import AppendedFile
from fleet.delivery.targets.registry import TargetOptions, open_target
from tests.fleet.delivery.samples import batch
from tests.fleet.delivery.swept import sweep_into
from tests.fleet.delivery.targets.test_batches import Clock
from tests.worker.further import attributes, write_kinds

__all__ = ["attributes"]


def target(path: Path, rotate: str, clock: Clock | None = None) -> Target:
    scheme = "csv" if ".csv" in path.name else "jsonl"
    return open_target(f"{scheme}:{path}?rotate={rotate}", TargetOptions(now=clock or Clock()))


def ids(folder: Path) -> dict[str, list[int]]:
    """The ids in each file of a table."""
    return {
        path.name: [int(row["id"]) for row in csv.DictReader(path.read_text().splitlines())]
        for path in sorted(folder.glob("*.csv"))
        if "history" not in path.name
    }


def test_a_file_is_finished_at_a_size(tmp_path: Path) -> None:
    """Each part has a header."""
    with closing(target(tmp_path / "out.csv", "1kB")) as opened:
        opened.deliver(batch(1, 3))
        opened.deliver(batch(3, 12))
        opened.deliver(batch(12, 13))

    assert {"out.000001.csv": [*range(1, 12)], "out.csv": [12]} == ids(tmp_path)


def test_a_file_is_finished_at_an_age(tmp_path: Path) -> None:
    """Counted from its first line, also when no further reading arrives, and after a restart."""
    clock = Clock()
    with closing(target(tmp_path / "out.csv", "1h", clock)) as opened:
        assert isinstance(opened, HoldingTarget)
        opened.deliver(batch(1, 3))
        clock.time += timedelta(minutes=59)
        opened.write_held(everything=True)
        assert ["out.csv"] == [*ids(tmp_path)]
        clock.time += timedelta(minutes=1)
        opened.write_held(everything=False)
        assert {"out.000001.csv": [1, 2], "out.csv": []} == ids(tmp_path)
        opened.deliver(batch(3, 4))
    clock.time += timedelta(hours=1)
    with closing(target(tmp_path / "out.csv", "1h", clock)) as opened:
        opened.deliver(batch(4, 5))

    assert {"out.000001.csv": [1, 2], "out.000002.csv": [3], "out.csv": [4]} == ids(tmp_path)


@pytest.mark.parametrize("died", ["before the rename", "after the rename", "before the record"])
def test_a_rotation_that_was_interrupted_is_finished(
    died: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = {
        "before the rename": (Path, "rename"),
        "after the rename": (appended_file, "fsync_directory"),
        "before the record": (AppendedFile, "clear"),
    }[died]
    with closing(target(tmp_path / "out.csv", "1kB")) as first:
        first.deliver(batch(1, 3))
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refuse)
            with pytest.raises(TargetUnavailable, match=r"No space left on device$"):
                first.deliver(batch(3, 12))
    with closing(target(tmp_path / "out.csv", "1kB")) as second:
        again = second.deliver(batch(2, 14))

    assert 10 == again.duplicates
    assert {"out.000001.csv": [*range(1, 12)], "out.csv": [12, 13]} == ids(tmp_path)


def refuse(*_: object) -> None:
    raise OSError(28, os.strerror(28))


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.000001.csv").write_text("mine\n")
    with (
        closing(target(tmp_path / "out.csv", "1kB")) as opened,
        pytest.raises(
            TargetMisconfigured, match=r"out\.000001\.csv exists, which would be its next part: move it away$"
        ),
    ):
        opened.deliver(batch(1, 20))
    assert "mine\n" == (tmp_path / "out.000001.csv").read_text()


@pytest.mark.usefixtures("attributes")
@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.csv"])
def test_all_parts_are_compared(name: str, tmp_path: Path) -> None:
    """In their order; also when the file itself has been moved away."""
    data, path = tmp_path / "data", tmp_path / name
    data.mkdir()
    write_kinds(data / "pack_0001.db", 120)
    sweep_into(target(path, "1kB"), data, batch_size=10)
    found = compare(data, ComparisonOptions(f"{name.split('.')[1]}:{path}", complete=True))

    assert (True, ()) == (found.ok, found.findings)
    parts = sorted(tmp_path.glob("out.0*"))
    assert len(parts) > 5
    assert all((gzip.decompress(part.read_bytes()) if name.endswith(".gz") else part.read_bytes()) for part in parts)
    path.unlink()
    parts[2].unlink()
    after = compare(data, ComparisonOptions(f"{name.split('.')[1]}:{path}", complete=True))
    assert {"not delivered"} == set(after.counts)

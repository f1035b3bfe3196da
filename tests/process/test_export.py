"""`fleet export` and the library beside a fleet that runs; several processes make the same files as one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet.history import export_jobs
from fleet.history.export import ExportOptions, export
from fleet.history.formats.registry import FORMAT_NAMES
from fleet.history.rows import RowOptions
from fleet.history.selection import Selection
from fleet.history.stored import read_histories
from tests.process.running_fleet import ENVIRONMENT, fleet
from tests.worker.further import kinds_writer

WITH_ENVIRONMENT: Any = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 60}
FLEET = ("--replicas", 3, "--rate", 100, "--seed", 7, "--start", "2026-01-01T00:00:00Z", "--for", "2s", "--no-http")

COMPARE = """
import sys
import fleet
assert not {"numpy", "apsw"} & {*sys.modules}, "importing fleet is to stay cheap"
from fleet import Fleet, read
stored = read("data")
computed = Fleet(replicas=3, rate=100, seed=7).read(end="2026-01-01T00:00:02Z")
for name in stored.columns:
    assert stored[name].tolist() == computed[name].tolist(), name
assert stored.episodes.to_numpy()["last_seq"].tolist() == computed.episodes.to_numpy()["last_seq"].tolist()
print(len(stored))
"""


def test_a_live_run_has_the_readings_that_the_library_computes(tmp_path: Path) -> None:
    run = fleet("up", *FLEET, "--data", "data", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr

    compared = subprocess.run([sys.executable, "-c", COMPARE], cwd=tmp_path, check=False, **WITH_ENVIRONMENT)
    exported = fleet("export", "data", "--format", "jsonl", "--jobs", 2, cwd=tmp_path)

    assert (compared.returncode, compared.stderr) == (0, "")
    assert (exported.returncode, exported.stderr) == (0, "")
    rows = [json.loads(line) for line in (tmp_path / "export" / "readings.jsonl").read_text().splitlines()]
    assert len(rows) == int(compared.stdout)
    assert exported.stdout.startswith(f"{len(rows)} rows of 3 sensors in 1 file, ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--format", "xlsx"), "--format: 'xlsx' is not one of csv, jsonl, parquet, arrow"),
        (("--from", "yesterday"), "--from: 'yesterday' is not a time such as 2026-01-01 or 2026-01-01T12:00:00Z"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "--from: is not before --to"),
        (("--layout", "wide", "--split", "sensor"), "--layout: wide has all sensors in a row"),
        (("--aggregate", "max"), "--aggregate: goes with --every"),
        (("--every", "often"), "--every: 'often' is not a duration"),
        ((), "data: there is no such data directory"),
    ],
)
def test_wrong_flags_are_errors_in_one_line(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    result = fleet("export", *flags, cwd=tmp_path)

    assert result.returncode == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("split", ["all", "sensor", "day"])
def test_several_processes_make_the_same_files(split: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_jobs, "READINGS_PER_PIECE", 400)
    (tmp_path / "data").mkdir()
    writer = kinds_writer(tmp_path / "data" / "pack.db")
    writer.deliver(1500)
    writer.sink.close()
    histories = read_histories(tmp_path / "data")
    done: list[tuple[int, int]] = []

    def content(jobs: int, name: Any, rows: RowOptions) -> dict[str, bytes]:
        folder = tmp_path / f"{name}-{jobs}-{rows.missing}"
        options = ExportOptions(name, split=split, jobs=jobs, rows=rows)
        export(histories, Selection(), options, folder, "data", lambda *progress: done.append(progress))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for name in FORMAT_NAMES if split == "all" else ("parquet",):
        for rows in (RowOptions(), RowOptions("held", 7_000_000)):
            assert content(1, name, rows) == content(2, name, rows)
    assert done
    assert {total for _, total in done} == {4503}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("split", ["all", "sensor"])
def test_an_interrupted_export_ends_and_leaves_nothing(
    split: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_jobs, "READINGS_PER_PIECE", 100)
    (tmp_path / "data").mkdir()
    writer = kinds_writer(tmp_path / "data" / "pack.db")
    writer.deliver(3000)
    writer.sink.close()
    options = ExportOptions("csv", split=split, jobs=2)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(read_histories(tmp_path / "data"), Selection(), options, tmp_path / "out", "data", interrupt)

    assert [path.name for path in tmp_path.iterdir()] == ["data"]

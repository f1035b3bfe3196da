"""The files of a backfill: each format, and the parts of a long history."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config.config import load_config
from fleet.datadir.directory import DataDirectory
from fleet.history import reading_files
from fleet.history.computed import Span, plan_history
from fleet.history.formats.registry import FORMAT_NAMES, FormatName, file_format
from fleet.history.jobs import FileGroup
from fleet.history.reading_files import ReadingFile
from fleet.history.table import reading_schema, table_of_block
from fleet.runtime.planner import Plan
from tests.worker.samples import NEW_YEAR, SECOND_US
from worker.sensor import Sensor
from worker.storage.sinks import Position

SPAN = Span(NEW_YEAR, NEW_YEAR + 7200 * SECOND_US)
STEP_US = 333 * SECOND_US


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two sensors with other settings in the second half of their time."""
    flags = {
        "replicas.count": 2,
        "simulation.seed": 4,
        "simulation.start": "2026-01-01T00:00:00Z",
        "scenario": [{"at": "1h", "simulation": {"readings_per_second": 2}}],
    }
    return plan_history(load_config(None, {}, flags), DataDirectory(tmp_path / "data"), None, SPAN, SPAN.end_us)


def written(plan: Plan, folder: Path, name: FormatName) -> list[ReadingFile]:
    folder.mkdir()
    files = reading_files.reading_files(plan, folder, name)
    FileGroup(files, SPAN.start_us, SPAN.end_us, STEP_US).write(lambda _: None)
    assert sorted(file.path for file in files) == sorted(folder.iterdir())
    return files


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_file_has_all_readings_of_its_sensor(plan: Plan, tmp_path: Path, name: FormatName) -> None:
    files = written(plan, tmp_path / "out", name)

    assert 2 == len(files)
    for file in files:
        sensor = Sensor(file.sensor, plan.run, Position(0, None))
        schema = reading_schema([(file.sensor.identity, file.sensor.settings)])
        expected = tmp_path / "expected"
        with expected.open("wb") as opened:
            chosen = file_format(name)
            writer = chosen.writer(opened, schema, chosen.default_times)
            while portions := sensor.portions(SPAN.end_us, 1 << 30):
                for portion in portions:
                    assert portion.block is not None
                    writer.write(table_of_block(portion.block, portion.identity, portion.settings, portion.schedule))
                    sensor.commit(portion)
            writer.finish()
        assert 3600 + 7200 == sensor.next_seq
        assert expected.read_bytes() == file.path.read_bytes()


def test_the_parts_of_a_long_history_are_what_it_is(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut also where the settings change, at reading 3600."""
    whole = {file.sensor.identity.sensor_id: file.path.read_text() for file in written(plan, tmp_path / "whole", "csv")}
    monkeypatch.setattr(reading_files, "READINGS_PER_FILE", 1800)
    parts = written(plan, tmp_path / "parts", "csv")

    for sensor_id, text in whole.items():
        own = [file for file in parts if file.sensor.identity.sensor_id == sensor_id]
        rows = [file.path.read_text().partition("\n")[2] for file in own]
        assert [f"{sensor_id}.{number:04d}.csv" for number in range(1, 7)] == [file.path.name for file in own]
        assert [1800] * 6 == [file.readings for file in own]
        assert text.partition("\n")[2] == "".join(rows)

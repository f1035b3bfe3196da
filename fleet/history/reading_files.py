"""Files with the readings of one sensor each, or of a part of a long history of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from fleet.history.computed import END_OF_TIME_US, epochs_of, portions_until, scheduled_readings
from fleet.history.formats.file_format import whole_file
from fleet.history.formats.registry import FileFormat, FormatName, file_format
from fleet.history.table import ReadingSchema, reading_schema, table_of_block
from fleet.runtime.planner import Plan
from worker.sensor import Sensor
from worker.spec import RunSpec, SensorSpec, Settings
from worker.storage.sinks import Position

READINGS_PER_FILE = 1 << 20
"""A history with more scheduled readings is cut, so that little is lost with a killed process, and many share the work."""


@dataclass(frozen=True, slots=True)
class ReadingFile:
    """A file with the scheduled readings of a sensor from `position` on, up to `end`, None for all."""

    path: Path
    sensor: SensorSpec
    run: RunSpec
    position: Position
    end: int | None
    readings: int
    schema: ReadingSchema
    format_name: FormatName

    @property
    def max_rate(self) -> Fraction:
        return self.sensor.max_rate

    def open(self) -> ReadingFileWriter:
        """Begin to write. Raises OSError."""
        return ReadingFileWriter(self)


class ReadingFileWriter:
    """Writes one file: `advance` in steps of time, then `finish`."""

    def __init__(self, file: ReadingFile) -> None:
        self._end = file.end
        self._sensor = Sensor(file.sensor, file.run, file.position)
        self._whole = ExitStack()
        opened, chosen = self._whole.enter_context(whole_file(file.path)), file_format(file.format_name)
        self._writer = chosen.writer(opened, file.schema, chosen.default_times)

    def advance(self, until_us: int) -> int:
        """Write the readings that are due before a time. Returns how many scheduled readings these are."""
        count = 0
        for portion in portions_until(self._sensor, until_us, self._end):
            if portion.block is not None:
                table = table_of_block(portion.block, portion.identity, portion.settings, portion.schedule)
                self._writer.write(table)
            count += portion.end - portion.next_seq
        return count

    def finish(self) -> None:
        """Write what is left, and give the file its name."""
        self.advance(END_OF_TIME_US)
        self._writer.finish()
        self._whole.close()


def reading_files(plan: Plan, folder: Path, format_name: FormatName) -> list[ReadingFile]:
    """Return the files of a plan, the first parts of all sensors first. UserError if the format needs an extra."""
    chosen = file_format(format_name)
    sensors = [sensor for worker in plan.workers for sensor in worker.sensors]
    behaviours = ((each.identity, settings) for each in sensors for settings in all_settings(each))
    schema = reading_schema(behaviours)
    parts = [
        (number, file)
        for sensor in sensors
        for number, file in enumerate(files_of_sensor(sensor, plan.run, folder, chosen, schema))
    ]
    return [file for _, file in sorted(parts, key=lambda part: part[0])]


def all_settings(sensor: SensorSpec) -> list[Settings]:
    return [sensor.settings, *(stage.settings for stage in sensor.stages)]


def files_of_sensor(
    sensor: SensorSpec, run: RunSpec, folder: Path, chosen: FileFormat, schema: ReadingSchema
) -> Iterator[ReadingFile]:
    """Yield the files of a sensor: one, or `SENSOR.0001.csv` and so on for a long history."""
    name, count = sensor.identity.sensor_id, scheduled_readings(sensor, run)
    if count <= READINGS_PER_FILE:
        path = folder / f"{name}{chosen.suffix}"
        yield ReadingFile(path, sensor, run, Position(0, None), None, count, schema, chosen.name)
        return
    epochs = epochs_of(sensor, run)
    for number, first in enumerate(range(0, epochs[-1].end, READINGS_PER_FILE), 1):
        before = [each.epoch for each in epochs if each.epoch.schedule.first_seq < first]
        end = min(first + READINGS_PER_FILE, epochs[-1].end)
        position = Position(first, before[-1] if before else None)
        path = folder / f"{name}.{number:04d}{chosen.suffix}"
        yield ReadingFile(path, sensor, run, position, end, end - first, schema, chosen.name)

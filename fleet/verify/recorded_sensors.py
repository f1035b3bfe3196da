"""The sensors that a data directory has on record, and the check that its databases have all of them.

`fleet.json` names the sensors in the order of the scoreboard's rows, the roster names their databases, and the scoreboard
counts their readings. Paths in the roster are not followed: a database is looked for by its name, in the given directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fleet.datadir.directory import SINGLE_WORKERS_FOLDER, DataDirectory
from fleet.datadir.manifest import FleetManifest
from fleet.datadir.roster import Member, Roster
from fleet.errors import UserError
from fleet.verify.audit import SensorPosition
from fleet.verify.findings import Finding
from worker.scoreboard import Scoreboard
from worker.storage.database import IN_MEMORY_PATH

MAX_IDS_LISTED = 5


@dataclass(frozen=True, slots=True)
class RecordedSensor:
    """A sensor of `fleet.json`. `database` is the name of its file, None if that is not on record; `committed` is the
    number of readings that the last run has committed at least, 0 if there are none or that is unknown. `channels` are
    (name, unit) as the roster has them, () if it does not."""

    sensor_id: str
    database: str | None
    committed: int
    channels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SensorRecords:
    """All sensors on record. `manifest` is that of the fleet whose databases are in the directory itself, `problems` are
    contradictions between the records."""

    sensors: tuple[RecordedSensor, ...]
    manifest: FleetManifest | None
    problems: tuple[Finding, ...]

    @property
    def database_names(self) -> set[str]:
        return {sensor.database for sensor in self.sensors if sensor.database is not None}


def read_records(data: Path) -> SensorRecords:
    """Read the records of a fleet, and of the single workers that share its folder. Raises UserError for a damaged
    `fleet.json`; a damaged roster or scoreboard counts as none."""
    manifest = DataDirectory(data).read_manifest()
    problems: list[Finding] = []
    sensors: dict[str, RecordedSensor] = {}
    for directory in (data, *sorted(data.glob(f"{SINGLE_WORKERS_FOLDER}/*"))):
        for sensor in sensors_of(DataDirectory(directory), problems):
            sensors[sensor.sensor_id] = sensor
    return SensorRecords(tuple(sensors.values()), manifest, tuple(problems))


def sensors_of(directory: DataDirectory, problems: list[Finding]) -> Iterator[RecordedSensor]:
    # In this order, because a running fleet writes them in the opposite one.
    members = read_members(directory)
    manifest = directory.read_manifest()
    if manifest is None:
        return
    committed = committed_readings(directory, manifest)
    by_row = {member.row: member for member in members}
    shared = next((member.database.name for member in members), None)
    for row, (sensor_id, worker) in enumerate(manifest.sensors):
        member = by_row.get(row)
        if member is not None and (member.sensor_id, member.worker) != (sensor_id, worker):
            detail = f"fleet.json has it in the place of {member.sensor_id}, which took part in the last run"
            problems.append(Finding("record", sensor_id, "fleet.json", None, None, detail))
        database = shared if manifest.layout == "shared" else f"{worker}.db"
        channels = member.channels if member is not None and member.sensor_id == sensor_id else ()
        yield RecordedSensor(sensor_id, database, committed[row] if row < len(committed) else 0, channels)


def read_members(directory: DataDirectory) -> Sequence[Member]:
    with suppress(OSError, UserError):
        return Roster.read(directory.roster).members
    return ()


def committed_readings(directory: DataDirectory, manifest: FleetManifest) -> list[int]:
    """Return the number of readings committed by the last run for each row of the scoreboard."""
    with suppress(OSError, ValueError):
        rows = Scoreboard(directory.scoreboard, writable=False).snapshot()
        of_last_run = (rows["incarnation"] >> 24 == manifest.runs) & (rows["readings"] > 0) & (rows["next_seq"] > 0)
        counts: list[int] = np.where(of_last_run, rows["next_seq"], 0).tolist()
        return counts
    return []


def check_databases(
    records: SensorRecords, homes: Mapping[str, str], folder: Path, sensor: str | None
) -> Iterator[Finding]:
    """Yield the contradictions between the records and the databases. `homes` has the name of the database of each sensor
    that was found, `sensor` is the only one to check."""
    yield from (problem for problem in records.problems if sensor in (None, problem.sensor_id))
    for recorded in records.sensors:
        if sensor in (None, recorded.sensor_id):
            yield from check_home(recorded, homes.get(recorded.sensor_id), folder)


def check_home(recorded: RecordedSensor, home: str | None, folder: Path) -> Iterator[Finding]:
    database = recorded.database or "its database"
    if home is None and recorded.committed and recorded.database != IN_MEMORY_PATH:
        reason = "does not have it" if (folder / database).exists() else "does not exist here"
        detail = f"the last run has committed {recorded.committed:,} readings of it, and {database} {reason}"
        yield Finding("gone", recorded.sensor_id, database, 0, recorded.committed - 1, detail)
    elif home is not None and recorded.database is not None and home != recorded.database:
        yield Finding("record", recorded.sensor_id, home, None, None, f"its database must be {database}")


def sensors_not_named(manifest: FleetManifest, homes: Mapping[str, str], known: set[str]) -> Iterator[Finding]:
    """Yield the sensors with a database that `fleet.json` does not name. `known` are those of other records."""
    named = {sensor_id for sensor_id, _ in manifest.sensors} | known
    for sensor_id, database in homes.items():
        if sensor_id not in named:
            yield Finding("record", sensor_id, database, None, None, "fleet.json does not name it")


def check_positions(
    before: SensorRecords, after: SensorRecords, positions: Mapping[str, SensorPosition], sensor: str | None
) -> Iterator[Finding]:
    """Yield the units and run numbers of databases that the records contradict, as these were `before` and `after` the
    databases were read: a running fleet may have changed them."""
    runs = {sensor_id: after.manifest.runs for sensor_id, _ in after.manifest.sensors} if after.manifest else {}
    units = [{each.sensor_id: each.channels for each in records.sensors} for records in (before, after)]
    for sensor_id, position in positions.items():
        known = [channels for some in units if (channels := some.get(sensor_id))]
        if sensor not in (None, sensor_id):
            continue
        last_run = runs.get(sensor_id, position.run)
        if position.run > last_run:
            detail = f"run {position.run} has written to it, the last one of fleet.json is {last_run}"
            yield Finding("record", sensor_id, "fleet.json", None, None, detail)
        if known and position.channels and position.channels not in known:
            detail = f"the channels and units of its last epoch are {describe(position.channels)}, those of the roster "
            yield Finding("record", sensor_id, "roster.json", None, None, detail + describe(known[-1]))


def describe(channels: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} in {unit}" for name, unit in channels)


def describe_unstarted(records: SensorRecords, homes: Mapping[str, str]) -> str | None:
    """Return a note about the sensors on record that no database has, and of which the last run has no reading."""
    ids = [each.sensor_id for each in records.sensors if each.sensor_id not in homes and not each.committed]
    if not ids:
        return None
    listed = ", ".join(ids[:MAX_IDS_LISTED]) + (", ..." if len(ids) > MAX_IDS_LISTED else "")
    return f"sensors of fleet.json of which no reading is on record: {len(ids):,} ({listed})"


def describe_shorter(records: SensorRecords, positions: Mapping[str, int]) -> Iterator[str]:
    """Yield a note about each database that ends before the last reading that the last run has committed. `positions`
    has the next sequence number of each sensor that was found."""
    notes: dict[str, str] = {}
    for sensor in records.sensors:
        end = positions.get(sensor.sensor_id)
        if end is not None and end < sensor.committed and sensor.database is not None:
            notes.setdefault(
                sensor.database,
                f"{sensor.database}: ends at reading {end:,} of {sensor.sensor_id}, the last run has committed "
                f"{sensor.committed:,}: there may be more in a log that was not copied with it, or it is a restored backup",
            )
    yield from notes.values()

"""The links between rotated databases: each ends where its successor begins, unless its removal is on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fleet.datadir.readings import DatabaseUnreadable, path_exists, read_only_connection
from fleet.escaping import repr_short
from fleet.verify.audit import AuditResult
from fleet.verify.database_info import PreviousDatabase
from fleet.verify.findings import Finding, FindingLog
from fleet.verify.removals import Removal, covered_until, read_removals
from worker.storage.rotation import ROTATED_SUFFIX


def is_rotated(path: Path) -> bool:
    """True if the database was rotated: another one continues where it ends."""
    return ROTATED_SUFFIX.search(path.stem) is not None


def is_rotated_name(name: str) -> bool:
    """True if a name on record is that of a rotated database. Any other, such as a path, is not looked for."""
    return Path(name).name == name and is_rotated(Path(name))


def check_rotation_links(
    results: dict[Path, AuditResult], audit: Callable[[Path], AuditResult], finding_log: FindingLog
) -> None:
    """Check that each rotated database ends where its successor begins.

    `audit` checks a database that did not exist when the others were listed, since a running fleet may rotate one at any
    time; its result is added to `results`.
    """
    waiting = list(results)
    while waiting:
        path = waiting.pop()
        for sensor, previous in results[path].previous_databases.items():
            if sensor not in results[path].sensors:  # not the sensor to check
                continue
            if not is_rotated_name(previous.file):
                detail = f"origins: {repr_short(previous.file)} is no name of a rotated database"
                finding_log.add(Finding("record", sensor, path.name, None, None, detail))
                continue
            before = path.with_name(previous.file)
            if before not in results and path_exists(before):
                results[before] = audit(before)
                waiting.append(before)
            if before not in results and is_removed(path, sensor, previous, results):
                continue
            if finding := link_finding(path, sensor, previous, results.get(before)):
                finding_log.add(finding)


def is_removed(path: Path, sensor: str, previous: PreviousDatabase, results: Mapping[Path, AuditResult]) -> bool:
    """Return whether the readings before those of the database at `path` were removed on record.

    The record is in one of the databases of that name. It is read again, as a running fleet may just have made it.
    """
    stem = base_stem(path)
    recorded = [removal for other in results if base_stem(other) == stem for removal in current_removals(other, sensor)]
    return covered_until(recorded) >= previous.first_seq


def current_removals(path: Path, sensor: str) -> Sequence[Removal]:
    try:
        with read_only_connection(path) as opened:
            return read_removals(opened, sensor).get(sensor, ())
    except DatabaseUnreadable:
        return ()


def base_stem(path: Path) -> str:
    """Return the name of a database, also of a rotated one, as it was before."""
    return ROTATED_SUFFIX.sub("", path.stem)


def link_finding(path: Path, sensor: str, previous: PreviousDatabase, before: AuditResult | None) -> Finding | None:
    """Return the finding about one link, None if it is right."""
    if before is None:
        detail = f"they are in {previous.file}, which does not exist"
        return Finding("hole", sensor, path.name, 0, previous.first_seq - 1, detail)
    position = before.sensors.get(sensor)
    if position is None:
        return Finding("checkpoint", sensor, path.name, None, None, f"{previous.file} does not have this sensor")
    if position.next_seq != previous.first_seq:
        detail = f"{previous.file} ends at {position.next_seq}, and its successor begins at {previous.first_seq}"
        return Finding("checkpoint", sensor, path.name, None, None, detail)
    return None

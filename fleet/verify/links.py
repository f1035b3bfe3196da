"""The links between a database and the rotated one that it goes on from: each ends where the next begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleet.verify.audit import AuditResult, PreviousDatabase
from fleet.verify.findings import Finding, FindingLog


def check_rotation_links(
    results: dict[Path, AuditResult], examine: Callable[[Path], AuditResult], finding_log: FindingLog
) -> None:
    """Follow the previous_databases of all that was checked. `examine` checks one that was not there yet when the others were
    listed: a fleet that runs may rotate any time. Its result is added."""
    waiting = list(results)
    while waiting:
        path = waiting.pop()
        for sensor, previous in results[path].previous_databases.items():
            before = path.with_name(previous.file)
            if sensor not in results[path].sensors:  # nobody asked about it
                continue
            if before not in results and before.exists():
                results[before] = examine(before)
                waiting.append(before)
            if finding := link_finding(path, sensor, previous, results.get(before)):
                finding_log.add(finding)


def link_finding(path: Path, sensor: str, previous: PreviousDatabase, before: AuditResult | None) -> Finding | None:
    """What is wrong with one link."""
    if before is None:
        detail = f"they are in {previous.file}, which is not here"
        return Finding("hole", sensor, path.name, 0, previous.first_seq - 1, detail)
    position = before.sensors.get(sensor)
    if position is None:
        return Finding("checkpoint", sensor, path.name, None, None, f"{previous.file} has none of it")
    if position.next_seq != previous.first_seq:
        detail = f"{previous.file} ends at {position.next_seq}, and what follows begins at {previous.first_seq}"
        return Finding("checkpoint", sensor, path.name, None, None, detail)
    return None

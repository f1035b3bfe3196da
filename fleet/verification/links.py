"""The links between a database and the rotated one that it goes on from: each ends where the next begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleet.verification.audit import Account, Origin
from fleet.verification.findings import Finding, Ledger


def link(accounts: dict[Path, Account], examine: Callable[[Path], Account], ledger: Ledger) -> None:
    """Follow the origins of all that was checked. `examine` checks one that was not there yet when the others were
    listed: a fleet that runs may rotate any time. Its account is added."""
    waiting = list(accounts)
    while waiting:
        path = waiting.pop()
        for sensor, origin in accounts[path].origins.items():
            before = path.with_name(origin.file)
            if sensor not in accounts[path].sensors:  # nobody asked about it
                continue
            if before not in accounts and before.exists():
                accounts[before] = examine(before)
                waiting.append(before)
            if finding := broken(path, sensor, origin, accounts.get(before)):
                ledger.note(finding)


def broken(path: Path, sensor: str, origin: Origin, before: Account | None) -> Finding | None:
    """What is wrong with one link."""
    if before is None:
        detail = f"they are in {origin.file}, which is not here"
        return Finding("hole", sensor, path.name, 0, origin.first_seq - 1, detail)
    standing = before.sensors.get(sensor)
    if standing is None:
        return Finding("checkpoint", sensor, path.name, None, None, f"{origin.file} has none of it")
    if standing.next_seq != origin.first_seq:
        detail = f"{origin.file} ends at {standing.next_seq}, and what follows begins at {origin.first_seq}"
        return Finding("checkpoint", sensor, path.name, None, None, detail)
    return None

"""The proof that nothing was lost, doubled or altered: every reading is computed again and compared with its row."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.errors import UserError
from fleet.storage.data_directory import DataDirectory
from fleet.storage.fleet_record import FleetRecord
from fleet.storage.readings import size
from fleet.verification.audit import Account, Scope, Standing, audit
from fleet.verification.completeness import LastRun, check_complete, read_last_run
from fleet.verification.findings import Finding, Ledger, Verdict
from fleet.verification.links import link
from worker.database_files import inode
from worker.rotation import ROTATED

ASIDE = re.compile(r"\.before-\d+$")
QUARANTINED = re.compile(r"\.quarantined-\d+$")

Told = Callable[[int, int], None]
"""Told how much is done of how much there is, in bytes of databases."""


def verify(
    data: Path, *, sensor: str | None = None, complete: bool = False, told: Told = lambda _done, _total: None
) -> Verdict:
    """Check the databases of a data directory, also while a fleet writes to them; `sensor` limits it to one.

    `complete` also demands that every member of the last run has settled all that was due in it. UserError if there
    is nothing to check, or nothing that says what was due.
    """
    begun = time.monotonic()
    if not data.is_dir():
        raise UserError(f"--data: {data} is not a directory")
    run = read_last_run(data) if complete else None
    record = DataDirectory(data).read_record()
    ledger = Ledger()
    paths = databases(data, run)
    accounts: dict[Path, Account] = {}
    with uncollected():
        for path, progress in measured(paths, told):
            seed = record.seed if record and not (is_aside(path) or is_rotated(path)) else None
            scoped = Ledger() if sensor and not concerns(path, sensor, record) else ledger
            accounts[path] = audit(path, Scope(sensor, seed), scoped, progress)
        link(accounts, lambda path: audit(path, Scope(sensor), ledger, lambda _: None), ledger)
    standings = standing_of(accounts, ledger)
    if run:
        check_complete(run, standings, sensor, ledger)
    return concluded(data, sensor, accounts, ledger, time.monotonic() - begun)


def concluded(
    data: Path,
    sensor: str | None,
    accounts: dict[Path, Account],
    ledger: Ledger,
    seconds: float,
) -> Verdict:
    checked = [account for account in accounts.values() if account.skipped is None]
    quarantined = tuple(sorted(path.name for path in data.iterdir() if QUARANTINED.search(path.name)))
    sensors = {name for account in checked for name in account.sensors}
    if not checked and not ledger.counts:
        raise UserError(f"--data: there is no database of a fleet in {data}")
    if sensor is not None and sensor not in sensors and not ledger.counts:
        raise UserError(f"--sensor: there is no sensor {sensor} in {data}")
    return Verdict(
        sensors=len(sensors),
        readings=sum(account.readings for account in checked),
        episodes=sum(account.episodes for account in checked),
        databases=sum(1 for account in checked if sensor is None or account.sensors),
        counts=dict(ledger.counts),
        findings=ledger.findings,
        quarantined=quarantined,
        skipped=tuple(f"{path.name}: {account.skipped}" for path, account in accounts.items() if account.skipped),
        seconds=seconds,
    )


def databases(data: Path, run: LastRun | None) -> list[Path]:
    """All databases of the directory, also those that a config has given another ending."""
    named = {data / member.database.name for member in run.members} if run else set()
    if run and not any(path.exists() for path in named):  # a single worker's, which lies beside its directory
        named = {member.database for member in run.members}
    found = sorted({*data.glob("*.db"), *(path for path in named if path.exists())})
    live = {inode(path) for path in found if not is_rotated(path)}
    # One that is being rotated has both names for a moment.
    return [path for path in found if not (is_rotated(path) and inode(path) in live)]


def is_aside(path: Path) -> bool:
    """Whether it was moved out of the way of a new one: whole in itself, but no part of the fleet any more."""
    return ASIDE.search(path.stem) is not None


def is_rotated(path: Path) -> bool:
    """Whether another has its place, which goes on where it ends."""
    return ROTATED.search(path.stem) is not None


def concerns(path: Path, sensor: str, record: FleetRecord | None) -> bool:
    """Whether a database may hold that sensor, as far as its name tells."""
    if record is None or record.layout == "shared":
        return True
    workers = {sensor, *(worker for name, worker in record.sensors if name == sensor)}
    return ROTATED.sub("", ASIDE.sub("", path.stem)) in workers


def standing_of(accounts: dict[Path, Account], ledger: Ledger) -> dict[str, Standing]:
    """Where each sensor of the fleet stands. It has one database."""
    standings: dict[str, Standing] = {}
    homes: dict[str, str] = {}
    for path, account in accounts.items():
        if is_aside(path) or is_rotated(path):
            continue
        for sensor, standing in account.sensors.items():
            if sensor in homes:
                ledger.note(Finding("doubled", sensor, path.name, None, None, f"it is in {homes[sensor]} as well"))
            else:
                homes[sensor], standings[sensor] = path.name, standing
    return standings


def measured(paths: list[Path], told: Told) -> Iterator[tuple[Path, Callable[[float], None]]]:
    """Each path with what to tell of its share that is done."""
    sizes = [size(path) for path in paths]
    total, done = sum(sizes), 0
    for path, bytes_ in zip(paths, sizes, strict=True):
        before = done

        def progress(share: float, before: int = before, bytes_: int = bytes_) -> None:
            told(before + round(min(1.0, max(0.0, share)) * bytes_), total)

        yield path, progress
        done += bytes_
        told(done, total)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection: a chunk is a hundred thousand tuples, which it would go through again and again
    (8 % of the time), and there are no cycles among them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

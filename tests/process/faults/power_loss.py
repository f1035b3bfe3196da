"""Power failures of a database, and the verdict on what is found afterwards. `make chaos` calls `simulate_power_losses`."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import apsw

from tests.process.faults.crash_states import Crash, Files, crash_states
from tests.process.faults.delivery_history import (
    WORKER_LIVES,
    Contents,
    Positions,
    RecordedHistory,
    Row,
    Synchronous,
    read_contents,
    record_history,
    run_worker,
)
from worker.spec import StoreSpec
from worker.storage.database import Database
from worker.storage.sinks import Unavailable

TAKEOVER_INCARNATION = 100
"""An incarnation beyond all that wrote the history."""


class DamagedDatabase(Exception):
    """What was found is not what was written up to some delivery, or does not go on from there."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """On `states` crashes. `behind` of them lack deliveries that had returned, one of them as many as `most_lost`.

    `findings`: the states that are damaged, have a hole or something that was never delivered, or do not go on to
    what an undisturbed run writes.
    """

    states: int
    behind: int
    most_lost: int
    findings: tuple[str, ...]


def simulate_power_losses(
    folder: Path,
    seed: int,
    states: int,
    *,
    synchronous: Synchronous = "full",
    crash: Crash = "power",
    sensors: int = 3,
    wal: bool = True,
) -> Verdict:
    """Write a database in `folder`, crash so many times on the way, and judge each state that is found then."""
    rng = random.Random(seed)
    history = record_history(folder / "undisturbed", rng, synchronous, sensors=sensors, wal=wal)
    lost: list[int] = []
    findings: list[str] = []
    for number, (moment, files) in enumerate(crash_states(history.operations, states, rng, crash)):
        place = folder / f"state-{number}"
        try:
            lost.append(count_lost_deliveries(history, place, moment, files))
        except (
            DamagedDatabase,
            Unavailable,
            apsw.Error,
            ValueError,
        ) as finding:  # ValueError: an epoch that is no JSON
            findings.append(f"{place.name}, after {moment} operations: {type(finding).__name__}: {finding}")
        finally:
            shutil.rmtree(place)
    return Verdict(states, sum(count > 0 for count in lost), max(lost, default=0), tuple(findings))


def count_lost_deliveries(history: RecordedHistory, place: Path, moment: int, files: Files) -> int:
    """How many deliveries were lost in a crash after `moment` operations; raises whatever is wrong with the rest."""
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
        os.utime(place / name, (0, 0))  # as after a boot
    store = replace(history.store, path=place / history.store.path.name)
    found = reopen(history, store)
    steps = [(0,) * len(found), *(commit.positions for commit in history.commits)]
    if found not in steps:
        raise DamagedDatabase(f"the sensors stand at {found}, where no delivery ended")
    reached, returned = steps.index(found), sum(commit.operations <= moment for commit in history.commits)
    if reached > returned + 1:
        raise DamagedDatabase(f"delivery {reached} had not begun")
    assert_same_contents(prefix(history.contents, history, found), prefix(read_intact_contents(store), history, None))
    following = history.commits[reached:]
    for number in range(following[0].stage if following else len(WORKER_LIVES), len(WORKER_LIVES)):
        stage, incarnation = WORKER_LIVES[number], TAKEOVER_INCARNATION + 1 + number
        list(run_worker(store, stage, incarnation, history.identities, syncs=False))  # no second crash is to come
    assert_same_contents(history.contents, replace(read_intact_contents(store), generation=history.contents.generation))
    return max(0, returned - reached)


def reopen(history: RecordedHistory, store: StoreSpec) -> Positions:
    """Where the sensors stand for the worker that takes over."""
    with closing(Database(store)) as database:
        return tuple(position.next_seq for position in database.claim(history.identities, TAKEOVER_INCARNATION))


def read_intact_contents(store: StoreSpec) -> Contents:
    try:
        return read_contents(store.path)
    except AssertionError as error:
        raise DamagedDatabase(str(error)) from error


def prefix(all_of_it: Contents, history: RecordedHistory, positions: Positions | None) -> Contents:
    """What there is before those positions, or at all; of an episode that may yet be cut only where it begins."""
    names = [identity.sensor_id for identity in history.identities]
    ends = dict(zip(names, positions, strict=True)) if positions else {}

    def before(rows: Sequence[Row], sensor: int, seq: int) -> list[Row]:
        return [row for row in rows if positions is None or row[seq] < ends[row[sensor]]]

    return Contents(
        all_of_it.generation,
        before(all_of_it.readings, 2, -1),
        [(*row[:4], row[5], row[7]) for row in before(all_of_it.episodes, 0, 3)],
        before(all_of_it.epochs, 0, 1),
    )


def assert_same_contents(expected: Contents, actual: Contents) -> None:
    for name in ("readings", "episodes", "epochs"):
        there, wanted = getattr(actual, name), getattr(expected, name)
        if there != wanted:
            raise DamagedDatabase(
                f"{len(there)} {name} instead of {len(wanted)}, {sum(row not in wanted for row in there)} odd"
            )
    if actual.generation != expected.generation and expected.readings:
        raise DamagedDatabase("it is another database")

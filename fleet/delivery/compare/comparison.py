"""The comparison of the readings in a target with the generated ones.

Each row of the target is compared with the row of its source that has its id. The ids that arrived are kept in a set, so
the missing readings are those outside it. Both sides are read once, in storage order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import apsw

from fleet.datadir.readings import DatabaseUnreadable
from fleet.delivery.batch import NAME_KEY_PREFIX, Row
from fleet.delivery.compare.compared_columns import (
    ID_INDEX,
    KEY_COLUMNS,
    SENSOR_INDEX,
    SEQ_INDEX,
    TIMESTAMP_INDEX,
    column_differences,
)
from fleet.delivery.compare.delivered import DeliveredChunk, DeliveredReadings
from fleet.delivery.compare.fault_outcomes import FaultOutcomes
from fleet.delivery.compare.generated import GeneratedDatabase, GeneratedReadings
from fleet.delivery.compare.history_comparison import compare_histories
from fleet.delivery.compare.keyless import KeylessMatcher, reading_key
from fleet.delivery.compare.matching import to_time
from fleet.delivery.compare.source_progress import GapMerger, SourceProgress
from fleet.delivery.compare.verdict import DeliveryVerdict, LatencyHistogram
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.selection import Selection
from fleet.verify.findings import Finding, FindingLog
from fleet.verify.row_checker import describe_difference
from fleet.verify.row_scan import MIN_ROW_ID
from fleet.verify.verification import gc_paused

NO_ROW_ID = MIN_ROW_ID
"""A row id that is never used."""

ProgressCallback = Callable[[int, int], None]


@dataclass(slots=True)
class ComparisonTotals:
    """The counts of a DeliveryVerdict."""

    generated: int = 0
    missing: int = 0
    pending: int = 0
    not_taken: int = 0
    episodes: int = 0
    epochs: int = 0
    strangers: int = 0
    removed: int = 0


class Comparison:
    """A comparison. With `complete`, pending readings count as missing. `shift_us` is as for a LatencyHistogram. `faults` are
    those that readings got on their way on purpose. Readings that are not of the `selection` need not arrive. Values of the target
    are as `record` reads them."""

    def __init__(
        self,
        generated: GeneratedReadings,
        delivered: DeliveredReadings,
        *,
        complete: bool = False,
        shift_us: int | None = 0,
        faults: FaultOutcomes | None = None,
        selection: Selection | None = None,
        record: Record = ROW,
    ) -> None:
        self._faults, self._selection, self._record = faults or FaultOutcomes({}), selection, record
        self._generated, self._delivered, self._complete = generated, delivered, complete
        self._finding_log, self._latencies, self._totals = FindingLog(), LatencyHistogram(shift_us), ComparisonTotals()
        self._progress_by_source: dict[str, SourceProgress] = {}
        self._unknown: set[str] = set()
        self._broken: set[str] = set()
        self._keyed: set[str | None] = set()
        self._keyless = KeylessMatcher(generated)
        columns = delivered.select_columns(generated.further_columns())
        self._names = ("source_id", *KEY_COLUMNS, *columns)
        self._width = len(self._names)
        self._first = ID_INDEX if delivered.has_reading_keys else TIMESTAMP_INDEX + 1
        generated.select_columns(columns)

    def run(self, on_progress: ProgressCallback = lambda _done, _total: None) -> DeliveryVerdict:
        """Compare. UserError if the target cannot be read; a database that cannot be read is a finding."""
        started_at, done = time.monotonic(), 0
        total = sum(database.total for database in self._generated.databases.values())
        with gc_paused():
            for chunk in self._delivered.read_chunks(self._generated):
                self._compare_chunk(chunk)
                done += len(chunk.rows)
                on_progress(min(done, total), total)
            # A copy: a database that appears meanwhile is added to the others.
            for database in list(self._generated.databases.values()):
                self._run_guarded(database, partial(self._count_missing, database))
        for name, reason in self._generated.unreadable.items():
            self._finding_log.add(Finding("unreadable", None, name, None, None, reason))
        on_progress(total, total)
        return self._build_verdict(time.monotonic() - started_at)

    def _build_verdict(self, seconds: float) -> DeliveryVerdict:
        totals = self._totals
        return DeliveryVerdict(
            target=self._delivered.name,
            generated=totals.generated,
            arrived=totals.generated - totals.missing - totals.pending - totals.not_taken,
            not_taken=totals.not_taken,
            faults=self._faults.outcomes(self._generated.databases),
            pending=totals.pending,
            episodes=totals.episodes,
            epochs=totals.epochs,
            strangers=totals.strangers,
            alarms=self._delivered.alarms(),
            latency=self._latencies.latency(),
            counts=dict(self._finding_log.counts),
            findings=self._finding_log.findings,
            seconds=seconds,
            notes=(*self._keyless.notes(self._keyed), *describe_removed(totals.removed)),
        )

    # Delivered rows

    def _compare_chunk(self, chunk: DeliveredChunk) -> None:
        database = self._database(chunk.source)
        if database is not None:
            self._keyed.add(chunk.source)
            self._run_guarded(database, partial(self._match_chunk, database, chunk))
        elif chunk.source is not None and chunk.source.startswith(NAME_KEY_PREFIX):
            for part in self._keyless.assign(chunk):
                if found := self._database(part.source):
                    self._run_guarded(found, partial(self._match_chunk, found, part))
                else:
                    self._check_unknown_source(part)
        else:
            self._check_unknown_source(chunk)

    def _match_chunk(self, database: GeneratedDatabase, chunk: DeliveredChunk) -> None:
        if chunk.known_equal:
            self._count(database, chunk, chunk.rows)
            return
        rows, first, end = chunk.rows, self._first, self._width
        ids: list[Any] = list(map(itemgetter(ID_INDEX), rows))
        if set(map(type, ids)) != {int}:
            ids = [number if isinstance(number, int) else NO_ROW_ID for number in ids]
        matched = self._generated.rows(database, ids)
        right = [row and row[first:] for row in matched] if first else matched
        if [row[first:end] for row in rows] != right:
            taken = {
                row[ID_INDEX]
                for row, one in zip(rows, matched, strict=True)
                if one and reading_key(row) == reading_key(one)
            }
            pairs = zip(rows, matched, strict=True)
            matched = [self._resolve_row(database, row, one, row[ID_INDEX] in taken) for row, one in pairs]
        self._count(database, chunk, matched)

    def _database(self, key: str | None) -> GeneratedDatabase | None:
        known = self._generated.databases
        if key is None or key in self._unknown:
            return None
        if key not in known:
            self._generated.refresh()
        if key not in known:
            self._unknown.add(key)
        return known.get(key)

    def _resolve_row(self, database: GeneratedDatabase, row: Row, right: Row | None, taken: bool) -> Row | None:
        """Match a row that may differ from `right`, the row with its id. Returns the matching row of the source, or None.

        That is the row with its key; or without one the row with its id, unless that is `taken` by another delivered row.
        """
        if right is not None and row[self._first : self._width] == right[self._first :]:
            return right
        if self._delivered.has_reading_keys and (right is None or reading_key(row) != reading_key(right)):
            taken = taken or right is None or self._has_arrived(database, right)
            right = self._generated.search(database, row[SENSOR_INDEX], row[SEQ_INDEX]) or (None if taken else right)
        if right is None and self._is_removed(database.source.key, row):
            return None
        if right is None:
            self._note(
                "delivered, never generated",
                database.source.name,
                row,
                f"no database has one of {row[TIMESTAMP_INDEX]!r}",
            )
            return None
        pairs = column_differences(self._names[self._first :], row[self._first : self._width], right[self._first :])
        pairs = [each for each in pairs if each[1] != self._record.read_back(each[0], each[2])]  # type: ignore[arg-type]
        if pairs:
            detail = "; ".join(describe_difference(name, value, expected) for name, value, expected in pairs)
            self._note("delivered altered", database.source.name, right, detail)
            self._faults.note_wrong(database.source.key, right[ID_INDEX])  # type: ignore[arg-type]
        return right

    def _is_removed(self, source: str | None, row: Row) -> bool:
        """Count a delivered reading that the databases have on record as removed; it is not compared."""
        time_us = to_time(row[TIMESTAMP_INDEX])
        removed = self._generated.is_removed(source, row[SENSOR_INDEX], row[SEQ_INDEX], time_us)
        self._totals.removed += removed
        return removed

    def _has_arrived(self, database: GeneratedDatabase, row: Any) -> bool:
        return row[ID_INDEX] in self._progress(database).ids

    def _count(self, database: GeneratedDatabase, chunk: DeliveredChunk, matched: Sequence[Any]) -> None:
        """Record matched rows: note those delivered twice or out of order, and add their latencies."""
        progress, name, key = self._progress(database), database.source.name, database.source.key
        if chunk.received_us and not database.source.foreign:
            self._time(matched, chunk.received_us)
        rows = matched if all(matched) else [row for row in matched if row]
        if rows:
            new, repeated = progress.add_rows(rows)
            for row in repeated:
                self._note("delivered twice", name, row, "it is there again")
                self._faults.note_twice(key, row[ID_INDEX])  # type: ignore[arg-type]
            for row in progress.late_rows(new) if self._delivered.ordered else ():
                if not self._faults.has(key, row[ID_INDEX]):  # type: ignore[arg-type]
                    self._note("delivered out of order", name, row, "it arrived behind a later one")

    def _time(self, rows: Sequence[Any], received_us: Sequence[int]) -> None:
        if not all(rows):
            received_us = [us for us, row in zip(received_us, rows, strict=True) if row]
        times = [row[TIMESTAMP_INDEX] for row in rows if row]
        if times:
            self._latencies.add(times, received_us)

    def _check_unknown_source(self, chunk: DeliveredChunk) -> None:
        """Judge rows of an unknown source. It may belong to another directory, unless a row has a sensor of this one."""
        sensors = self._generated.sensors
        for row in chunk.rows:
            if reason := self._faults.explain(row[SENSOR_INDEX], to_time(row[TIMESTAMP_INDEX])):
                self._note("delivered altered", chunk.name, row, reason)
            elif self._is_removed(chunk.source, row):
                continue
            elif chunk.source is None or row[SENSOR_INDEX] in sensors:
                self._note(
                    "delivered, never generated", chunk.name, row, f"no database has one of {row[TIMESTAMP_INDEX]!r}"
                )
            else:
                self._totals.strangers += 1

    # Missing rows

    def _count_missing(self, database: GeneratedDatabase) -> None:
        """Count the readings that have not arrived, and compare episodes and epochs up to the first pending reading."""
        progress, totals = self._progress(database), self._totals
        totals.generated += database.total
        missing, first_pending = GapMerger(), dict[object, int]()
        for first, last in progress.ids.gaps(database.first, database.last) if database.total else ():
            for number, seq, sensor, *others in self._generated.between(database, first, last):
                if self._selection is not None and not self._selection.includes((sensor, *others)):
                    totals.generated -= 1
                elif self._is_pending(database, progress, number):  # type: ignore[arg-type]
                    totals.pending += 1
                    first_pending.setdefault(sensor, seq)  # type: ignore[arg-type]
                    self._faults.note_pending(database.source.key, number)  # type: ignore[arg-type]
                elif self._faults.note_missing(database.source.key, number):  # type: ignore[arg-type]
                    totals.not_taken += 1
                else:
                    totals.missing += 1
                    for gap in missing.add(sensor, seq):  # type: ignore[arg-type]
                        self._note_missing(database, *gap)
        for gap in missing.flush():
            self._note_missing(database, *gap)
        if database.source.key in self._keyless.databases - self._keyed:
            return  # its sender knows readings only
        episodes, epochs = compare_histories(
            self._generated, database, self._delivered, None if self._complete else first_pending, self._finding_log
        )
        totals.episodes += episodes
        totals.epochs += epochs

    def _is_pending(self, database: GeneratedDatabase, progress: SourceProgress, number: int) -> bool:
        if self._complete:
            return False
        if self._faults.is_held(database.source.key, number):
            return True
        return number > progress.max_id if database.unsynced is None else number in database.unsynced

    def _note_missing(self, database: GeneratedDatabase, sensor: object, first: int, last: int) -> None:
        count = last - first + 1
        detail = f"{count:,} {'readings' if count > 1 else 'reading'}"
        self._finding_log.add(Finding("not delivered", str(sensor), database.source.name, first, last, detail))

    # Findings

    def _progress(self, database: GeneratedDatabase) -> SourceProgress:
        return self._progress_by_source.setdefault(database.source.key, SourceProgress())

    def _note(self, kind: str, name: str, row: Row, detail: str) -> None:
        seq = row[SEQ_INDEX] if isinstance(row[SEQ_INDEX], int) else None
        self._finding_log.add(Finding(kind, str(row[SENSOR_INDEX]), name, seq, seq, detail))  # type: ignore[arg-type]

    def _run_guarded(self, database: GeneratedDatabase, work: Callable[[], None]) -> None:
        """Run `work`. A database that cannot be read is a finding, and is skipped from then on."""
        source = database.source
        if source.key in self._broken:
            return
        try:
            work()
        except (DatabaseUnreadable, apsw.Error, UnicodeDecodeError) as error:
            self._broken.add(source.key)
            reason = str(error).removeprefix(f"{source.path}: ")
            self._finding_log.add(Finding("unreadable", None, source.name, None, None, reason))


def describe_removed(count: int) -> Iterator[str]:
    """Yield a note about the readings that have arrived, and were removed from the databases since."""
    if count:
        yield f"{count:,} readings that have arrived are removed here on record (database.keep): they are not compared"

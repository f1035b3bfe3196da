"""What arrived at a target, compared with what was generated.

Each row of the target is looked up in the database that it came from, by its id there, and compared; the ids that came
are kept as marks, so what is missing is what has none. Both sides are read in the order of their files, and once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import apsw

from fleet.collection.batch import Row
from fleet.comparison.arrivals import Arrivals, Portion
from fleet.comparison.delivery_verdict import DeliveryVerdict, Gaps
from fleet.comparison.history_comparison import compare_histories
from fleet.comparison.latency import Stopwatch
from fleet.comparison.originals import Original, Originals
from fleet.comparison.reading_columns import ID, LEAD, SENSOR, SEQ, TIMESTAMP, differences
from fleet.comparison.stream import Stream
from fleet.storage.readings import Unreadable
from fleet.verification.findings import Finding, Ledger
from fleet.verification.trail import difference
from fleet.verification.verification import uncollected

NOWHERE = -(1 << 63)
"""An id that no row has."""

Told = Callable[[int, int], None]


@dataclass(slots=True)
class Totals:
    generated: int = 0
    missing: int = 0
    pending: int = 0
    episodes: int = 0
    epochs: int = 0
    strangers: int = 0


class Comparison:
    """`complete`: what nobody claims to have delivered is missing too. `shift_us` is as for a Stopwatch."""

    def __init__(self, originals: Originals, arrivals: Arrivals, *, complete: bool = False, shift_us: int = 0) -> None:
        self._originals, self._arrivals, self._complete = originals, arrivals, complete
        self._ledger, self._stopwatch, self._totals = Ledger(), Stopwatch(shift_us), Totals()
        self._streams: dict[str, Stream] = {}
        self._unknown: set[str] = set()
        self._broken: set[str] = set()
        self._names = ("source_id", *LEAD, *arrivals.columns)
        self._width = len(self._names)
        self._first = ID if arrivals.keyed else TIMESTAMP + 1
        originals.compare(arrivals.columns)

    def run(self, told: Told = lambda _done, _total: None) -> DeliveryVerdict:
        """Raises UserError if the target cannot be read; a database that cannot be is a finding."""
        begun, done = time.monotonic(), 0
        total = sum(original.total for original in self._originals.known.values())
        with uncollected():
            for portion in self._arrivals.portions(self._originals):
                self._take(portion)
                done += len(portion.rows)
                told(min(done, total), total)
            for original in self._originals.known.values():
                self._guarded(original, partial(self._settle, original))
        for name, reason in self._originals.unreadable.items():
            self._ledger.note(Finding("unreadable", None, name, None, None, reason))
        told(total, total)
        return self._concluded(time.monotonic() - begun)

    def _concluded(self, seconds: float) -> DeliveryVerdict:
        totals = self._totals
        return DeliveryVerdict(
            target=self._arrivals.name,
            generated=totals.generated,
            arrived=totals.generated - totals.missing - totals.pending,
            pending=totals.pending,
            episodes=totals.episodes,
            epochs=totals.epochs,
            strangers=totals.strangers,
            alarms=self._arrivals.alarms(),
            latency=self._stopwatch.latency(),
            counts=dict(self._ledger.counts),
            findings=self._ledger.findings,
            seconds=seconds,
        )

    # What arrived

    def _take(self, portion: Portion) -> None:
        original = self._original(portion.source)
        if original is None:
            self._judge_strangers(portion)
        else:
            self._guarded(original, partial(self._look_up, original, portion))

    def _look_up(self, original: Original, portion: Portion) -> None:
        if portion.agree:
            self._count(original, portion, portion.rows)
            return
        rows, first, end = portion.rows, self._first, self._width
        ids: list[Any] = list(map(itemgetter(ID), rows))
        if set(map(type, ids)) != {int}:
            ids = [number if isinstance(number, int) else NOWHERE for number in ids]
        matched = self._originals.rows(original, ids)
        right = [row and row[first:] for row in matched] if first else matched
        if [row[first:end] for row in rows] != right:
            taken = {row[ID] for row, one in zip(rows, matched, strict=True) if one and key(row) == key(one)}
            pairs = zip(rows, matched, strict=True)
            matched = [self._judge(original, row, one, row[ID] in taken) for row, one in pairs]
        self._count(original, portion, matched)

    def _original(self, key: str | None) -> Original | None:
        known = self._originals.known
        if key is None or key in self._unknown:
            return None
        if key not in known:
            self._originals.find()
        if key not in known:
            self._unknown.add(key)
        return known.get(key)

    def _judge(self, original: Original, row: Row, right: Row | None, taken: bool) -> Row | None:
        """Look closer at one of which something may differ. Returns the reading that it is, None if it is none.

        It is the one that its key says; if there is none, the one with its id, unless that is `taken` by another."""
        if right is not None and row[self._first : self._width] == right[self._first :]:
            return right
        if self._arrivals.keyed and (right is None or key(row) != key(right)):
            taken = taken or right is None or self._has_arrived(original, right)
            right = self._originals.search(original, row[SENSOR], row[SEQ]) or (None if taken else right)
        if right is None:
            self._note(
                "delivered, never generated",
                original.source.name,
                row,
                f"no database has one of {row[TIMESTAMP]!r}",
            )
            return None
        pairs = differences(self._names[self._first :], row[self._first : self._width], right[self._first :])
        if pairs:
            told = "; ".join(difference(name, value, must) for name, value, must in pairs)
            self._note("delivered altered", original.source.name, right, told)
        return right

    def _has_arrived(self, original: Original, row: Any) -> bool:
        return row[ID] in self._stream(original).ids

    def _count(self, original: Original, portion: Portion, matched: Sequence[Any]) -> None:
        """Note what came twice or late, and how long it took."""
        stream, name = self._stream(original), original.source.name
        if portion.received_us and not original.source.foreign:
            self._time(matched, portion.received_us)
        rows = matched if all(matched) else [row for row in matched if row]
        if rows:
            fresh, again = stream.enter(rows)
            for row in again:
                self._note("delivered twice", name, row, "it is there again")
            for row in stream.late(fresh) if self._arrivals.ordered else ():
                self._note("delivered out of order", name, row, "it arrived behind a later one")

    def _time(self, rows: Sequence[Any], received_us: Sequence[int]) -> None:
        if not all(rows):
            received_us = [us for us, row in zip(received_us, rows, strict=True) if row]
        times = [row[TIMESTAMP] for row in rows if row]
        if times:
            self._stopwatch.add(times, received_us)

    def _judge_strangers(self, portion: Portion) -> None:
        """A source that is none of these databases may be another directory's, unless it has a sensor of this one."""
        sensors = self._originals.sensors
        for row in portion.rows:
            if portion.source is None or row[SENSOR] in sensors:
                self._note(
                    "delivered, never generated", portion.name, row, f"no database has one of {row[TIMESTAMP]!r}"
                )
            else:
                self._totals.strangers += 1

    # What did not

    def _settle(self, original: Original) -> None:
        """Count what has not arrived, and compare episodes and epochs as far as all has."""
        stream, totals = self._stream(original), self._totals
        totals.generated += original.total
        missing, waiting = Gaps(), dict[object, int]()
        for first, last in stream.ids.gaps(original.first, original.last) if original.total else ():
            for number, sensor, seq in self._originals.between(original, first, last):
                if self._is_pending(original, stream, number):  # type: ignore[arg-type]
                    totals.pending += 1
                    waiting.setdefault(sensor, seq)  # type: ignore[arg-type]
                else:
                    totals.missing += 1
                    for gap in missing.add(sensor, seq):  # type: ignore[arg-type]
                        self._note_missing(original, *gap)
        for gap in missing.rest():
            self._note_missing(original, *gap)
        episodes, epochs = compare_histories(
            self._originals, original, self._arrivals, None if self._complete else waiting, self._ledger
        )
        totals.episodes += episodes
        totals.epochs += epochs

    def _is_pending(self, original: Original, stream: Stream, number: int) -> bool:
        if self._complete:
            return False
        return number > stream.high if original.unmarked is None else number in original.unmarked

    def _note_missing(self, original: Original, sensor: object, first: int, last: int) -> None:
        count = last - first + 1
        detail = f"{count:,} {'readings' if count > 1 else 'reading'}"
        self._ledger.note(Finding("not delivered", str(sensor), original.source.name, first, last, detail))

    # Findings

    def _stream(self, original: Original) -> Stream:
        return self._streams.setdefault(original.source.key, Stream())

    def _note(self, kind: str, name: str, row: Row, detail: str) -> None:
        seq = row[SEQ] if isinstance(row[SEQ], int) else None
        self._ledger.note(Finding(kind, str(row[SENSOR]), name, seq, seq, detail))  # type: ignore[arg-type]

    def _guarded(self, original: Original, work: Callable[[], None]) -> None:
        """A database that cannot be read is a finding, and its readings are left alone from then on."""
        source = original.source
        if source.key in self._broken:
            return
        try:
            work()
        except (Unreadable, apsw.Error, UnicodeDecodeError) as error:
            self._broken.add(source.key)
            reason = str(error).removeprefix(f"{source.path}: ")
            self._ledger.note(Finding("unreadable", None, source.name, None, None, reason))


def key(row: Row) -> Row:
    """Which reading of a source it is: sensor and seq."""
    return row[SENSOR : SEQ + 1]

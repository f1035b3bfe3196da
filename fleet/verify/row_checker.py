"""The comparison of one sensor's rows, in the order of their insertion, with the expected ones.

Whole windows are compared at once; a window that differs is compared row by row, to name the differences.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

from fleet.verify.expected import (
    END_OF_SEQS,
    WINDOW_READINGS,
    ExpectedSensorData,
    Row,
    SeqRange,
    expected_rows,
    row_count,
)
from fleet.verify.findings import NoteFinding
from worker.storage.schema import READING_COLUMNS, identity_values

ROW_SEQ_INDEX = 1 + READING_COLUMNS.index("seq")
"""The position in a row of its sequence number. The further columns follow, then the flag (0 or 1) that its identity is the
given one."""

MISPLACED_BLOCK_READINGS = 256
"""Readings that are computed at once for a row that is out of order."""

MAX_TRACKED_MISPLACED_ROWS = 10_000
"""Rows out of order, and holes, that are remembered for each sensor."""

MAX_VALUE_CHARS = 100
"""Characters of a value in the detail of a finding."""

LABEL_COLUMNS = {"status_code", "anomaly_flag", "anomaly_type"}

DescribeIdentity = Callable[[int, Row], str]


class CachedRows(NamedTuple):
    """The expected rows of a range of readings, by sequence number. Readings of missing_data episodes have no row."""

    seqs: range
    rows: dict[int, Row]


NO_CACHED_ROWS = CachedRows(range(0), {})


class RowChecker:
    """Compares the rows of a sensor chunk by chunk. The first row must be that of reading `begin`.

    `next_seq` is the sequence number after the last reading that was compared, and `rows_end` that after the last row.
    """

    def __init__(self, expected: ExpectedSensorData, note: NoteFinding, begin: int = 0) -> None:
        self.expected, self._note = expected, note
        self._end = begin
        self._identity: Row = ()
        self._further: tuple[str, ...] = ()
        self._describe_identity: DescribeIdentity = lambda _row_id, _identity: ""
        self.next_seq = self.rows_end = begin
        self._removed: Sequence[SeqRange] = ()
        self._holes: list[SeqRange] = []
        self._early: set[int] = set()
        self._cache: dict[int, CachedRows] = {}

    def check(
        self,
        rows: list[Row],
        end: int,
        identity: Row,
        further: tuple[str, ...],
        constants: tuple[int, ...],
        describe_identity: DescribeIdentity,
    ) -> None:
        """Compare the next rows.

        `end` is the sensor's checkpoint. `further` are the columns of each row after READING_COLUMNS. `identity` is the one
        that the flag after them refers to, and `constants` are the values that every row must have from the flag on. `describe_identity` describes how the identity of a
        row, given by its id, differs from another identity.
        """
        self._end, self._identity, self._describe_identity = end, identity, describe_identity
        if further != self._further:
            self._further = further
            self._cache.clear()
        position = 0
        while position < len(rows):
            size = self._take_window(rows, position, constants)
            if size is None:
                size = min(WINDOW_READINGS, len(rows) - position)
                for number in range(position, position + size):
                    self._check_row(rows, number)
            position += size

    @property
    def _identity_index(self) -> int:
        """The position in a row of the flag that its identity is the given one."""
        return ROW_SEQ_INDEX + 1 + len(self._further)

    def finish(self, end: int) -> None:
        """Note the readings up to the checkpoint `end` that have no row, after the last row."""
        self._pass_removed()
        self._end, self.rows_end = end, self.next_seq
        if self.next_seq < end:
            self._gap(self.next_seq, end)
            self.next_seq = end
        for first, last in self._holes:
            self._note("hole", first, last, f"{last - first + 1:,} {'readings' if last > first else 'reading'}")
        self._holes.clear()

    def _take_window(self, rows: list[Row], position: int, constants: tuple[int, ...]) -> int | None:
        """Compare the rows of the next window. Returns their number and moves on, or None if they differ."""
        last = rows[-1][ROW_SEQ_INDEX]
        self._pass_removed()
        until = min(last + 1, self._end, self._next_removed()) if isinstance(last, int) else 0
        if until <= self.next_seq:
            return None
        window = self.expected.window(self.next_seq, until)
        if window.block is None or window.epoch is None or identity_values(window.epoch.identity) != self._identity:
            return None
        size = row_count(window.block)
        window_rows = rows[position : position + size]
        if len(window_rows) != size:
            return None
        ids = [row[0] for row in window_rows]
        if window_rows != expected_rows(window.epoch, window.block, ids, self._further, constants):
            return None
        self.next_seq = window.end
        return size

    # Readings that were removed

    def set_removed(self, removed: Sequence[SeqRange]) -> None:
        """Set the ranges of readings that were removed on record, in order. To be called before each chunk."""
        self._removed = removed
        self._pass_removed()

    def _next_removed(self) -> int:
        """Return the first removed reading from `next_seq` on, a number beyond all if there is none."""
        index = bisect_left(self._removed, (self.next_seq,))
        return self._removed[index][0] if index < len(self._removed) else END_OF_SEQS

    def _pass_removed(self) -> None:
        """Move on behind the removed readings at `next_seq`."""
        while (last := self._removed_with(self.next_seq)) is not None:
            self.next_seq = last + 1

    def _removed_with(self, seq: int) -> int | None:
        """Return the last reading of the removed range that a reading is in, None if it was not removed."""
        index = bisect_right(self._removed, (seq, END_OF_SEQS)) - 1
        last = self._removed[index][1] if index >= 0 else -1
        return last if last >= seq else None

    def _without_removed(self, first: int, end: int) -> Iterator[SeqRange]:
        """Yield the parts of the readings from `first` up to `end` that were not removed, as first and end."""
        for low, high in self._removed[max(0, bisect_right(self._removed, (first,)) - 1) :]:
            if low >= end:
                break
            if first < low:
                yield first, low
            first = max(first, high + 1)
        if first < end:
            yield first, end

    # Row by row

    def _check_row(self, rows: Sequence[Row], number: int) -> None:
        row = rows[number]
        seq = row[ROW_SEQ_INDEX]
        if not isinstance(seq, int) or seq < 0:
            self._note("stray", None, None, f"row {row[0]} has the seq {seq!r}")
        elif seq >= self._end:
            self._note("beyond", seq, seq, f"the checkpoint is at {self._end}")
        elif self._removed_with(seq) is not None:
            self._note("stray", seq, seq, f"row {row[0]} is of a reading that is on record as removed")
        elif seq > self.next_seq and self._is_early(
            seq, rows[number + 1][ROW_SEQ_INDEX] if number + 1 < len(rows) else None
        ):
            self._early.add(seq)
            self._note("order", seq, seq, f"row {row[0]} is before that of {rows[number + 1][ROW_SEQ_INDEX]}")
            self._compare(row, seq, MISPLACED_BLOCK_READINGS)
        else:
            self._accept_row(row, seq)

    def _accept_row(self, row: Row, seq: int) -> None:
        if seq >= self.next_seq:
            self._gap(self.next_seq, seq)
            if seq in self._early:
                self._note("repeat", seq, seq, f"row {row[0]}")
            else:
                self._compare(row, seq, WINDOW_READINGS)
            self._early.discard(seq)
            self.next_seq = seq + 1
        elif self._fill(seq):
            self._note("order", seq, seq, f"row {row[0]} is behind that of {self.next_seq - 1}")
            self._compare(row, seq, MISPLACED_BLOCK_READINGS)
        elif self._expected(seq, MISPLACED_BLOCK_READINGS) == ():
            self._note("stray", seq, seq, f"row {row[0]} is of a reading that is missing")
        else:
            self._note("repeat", seq, seq, f"row {row[0]}")

    def _is_early(self, seq: int, following: Any) -> bool:
        """True if this row is too early, judging by the row after it; else the rows before it are missing."""
        return (
            isinstance(following, int)
            and self.next_seq <= following < seq
            and len(self._early) < MAX_TRACKED_MISPLACED_ROWS
        )

    def _gap(self, first: int, end: int) -> None:
        kept = self._without_removed(first, end)
        for low, high in chain.from_iterable(self.expected.expected_ranges(*part) for part in kept):
            early = sorted(seq for seq in self._early if low <= seq <= high)
            self._early.difference_update(early)
            for before, after in pairwise((low - 1, *early, high + 1)):
                if after - before > 1:
                    self._hole(before + 1, after - 1)

    def _hole(self, first: int, last: int) -> None:
        if self._holes and self._holes[-1][1] == first - 1:
            first = self._holes.pop()[0]
        self._holes.append((first, last))
        if len(self._holes) > MAX_TRACKED_MISPLACED_ROWS:
            first, last = self._holes.pop(0)
            self._note("hole", first, last, f"{last - first + 1:,} readings")

    def _fill(self, seq: int) -> bool:
        """Remove a reading from the holes. False if it was in none."""
        for index, (first, last) in enumerate(self._holes):
            if first <= seq <= last:
                rest = ((first, seq - 1), (seq + 1, last))
                self._holes[index : index + 1] = [hole for hole in rest if hole[0] <= hole[1]]
                return True
        return False

    def _expected(self, seq: int, size: int) -> Row | None:
        """Return the expected row of a reading, () if it has none, None if it is unknown. Computes and caches `size` rows."""
        cached = self._cache.get(size, NO_CACHED_ROWS)
        if seq not in cached.seqs:
            begin = seq if size == WINDOW_READINGS else max(self.expected.epoch_range(seq).first, seq - seq % size)
            window = self.expected.window(begin, min(self._end, begin + size))
            if window.epoch is None or window.block is None:
                return None
            rows = expected_rows(window.epoch, window.block, range(window.block.size), self._further)
            cached = self._cache[size] = CachedRows(
                range(window.first, window.end), {row[ROW_SEQ_INDEX]: row for row in rows}
            )
        return cached.rows.get(seq, ())

    def _compare(self, row: Row, seq: int, size: int) -> None:
        expected = self._expected(seq, size)
        if expected == ():
            self._note("stray", seq, seq, f"row {row[0]} is of a reading that is missing")
        elif expected is not None:
            if row[1 : self._identity_index] != expected[1:]:
                self._note_differences(row, expected, seq)
            self._check_identity(row, seq)

    def _note_differences(self, row: Row, expected: Row, seq: int) -> None:
        by_kind: dict[str, list[str]] = {}
        epoch = self.expected.epoch_range(seq).epoch
        own = {name for name, _ in epoch.identity.attributes} if epoch else set()
        names = (*READING_COLUMNS, *self._further)
        for name, value, must in zip(names, row[1 : self._identity_index], expected[1:], strict=True):
            if value != must:
                kind = "label" if name in LABEL_COLUMNS else "identity" if name in own else "altered"
                by_kind.setdefault(kind, []).append(describe_difference(name, value, must))
        for kind, differences in by_kind.items():
            self._note(kind, seq, seq, "; ".join(differences))

    def _check_identity(self, row: Row, seq: int) -> None:
        epoch = self.expected.epoch_range(seq).epoch
        if epoch is None:
            return
        identity = identity_values(epoch.identity)
        if identity == self._identity and row[self._identity_index] == 1:
            return
        differences = self._describe_identity(row[0], identity)
        if differences:
            self._note("identity", seq, seq, differences)


def describe_difference(name: str, value: object, must: object) -> str:
    """Return the detail of a finding about one column."""
    return f"{name} is {abbreviated_repr(value)}, must be {abbreviated_repr(must)}"


def abbreviated_repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "..."

"""The rows of one sensor in the order in which they were inserted, compared with what they must be.

Whole windows are compared at once; only where one differs is it gone through row by row, to name what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fleet.verify.expected import WINDOW_READINGS, ExpectedSensorData, Row, SeqRange, expected_rows, row_count
from worker.storage.schema import READING_COLUMNS, identity_values

ROW_SEQ_INDEX = 1 + READING_COLUMNS.index("seq")
IDENTITY_MATCHES_INDEX = ROW_SEQ_INDEX + 1
"""Where a row has its sequence number, and whether its identity is the one that was asked for."""

MISPLACED_BLOCK_READINGS = 256
"""Readings that are computed at once for a row that is out of its place."""

MAX_TRACKED_MISPLACED_ROWS = 10_000
"""Rows out of their place that are remembered, of each sensor."""

MAX_VALUE_CHARS = 100
"""Characters of a value that are told."""

LABEL_COLUMNS = {"status_code", "anomaly_flag", "anomaly_type"}
CHECKED_COLUMNS = READING_COLUMNS[:-1]

NoteFinding = Callable[[str, int | None, int | None, str], None]
"""Told of a finding: kind, first and last seq, detail."""


class CachedRows(NamedTuple):
    """The rows of some readings, by sequence number; missing ones have none."""

    seqs: range
    rows: dict[int, Row]


NO_CACHED_ROWS = CachedRows(range(0), {})


class RowChecker:
    """How far the rows of a sensor were followed: `next_seq` is the sequence number after the last one, `rows_end` that after
    the last row that there was."""

    def __init__(self, expected: ExpectedSensorData, note: NoteFinding, begin: int = 0) -> None:
        self.expected, self._note = expected, note
        self.next_seq = self.rows_end = begin
        self._holes: list[SeqRange] = []
        self._early: set[int] = set()
        self._cache: dict[int, CachedRows] = {MISPLACED_BLOCK_READINGS: NO_CACHED_ROWS, WINDOW_READINGS: NO_CACHED_ROWS}

    def check(
        self, rows: list[Row], end: int, identity: Row, constants: tuple[int, ...], differing: Callable[[int, Row], str]
    ) -> None:
        """Go on with `rows`. `end` is the sensor's checkpoint, `identity` the identity that IDENTITY_MATCHES_INDEX is about, `constants`
        what stands in each row from IDENTITY_MATCHES_INDEX on, and `differing` says how a row's identity differs from another."""
        self._end, self._identity, self._differing = end, identity, differing
        place = 0
        while place < len(rows):
            size = self._take_window(rows, place, constants)
            if size is None:
                size = min(WINDOW_READINGS, len(rows) - place)
                for number in range(place, place + size):
                    self._check_row(rows, number)
            place += size

    def finish(self, end: int) -> None:
        """There are no more rows, and the checkpoint is `end`."""
        self._end, self.rows_end = end, self.next_seq
        if self.next_seq < end:
            self._gap(self.next_seq, end)
            self.next_seq = end
        for first, last in self._holes:
            self._note("hole", first, last, f"{last - first + 1:,} {'readings' if last > first else 'reading'}")
        self._holes.clear()

    def _take_window(self, rows: list[Row], place: int, constants: tuple[int, ...]) -> int | None:
        """How many rows the next window has, if they are as they must be; moves on then."""
        last = rows[-1][ROW_SEQ_INDEX]
        until = min(last + 1, self._end) if isinstance(last, int) else 0
        if until <= self.next_seq:
            return None
        window = self.expected.window(self.next_seq, until)
        if window.block is None or window.epoch is None or identity_values(window.epoch.identity) != self._identity:
            return None
        size = row_count(window.block)
        some = rows[place : place + size]
        if len(some) != size:
            return None
        if some != expected_rows(window.epoch, window.block, [row[0] for row in some], *constants):
            return None
        self.next_seq = window.end
        return size

    # Row by row

    def _check_row(self, rows: Sequence[Row], number: int) -> None:
        row = rows[number]
        seq = row[ROW_SEQ_INDEX]
        if not isinstance(seq, int) or seq < 0:
            self._note("stray", None, None, f"row {row[0]} has the seq {seq!r}")
        elif seq >= self._end:
            self._note("beyond", seq, seq, f"the checkpoint is at {self._end}")
        elif seq > self.next_seq and self._is_early(
            seq, rows[number + 1][ROW_SEQ_INDEX] if number + 1 < len(rows) else None
        ):
            self._early.add(seq)
            self._note("order", seq, seq, f"row {row[0]} stands before that of {rows[number + 1][ROW_SEQ_INDEX]}")
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
            self._note("order", seq, seq, f"row {row[0]} stands behind that of {self.next_seq - 1}")
            self._compare(row, seq, MISPLACED_BLOCK_READINGS)
        elif self._expected(seq, MISPLACED_BLOCK_READINGS) == ():
            self._note("stray", seq, seq, f"row {row[0]} is of a reading that is missing")
        else:
            self._note("repeat", seq, seq, f"row {row[0]}")

    def _is_early(self, seq: int, following: Any) -> bool:
        """Whether it is this row that stands at a wrong place, and not the rows before it that are gone."""
        return (
            isinstance(following, int)
            and self.next_seq <= following < seq
            and len(self._early) < MAX_TRACKED_MISPLACED_ROWS
        )

    def _gap(self, first: int, end: int) -> None:
        for low, high in self.expected.expected_ranges(first, end):
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
        """Whether it was missed so far; not any more then."""
        for place, (first, last) in enumerate(self._holes):
            if first <= seq <= last:
                self._holes[place : place + 1] = [
                    part for part in ((first, seq - 1), (seq + 1, last)) if part[0] <= part[1]
                ]
                return True
        return False

    def _expected(self, seq: int, size: int) -> Row | None:
        """The row of that reading; () if it is missing, None if nobody knows. So many around it are kept for then."""
        known = self._cache[size]
        if seq not in known.seqs:
            begin = seq if size == WINDOW_READINGS else max(self.expected.epoch_range(seq).first, seq - seq % size)
            window = self.expected.window(begin, min(self._end, begin + size))
            if window.epoch is None or window.block is None:
                return None
            rows = expected_rows(window.epoch, window.block, range(window.block.size))
            known = self._cache[size] = CachedRows(
                range(window.first, window.end), {row[ROW_SEQ_INDEX]: row for row in rows}
            )
        return known.rows.get(seq, ())

    def _compare(self, row: Row, seq: int, size: int) -> None:
        expected = self._expected(seq, size)
        if expected == ():
            self._note("stray", seq, seq, f"row {row[0]} is of a reading that is missing")
        elif expected is not None:
            if row[1:ROW_SEQ_INDEX] != expected[1:ROW_SEQ_INDEX]:
                self._note_differences(row, expected, seq)
            self._check_identity(row, seq)

    def _note_differences(self, row: Row, expected: Row, seq: int) -> None:
        by_kind: dict[str, list[str]] = {}
        for name, found, right in zip(CHECKED_COLUMNS, row[1:ROW_SEQ_INDEX], expected[1:ROW_SEQ_INDEX], strict=True):
            if found != right:
                kind = "label" if name in LABEL_COLUMNS else "altered"
                by_kind.setdefault(kind, []).append(describe_difference(name, found, right))
        for kind, differences in by_kind.items():
            self._note(kind, seq, seq, "; ".join(differences))

    def _check_identity(self, row: Row, seq: int) -> None:
        epoch = self.expected.epoch_range(seq).epoch
        if epoch is None:
            return
        right = identity_values(epoch.identity)
        if right == self._identity and row[IDENTITY_MATCHES_INDEX] == 1:
            return
        text = self._differing(row[0], right)
        if text:
            self._note("identity", seq, seq, text)


def describe_difference(name: str, found: object, right: object) -> str:
    return f"{name} is {abbreviated_repr(found)}, must be {abbreviated_repr(right)}"


def abbreviated_repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "..."

"""The rows of one sensor in the order in which they were inserted, compared with what they must be.

Whole windows are compared at once; only where one differs is it gone through row by row, to name what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fleet.verification.chronicle import WINDOW, Chronicle, Range, Row, expected_rows, row_count
from worker.schema import READING_COLUMNS, identity_values

SEQ = 1 + READING_COLUMNS.index("seq")
SAME = SEQ + 1
"""Where a row has its sequence number, and whether its identity is the one that was asked for."""

ASTRAY = 256
"""Readings that are computed at once for a row that is out of its place."""

OPEN = 10_000
"""Rows out of their place that are remembered, of each sensor."""

LONGEST = 100
"""Characters of a value that are told."""

LABELS = {"status_code", "anomaly_flag", "anomaly_type"}
COMPARED = READING_COLUMNS[:-1]

Note = Callable[[str, int | None, int | None, str], None]
"""Told of a finding: kind, first and last seq, detail."""


class Known(NamedTuple):
    """The rows of some readings, by sequence number; missing ones have none."""

    seqs: range
    rows: dict[int, Row]


NOTHING = Known(range(0), {})


class Trail:
    """How far the rows of a sensor were followed: `next` is the sequence number after the last one, `reach` that after
    the last row that there was."""

    def __init__(self, chronicle: Chronicle, note: Note, begin: int = 0) -> None:
        self.chronicle, self._note = chronicle, note
        self.next = self.reach = begin
        self._holes: list[Range] = []
        self._early: set[int] = set()
        self._known: dict[int, Known] = {ASTRAY: NOTHING, WINDOW: NOTHING}

    def follow(
        self, rows: list[Row], end: int, asked: Row, constants: tuple[int, ...], differing: Callable[[int, Row], str]
    ) -> None:
        """Go on with `rows`. `end` is the sensor's checkpoint, `asked` the identity that SAME is about, `constants`
        what stands in each row from SAME on, and `differing` says how a row's identity differs from another."""
        self._end, self._asked, self._differing = end, asked, differing
        place = 0
        while place < len(rows):
            size = self._take_window(rows, place, constants)
            if size is None:
                size = min(WINDOW, len(rows) - place)
                for number in range(place, place + size):
                    self._judge(rows, number)
            place += size

    def finish(self, end: int) -> None:
        """There are no more rows, and the checkpoint is `end`."""
        self._end, self.reach = end, self.next
        if self.next < end:
            self._gap(self.next, end)
            self.next = end
        for first, last in self._holes:
            self._note("hole", first, last, f"{last - first + 1:,} {'readings' if last > first else 'reading'}")
        self._holes.clear()

    def _take_window(self, rows: list[Row], place: int, constants: tuple[int, ...]) -> int | None:
        """How many rows the next window has, if they are as they must be; moves on then."""
        last = rows[-1][SEQ]
        until = min(last + 1, self._end) if isinstance(last, int) else 0
        if until <= self.next:
            return None
        window = self.chronicle.window(self.next, until)
        if window.block is None or window.epoch is None or identity_values(window.epoch.identity) != self._asked:
            return None
        size = row_count(window.block)
        some = rows[place : place + size]
        if len(some) != size:
            return None
        if some != expected_rows(window.epoch, window.block, [row[0] for row in some], *constants):
            return None
        self.next = window.end
        return size

    # Row by row

    def _judge(self, rows: Sequence[Row], number: int) -> None:
        row = rows[number]
        seq = row[SEQ]
        if not isinstance(seq, int) or seq < 0:
            self._note("stray", None, None, f"row {row[0]} has the seq {seq!r}")
        elif seq >= self._end:
            self._note("beyond", seq, seq, f"the checkpoint is at {self._end}")
        elif seq > self.next and self._is_early(seq, rows[number + 1][SEQ] if number + 1 < len(rows) else None):
            self._early.add(seq)
            self._note("order", seq, seq, f"row {row[0]} stands before that of {rows[number + 1][SEQ]}")
            self._compare(row, seq, ASTRAY)
        else:
            self._settle(row, seq)

    def _settle(self, row: Row, seq: int) -> None:
        if seq >= self.next:
            self._gap(self.next, seq)
            if seq in self._early:
                self._note("repeat", seq, seq, f"row {row[0]}")
            else:
                self._compare(row, seq, WINDOW)
            self._early.discard(seq)
            self.next = seq + 1
        elif self._fill(seq):
            self._note("order", seq, seq, f"row {row[0]} stands behind that of {self.next - 1}")
            self._compare(row, seq, ASTRAY)
        elif self._expected(seq, ASTRAY) == ():
            self._note("stray", seq, seq, f"row {row[0]} is of a reading that is missing")
        else:
            self._note("repeat", seq, seq, f"row {row[0]}")

    def _is_early(self, seq: int, following: Any) -> bool:
        """Whether it is this row that stands at a wrong place, and not the rows before it that are gone."""
        return isinstance(following, int) and self.next <= following < seq and len(self._early) < OPEN

    def _gap(self, first: int, end: int) -> None:
        for low, high in self.chronicle.lost(first, end):
            early = sorted(seq for seq in self._early if low <= seq <= high)
            self._early.difference_update(early)
            for before, after in pairwise((low - 1, *early, high + 1)):
                if after - before > 1:
                    self._hole(before + 1, after - 1)

    def _hole(self, first: int, last: int) -> None:
        if self._holes and self._holes[-1][1] == first - 1:
            first = self._holes.pop()[0]
        self._holes.append((first, last))
        if len(self._holes) > OPEN:
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
        known = self._known[size]
        if seq not in known.seqs:
            begin = seq if size == WINDOW else max(self.chronicle.stretch(seq).first, seq - seq % size)
            window = self.chronicle.window(begin, min(self._end, begin + size))
            if window.epoch is None or window.block is None:
                return None
            rows = expected_rows(window.epoch, window.block, range(window.block.size))
            known = self._known[size] = Known(range(window.first, window.end), {row[SEQ]: row for row in rows})
        return known.rows.get(seq, ())

    def _compare(self, row: Row, seq: int, size: int) -> None:
        expected = self._expected(seq, size)
        if expected == ():
            self._note("stray", seq, seq, f"row {row[0]} is of a reading that is missing")
        elif expected is not None:
            if row[1:SEQ] != expected[1:SEQ]:
                self._tell(row, expected, seq)
            self._check_identity(row, seq)

    def _tell(self, row: Row, expected: Row, seq: int) -> None:
        told: dict[str, list[str]] = {}
        for name, found, right in zip(COMPARED, row[1:SEQ], expected[1:SEQ], strict=True):
            if found != right:
                kind = "label" if name in LABELS else "altered"
                told.setdefault(kind, []).append(difference(name, found, right))
        for kind, differences in told.items():
            self._note(kind, seq, seq, "; ".join(differences))

    def _check_identity(self, row: Row, seq: int) -> None:
        epoch = self.chronicle.stretch(seq).epoch
        if epoch is None:
            return
        right = identity_values(epoch.identity)
        if right == self._asked and row[SAME] == 1:
            return
        told = self._differing(row[0], right)
        if told:
            self._note("identity", seq, seq, told)


def difference(name: str, found: object, right: object) -> str:
    return f"{name} is {shown(found)}, must be {shown(right)}"


def shown(value: object) -> str:
    told = repr(value)
    return told if len(told) <= LONGEST else told[:LONGEST] + "..."

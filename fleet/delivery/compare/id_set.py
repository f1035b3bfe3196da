"""A set of row ids as a bitmap in pages. Full pages share one object, so consecutive ids take little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

PAGE_IDS = 4096
FULL_PAGE = (1 << PAGE_IDS) - 1
"""The object for every full page: a million consecutive ids take some kilobytes."""


class IdSet:
    """A set of ids."""

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        return bool(self._pages.get(number // PAGE_IDS, 0) >> number % PAGE_IDS & 1)

    def add(self, ids: Iterable[int]) -> list[int]:
        """Add ids; returns those that were in the set already, with repetitions."""
        repeated = []
        page, bits = -1, 0
        for number in ids:
            if number // PAGE_IDS != page:
                self._keep(page, bits)
                page = number // PAGE_IDS
                bits = self._pages.get(page, 0)
            bit = 1 << number % PAGE_IDS
            if bits & bit:
                repeated.append(number)
            bits |= bit
        self._keep(page, bits)
        return repeated

    def add_range(self, first: int, last: int) -> bool:
        """Add consecutive ids. Returns False and adds none if one of them is in the set."""
        spans = list(pages(first, last))
        if any(self._pages.get(page, 0) & bits for page, bits in spans):
            return False
        for page, bits in spans:
            self._keep(page, self._pages.get(page, 0) | bits)
        return True

    def gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The ids from `first` to `last` that are not in the set, as ranges (first, last)."""
        begin: int | None = None
        page = first // PAGE_IDS
        while page <= last // PAGE_IDS:
            bits = self._pages.get(page, 0)
            for low, high, present in bit_runs(bits, page * PAGE_IDS):
                if present and begin is not None:
                    yield from clip(begin, low - 1, first, last)
                begin = None if present else low if begin is None else begin
                if high >= last:
                    break
            page += 1
        if begin is not None:
            yield from clip(begin, last, first, last)

    def _keep(self, page: int, bits: int) -> None:
        if bits:
            self._pages[page] = FULL_PAGE if bits == FULL_PAGE else bits


def pages(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The pages of a range of ids, with its bits in each."""
    for page in range(first // PAGE_IDS, last // PAGE_IDS + 1):
        low, high = (
            max(first, page * PAGE_IDS) - page * PAGE_IDS,
            min(last, page * PAGE_IDS + PAGE_IDS - 1) - page * PAGE_IDS,
        )
        yield page, ((1 << high - low + 1) - 1) << low


def bit_runs(bits: int, offset: int) -> Iterator[tuple[int, int, bool]]:
    """The runs of equal bits of a page, as (first id, last id, bit)."""
    index = 0
    while index < PAGE_IDS:
        present = bool(bits >> index & 1)
        rest = (~bits if present else bits) >> index
        length = min((rest & -rest).bit_length() - 1 if rest else PAGE_IDS, PAGE_IDS - index)
        yield offset + index, offset + index + length - 1, present
        index += length


def clip(low: int, high: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    if max(low, first) <= min(high, last):
        yield max(low, first), min(high, last)


def consecutive(ids: Sequence[int]) -> bool:
    """Check that each id is its predecessor plus 1."""
    return ids[-1] - ids[0] + 1 == len(ids) and list(ids) == list(range(ids[0], ids[-1] + 1))

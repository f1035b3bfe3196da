"""A set of row ids that stays small while most of them are consecutive: a bit each, and whole pages shared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

PAGE_IDS = 4096
FULL_PAGE = (1 << PAGE_IDS) - 1
"""One object for every page that is full: a million consecutive ids take some kilobytes."""


class IdSet:
    """Ids of 0 or more."""

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        return bool(self._pages.get(number // PAGE_IDS, 0) >> number % PAGE_IDS & 1)

    def add(self, ids: Iterable[int]) -> list[int]:
        """Returns those that were there already, each as often as it came again."""
        again = []
        page, bits = -1, 0
        for number in ids:
            if number // PAGE_IDS != page:
                self._keep(page, bits)
                page = number // PAGE_IDS
                bits = self._pages.get(page, 0)
            bit = 1 << number % PAGE_IDS
            if bits & bit:
                again.append(number)
            bits |= bit
        self._keep(page, bits)
        return again

    def add_range(self, first: int, last: int) -> bool:
        """Add consecutive ids; False, and nothing is added, if one of them was there already."""
        spans = list(pages(first, last))
        if any(self._pages.get(page, 0) & bits for page, bits in spans):
            return False
        for page, bits in spans:
            self._keep(page, self._pages.get(page, 0) | bits)
        return True

    def gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The ids from `first` to `last` that are not there, as first and last of consecutive ones."""
        begin: int | None = None
        page = first // PAGE_IDS
        while page <= last // PAGE_IDS:
            bits = self._pages.get(page, 0)
            for low, high, there in bit_runs(bits, page * PAGE_IDS):
                if there and begin is not None:
                    yield from clip(begin, low - 1, first, last)
                begin = None if there else low if begin is None else begin
                if high >= last:
                    break
            page += 1
        if begin is not None:
            yield from clip(begin, last, first, last)

    def _keep(self, page: int, bits: int) -> None:
        if bits:
            self._pages[page] = FULL_PAGE if bits == FULL_PAGE else bits


def pages(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The pages of consecutive ids, with the bits in each."""
    for page in range(first // PAGE_IDS, last // PAGE_IDS + 1):
        low, high = (
            max(first, page * PAGE_IDS) - page * PAGE_IDS,
            min(last, page * PAGE_IDS + PAGE_IDS - 1) - page * PAGE_IDS,
        )
        yield page, ((1 << high - low + 1) - 1) << low


def bit_runs(bits: int, offset: int) -> Iterator[tuple[int, int, bool]]:
    """The consecutive ones and zeros of a page: first, last, which of them."""
    place = 0
    while place < PAGE_IDS:
        there = bool(bits >> place & 1)
        rest = (~bits if there else bits) >> place
        length = min((rest & -rest).bit_length() - 1 if rest else PAGE_IDS, PAGE_IDS - place)
        yield offset + place, offset + place + length - 1, there
        place += length


def clip(low: int, high: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    if max(low, first) <= min(high, last):
        yield max(low, first), min(high, last)


def consecutive(ids: Sequence[int]) -> bool:
    """Whether each is the one before and 1."""
    return ids[-1] - ids[0] + 1 == len(ids) and list(ids) == list(range(ids[0], ids[-1] + 1))

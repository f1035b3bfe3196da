"""What is done to a file that works, so that it is one that nobody thought of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

MUTATIONS = ("value", "value", "value", "key", "twice", "more", "gone", "deeper", "moved")


@dataclass
class Entry:
    """A key of a mapping, or "" for an item of a list, as it is spelled; its value is spelled text or more entries."""

    key: str
    value: str | list[Entry]


def entry_positions(entries: list[Entry]) -> Iterator[tuple[list[Entry], int]]:
    """Where each entry is: the list that has it, and its number there."""
    for number, entry in enumerate(entries):
        yield entries, number
        if isinstance(entry.value, list):
            yield from entry_positions(entry.value)


def mutate_entries(
    draw: st.DrawFn, entries: list[Entry], keys: st.SearchStrategy[str], scalars: st.SearchStrategy[str]
) -> list[Entry]:
    """The entries with one to four things changed."""
    for _ in range(draw(st.integers(1, 4))):
        mutate_entry(draw, entries, keys, scalars)
    return entries


def mutate_entry(
    draw: st.DrawFn, entries: list[Entry], keys: st.SearchStrategy[str], scalars: st.SearchStrategy[str]
) -> None:
    there = list(entry_positions(entries))
    if not there:
        entries.append(Entry(draw(keys), draw(scalars)))
        return
    around, number = draw(st.sampled_from(there))
    entry = around[number]
    match draw(st.sampled_from(MUTATIONS)):
        case "value":
            entry.value = draw(scalars)
        case "key":
            entry.key = draw(keys)
        case "twice":
            around.append(Entry(entry.key, entry.value))
        case "more":
            around.append(Entry(draw(keys), draw(scalars)))
        case "gone":
            del around[number]
        case "deeper":
            entry.value = [Entry(draw(keys), entry.value)]
        case "moved":
            other, place = draw(st.sampled_from(there))
            entry.value = deepcopy(other[place].value)


@st.composite
def corrupted_bytes(draw: st.DrawFn, files: Sequence[Path]) -> bytes:
    """The content of one of the files with a few bytes replaced, put in, taken out or repeated."""
    data = bytearray(draw(st.sampled_from(files)).read_bytes())
    for _ in range(draw(st.integers(1, 6))):
        first = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 3))
        piece = draw(
            st.binary(max_size=3) | st.sampled_from((b"\xef\xbb\xbf", b"\t", b"&a ", b"*a", b"{", b"\r", b"\0"))
        )
        data[first : first + length] = piece * draw(st.sampled_from((1, 1, 1, 500)))
    return bytes(data)

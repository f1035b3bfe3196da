"""What a disk may hold after a crash: a prefix of the operations, and of what was not synced by then any part.

The disk is as bad as SQLite allows for: unsynced writes reach it in any order or not at all, or torn between sectors;
names in a directory are kept in their order, but may lag behind everything else. Of shared memory it has any state.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.process.faults.recorder import Created, Deleted, Mapped, Operation, Synced, Truncated, Written

SECTOR = 512

Crash = Literal["process", "power", "lying disk"]
"""Of a process: all that it wrote is kept. Of a lying disk: a power failure, and no sync ever did anything."""

Files = dict[str, bytes]


@dataclass
class File:
    """What is on the disk, and what was written since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Written | Truncated] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            apply(self.durable, change)
        self.pending.clear()

    def after(self, rng: random.Random, crash: Crash) -> bytes:
        content = bytearray(self.durable)
        for change in self.pending if crash == "process" else surviving_changes(self.pending, rng):
            apply(content, change)
        return bytes(content)


@dataclass
class Entry:
    """A name in the directory: the file it stood for when the directory was synced, and what it did since."""

    durable: int | None = None
    pending: list[int | None] = field(default_factory=list)

    def sync(self) -> None:
        self.durable = self.pending[-1] if self.pending else self.durable
        self.pending.clear()

    def after(self, rng: random.Random, crash: Crash) -> int | None:
        states = [self.durable, *self.pending]
        return states[-1] if crash == "process" else rng.choice(states)


class Disk:
    def __init__(self, crash: Crash) -> None:
        self._crash = crash
        self._files: dict[int, File] = {}
        self._entries: dict[str, Entry] = {}
        self._mapped: dict[str, list[bytes]] = {}

    def perform(self, operation: Operation) -> None:
        match operation:
            case Created(name, number):
                self._files[number] = File()
                self._entries.setdefault(name, Entry()).pending.append(number)
            case Deleted(name, directory):
                self._entries[name].pending.append(None)
                self._sync_directory(directory)
            case Written(number) | Truncated(number):
                self._files[number].pending.append(operation)
            case Mapped(name, data):
                self._mapped.setdefault(name, [b""]).append(data)
            case Synced(number, directory):
                if self._crash != "lying disk":
                    self._files[number].sync()
                    self._sync_directory(directory)

    def _sync_directory(self, wanted: bool) -> None:
        if wanted and self._crash != "lying disk":
            for entry in self._entries.values():
                entry.sync()

    def after(self, rng: random.Random) -> Files:
        """The files that are found when the power is back."""
        numbers = {name: entry.after(rng, self._crash) for name, entry in self._entries.items()}
        files = {
            name: self._files[number].after(rng, self._crash) for name, number in numbers.items() if number is not None
        }
        return files | {name: rng.choice([states[-1], rng.choice(states)]) for name, states in self._mapped.items()}


def crash_states(
    operations: Sequence[Operation], count: int, rng: random.Random, crash: Crash = "power"
) -> Iterator[tuple[int, Files]]:
    """So many states, each with the number of operations before the crash."""
    disk, done = Disk(crash), 0
    for moment in sorted(rng.randint(0, len(operations)) for _ in range(count)):
        for operation in operations[done:moment]:
            disk.perform(operation)
        done = moment
        yield moment, disk.after(rng)


def surviving_changes(pending: Sequence[Written | Truncated], rng: random.Random) -> Iterator[Written | Truncated]:
    """What of the unsynced changes reached the disk: nothing, all, all up to one that is torn, or any."""
    kind = rng.choice(["none", "all", "first", "any", "any"])
    reached = {"none": 0, "all": len(pending), "first": rng.randint(0, len(pending)), "any": 0}[kind]
    yield from pending[:reached]
    if kind == "first" and reached < len(pending):
        yield from torn_writes(pending[reached], rng)
    if kind == "any":
        for change in pending:
            fate = rng.choice(["kept", "dropped", "torn"])
            if fate == "kept":
                yield change
            elif fate == "torn":
                yield from torn_writes(change, rng)


def torn_writes(change: Written | Truncated, rng: random.Random) -> Iterator[Written]:
    """Some of the sectors that it touches. A truncation takes place or does not."""
    if isinstance(change, Truncated):
        return
    begin, end = change.offset, change.offset + len(change.data)
    while begin < end:
        following = min(end, (begin // SECTOR + 1) * SECTOR)
        if rng.random() < 0.5:
            yield Written(change.number, begin, change.data[begin - change.offset : following - change.offset])
        begin = following


def apply(content: bytearray, change: Written | Truncated) -> None:
    if isinstance(change, Truncated):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
    else:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data

"""A file system that writes down what SQLite does to its files, in order: what a power failure can be made of."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import apsw

BASE_VFS = "unix"
"""The file system that does the work. By name: "" would be the default, and that is this one while it records."""

NEW_ENTRY = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
"""The kinds of file after whose creation SQLite's first sync is one of the directory too."""


@dataclass(frozen=True, slots=True)
class Created:
    """A new file, `number`, by that name; each creation has a number of its own."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Written:
    number: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncated:
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """What was written to the file before is on the disk; with `directory`, what was created and deleted too."""

    number: int
    directory: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    name: str
    directory: bool


@dataclass(frozen=True, slots=True)
class Mapped:
    """What the beginning of a file that is changed through memory looked like, by its name."""

    name: str
    data: bytes


Operation = Created | Written | Truncated | Synced | Deleted | Mapped


class Recorder(apsw.VFS):
    """Records every change to the files in `folder` while it is entered: it is SQLite's default file system then.

    The index of the log is memory that processes share, and is seen before each sync only. SQLite trusts in nothing
    that it finds there after a crash, but our own code looks at it.
    """

    serial = itertools.count()

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.operations: list[Operation] = []
        self.numbers: dict[str, int] = {}
        self._next = itertools.count()
        super().__init__(f"recorder-{next(self.serial)}", BASE_VFS, makedefault=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name) if name else None
        if path is None or path.parent.resolve() != self._folder:
            return apsw.VFSFile(BASE_VFS, name, flags)
        new = path.name not in self.numbers  # workers make the empty file that becomes a database themselves
        assert not new or not path.exists() or path.stat().st_size == 0, path
        file = RecordedFile(self, name, flags)
        if new:
            self.numbers[path.name] = next(self._next)
            self.operations.append(Created(path.name, self.numbers[path.name]))
        file.number, file.entry = self.numbers[path.name], new and bool(flags[0] & NEW_ENTRY)
        return file

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(name, syncdir)
        path = Path(name)
        if path.parent.resolve() == self._folder:
            self.operations.append(Deleted(path.name, syncdir))
            self.numbers.pop(path.name, None)

    def record_wal_index(self) -> None:
        for path in self._folder.glob("*-shm"):
            with path.open("rb") as file:
                self.operations.append(Mapped(path.name, file.read(4096)))


class RecordedFile(apsw.VFSFile):
    """`entry`: its entry in the directory is still to be synced, which the first sync of the file does."""

    number: int
    entry: bool

    def __init__(self, recorder: Recorder, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._operations, self._record_wal_index = recorder.operations, recorder.record_wal_index
        super().__init__(BASE_VFS, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._operations.append(Written(self.number, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        self._operations.append(Truncated(self.number, size))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._record_wal_index()
        super().xSync(flags)
        self._operations.append(Synced(self.number, self.entry))
        self.entry = False

"""A directory of batches as a target: `batches:DIR`.

batch_1705234567890123456.json           readings: an array of JSON, or an envelope
_history/batch_1705234567890123456.jsonl   episodes and epochs: a later line replaces an earlier one
.open.jsonl, .open.jsonl.delivered       the open batch, and how far each source is delivered
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.targets.batches.batch_format import Envelope, JsonArray
from fleet.delivery.targets.batches.batched_target import BatchedTarget, BatchFiles, read_batching
from fleet.delivery.targets.batches.readings import BatchReadings
from fleet.delivery.targets.jsonl.readings import read_documents
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.url_options import choice, split_options
from fleet.errors import UserError
from worker.storage.database_files import fsync_directory

SCHEME = "batches:"
OPTIONS = ("size", "period", "envelope")
OPEN_BATCH = ".open.jsonl"
HISTORY_FOLDER = "_history"
DEFAULT_FOLDER = "output"
DEFAULT_PERIOD = "10s"
FILE_NAME = re.compile(r"batch_([0-9]{1,19})\.jsonl?")


class BatchFileNames:
    """The names of the files in a directory."""

    def readings(self, number: int) -> str:
        return f"batch_{number}.json"

    def history(self, number: int) -> str:
        return f"{HISTORY_FOLDER}/batch_{number}.jsonl"


class BatchFolder:
    """A directory as a storage."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, sync and rename it."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_directory(path.parent)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def names(self) -> list[tuple[int, str]]:
        """Return the files with readings and with history, by their numbers."""
        return sorted(
            (int(found[1]), str(path.relative_to(self.path)))
            for path in (*self.path.glob("batch_*.json"), *self.path.glob(f"{HISTORY_FOLDER}/batch_*.jsonl"))
            if (found := FILE_NAME.fullmatch(path.name))
        )


class BatchesTarget(BatchedTarget):
    """A directory of files of JSON."""

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        folder, chosen = folder_and_options(url, "--to", options.environment)
        if (folder.exists() and not folder.is_dir()) or not folder.absolute().parent.is_dir():
            reason = "is no folder" if folder.exists() else f"{folder.absolute().parent} is no folder"
            raise UserError(f"--to: {folder}: {reason}; batches go into one of their own")
        batch_format = Envelope() if choice(chosen, "envelope", ("0", "1"), "--to") == "1" else JsonArray()
        folder = folder.absolute()
        files = BatchFiles(
            f"{SCHEME}{folder}", folder / OPEN_BATCH, BatchFolder(folder), BatchFileNames(), batch_format
        )
        return cls(files, read_batching(chosen, options.environment, DEFAULT_PERIOD), options.record, options.now)

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        if options.table is not None:
            raise UserError("--table: a directory of batches has no tables; sqlite: and postgresql: have")
        folder, _ = folder_and_options(url, "--against", os.environ)
        if not folder.is_dir():
            raise UserError(f"--against: {SCHEME}{folder}: there is no such directory")
        readings = BatchReadings(f"{SCHEME}{folder}", BatchFolder(folder), folder / OPEN_BATCH, options)
        return read_documents(readings, options)


def folder_and_options(url: str, origin: str, environment: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """Return the directory, or that of OUTPUT_DIR, and the options."""
    place, options = split_options(url.removeprefix(SCHEME), origin, OPTIONS)
    return Path(place or environment.get("OUTPUT_DIR") or DEFAULT_FOLDER), options

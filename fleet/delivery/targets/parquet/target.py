"""A directory of Parquet files as a target: `parquet:DIR`. What lies where is told in `fleet.delivery.targets.parquet.files`.

Every reading is in exactly one file, although a batch may come again with other boundaries: a file's name tells which row
ids of which source may be in it, and before a batch is written its readings are looked for in the files that may have them.
Those of an hour only lie in the folder of that hour, so only the folders that the batch goes to are looked into.
"""

from __future__ import annotations

import errno
import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import quote

from fleet.delivery.batch import Batch, Row, SourceDatabase, TableRows
from fleet.delivery.columns import CONTENT_COLUMNS, TypedReadings, typed_readings
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.target import BatchRejected, DeliveryFailed, Receipt, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.parquet import files
from fleet.delivery.targets.parquet.files import IdRange
from fleet.delivery.targets.registry import TargetOptions
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError

# After the module that says what to install where it is missing.
import pyarrow as pa  # isort: skip

TRANSIENT_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}

KnownFiles = dict[str, list[IdRange]]
"""What files of a source there are in the folders that its last batch went to. Of older folders nothing is kept: memory
stays the same, however long the collector runs."""


class ParquetTarget:
    """For several threads, and for several collectors: there is a lock for each source. Who comes after another looks into
    the folders anew."""

    def __init__(self, folder: Path, now: Callable[[], datetime], retry: RetryPolicy | None = None) -> None:
        """Makes nothing yet. UserError if there is something else than a directory."""
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--to: {folder}: is no directory; Parquet files go into one of their own")
        self._folder, self._now, self._retry = folder.absolute(), now, retry or RetryPolicy()
        self.name = f"parquet:{self._folder}"
        self._writer = uuid.uuid4().hex
        self._known_files: dict[str, KnownFiles] = {}

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        folder = url.removeprefix("parquet:")
        if not folder:
            raise UserError("--to: 'parquet:' names no directory: parquet:DIR")
        return cls(Path(folder), options.now, RetryPolicy(stop=options.stop))

    @classmethod
    def read_back(cls, url: str, table: str | None, sensor: str | None) -> DeliveredReadings:
        from fleet.delivery.targets.parquet.readings import ParquetReadings

        if table is not None:
            raise UserError("--table: a directory of Parquet files has no tables; sqlite: and postgresql: have")
        return ParquetReadings(Path(url.removeprefix("parquet:")), sensor)

    def deliver(self, batch: Batch) -> Receipt:
        readings = typed_readings(batch, nul=True)
        try:
            return self._retry.call(lambda: self._deliver(batch, readings))
        except OSError as error:
            raise os_failure(error, self.name) from error
        except (pa.ArrowException, OverflowError) as error:
            raise BatchRejected(f"{self.name}: {error}") from error

    def cursor(self, source: str) -> None:
        """Is not on record here."""

    def close(self) -> None:
        """There is nothing to close between deliveries."""

    def _deliver(self, batch: Batch, readings: TypedReadings) -> Receipt:
        key = batch.source.key
        with files.source_lock(self._folder, batch.source, self._writer) as trusted:
            # What is taken out is put back only when all went well: who knows what is there after an error?
            known = self._known_files.pop(key, {})
            delivery = ParquetDelivery(self._folder, batch.source, self._now(), known if trusted else {})
            delivery.put("_episodes", batch.episodes, files.EPISODES_SCHEMA)
            delivery.put("_epochs", batch.epochs, files.EPOCHS_SCHEMA)
            delivery.take(readings)
            self._known_files[key] = delivery.files_after
        rejected = {**readings.rejected, **delivery.conflicts}
        return Receipt(frozenset(batch.ids) - rejected.keys(), delivery.duplicates, rejected)


@dataclass
class ParquetDelivery:
    """One batch on its way into files, while it is nobody else's turn. `files_after` is what is known of the folders."""

    folder: Path
    source: SourceDatabase
    now: datetime
    known: KnownFiles
    files_after: KnownFiles = field(default_factory=dict)
    duplicates: int = 0
    conflicts: dict[int, str] = field(default_factory=dict)

    @property
    def _arrival(self) -> tuple[str, str]:
        return self.source.key, self.now.astimezone(UTC).isoformat(timespec="microseconds")

    def put(self, folder: str, come: TableRows, schema: object) -> None:
        """Later ones replace earlier ones, by writing the source's file anew."""
        if come.rows:
            path = self.folder / folder / f"{quote(self.source.key, safe='')}.parquet"
            told = files.merge_history(path, come, schema, self._arrival)
            if told is not None:
                files.write_atomically(path, lambda file: files.write_parquet(told, file))

    def take(self, readings: TypedReadings) -> None:
        times = [files.parse_timestamp(str(text)) for text in readings.columns["timestamp"]]
        hours = [files.hour_of(time) for time in times]
        for hour in dict.fromkeys(hours):
            self._take(files.partition_path(hour), readings, times, [own == hour for own in hours])

    def _take(self, home: str, readings: TypedReadings, times: list[datetime | None], here: list[bool]) -> None:
        """Those that belong into that folder; with a crash between two folders, the first is found again."""
        found = self.known[home] if home in self.known else files.id_ranges(self.folder / home, self.source.key)
        ids = readings.columns["source_id"]
        wanted = [int(own) for own, chosen in zip(ids, here, strict=True) if chosen]  # type: ignore[arg-type]
        there: dict[int, Row] = {}
        for span in files.overlapping_ranges(found, wanted):
            try:
                path = self.folder / home / files.file_name(self.source.key, span)
                there |= files.readings_by_id(path, set(wanted))
            except FileNotFoundError:  # its owner has moved it away
                continue
        if there:
            self._compare(readings, there)
            here = [chosen and own not in there for own, chosen in zip(ids, here, strict=True)]
        new = [own for own in wanted if own not in there]
        self.files_after[home] = found
        if new:
            span = IdRange(new[0], new[-1])
            told = files.readings_table(readings, here, times, self._arrival)
            path = self.folder / home / files.file_name(self.source.key, span)
            files.write_atomically(path, lambda file: files.write_parquet(told, file))
            found.append(span)

    def _compare(self, readings: TypedReadings, there: dict[int, Row]) -> None:
        columns = (readings.columns[name] for name in ("source_id", *CONTENT_COLUMNS))
        notes = []
        for own, *values in zip(*columns, strict=True):
            if own not in there:
                continue
            pairs = zip(CONTENT_COLUMNS, values, there[own], strict=True)
            other = [name for name, value, old in pairs if value != old]
            if not other:
                self.duplicates += 1
                continue
            self.conflicts[own] = f"it is here already with another {', '.join(other)}"
            reading = dict(zip(CONTENT_COLUMNS, values, strict=True))
            notes.append({"generation": self.source.key, "source_id": own, "columns": other, "reading": reading})
        if notes:
            self._note(notes)

    def _note(self, notes: list[dict[str, object]]) -> None:
        """Put conflicts on record; the same ones only once."""
        text = "".join(json.dumps(note) + "\n" for note in notes).encode()
        digest = hashlib.blake2b(text, digest_size=8).hexdigest()
        path = self.folder / "_conflicts" / f"{quote(self.source.key, safe='')}.{notes[0]['source_id']}-{digest}.jsonl"
        if not path.exists():
            files.write_atomically(path, lambda file: file.write(text))


def os_failure(error: OSError, name: str) -> DeliveryFailed:
    place = f"{error.filename}: " if error.filename else ""
    message = f"{name}: {place}{error.strerror or error}"
    return TargetUnavailable(message) if error.errno in TRANSIENT_ERRNOS else TargetMisconfigured(message)

"""A directory of Parquet files as a target: `parquet:DIR`. The layout is described in `fleet.delivery.targets.parquet.files`.

Each reading is in exactly one file, although a batch may come again with other boundaries: the name of a file has the
range of its row ids, and before a batch is written, the files with an overlapping range are searched for its readings.
The readings of an hour are only in the folder of that hour, so only the folders that the batch is written to are searched.
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
from fleet.delivery.columns import TypedReadings, content_columns, parse_timestamp, typed_readings
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.target import BatchRejected, DeliveryFailed, Receipt, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.parquet import files
from fleet.delivery.targets.parquet.files import IdRange
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError

# Last: `files` reports a missing extra.
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
"""The files of a source by folder, for the folders of its last batch. Older folders are forgotten to bound the memory."""


class ParquetTarget:
    """A directory of Parquet files. Threads and collectors exclude each other by a lock per source.

    A collector that takes the lock after another one lists the folders again.
    """

    def __init__(self, folder: Path, now: Callable[[], datetime], retry: RetryPolicy | None = None) -> None:
        """Creates nothing yet. UserError if the path is not a directory."""
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
        return cls(
            Path(folder), options.now, RetryPolicy(options.retry_seconds, stop=options.stop, on_retry=options.on_retry)
        )

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        from fleet.delivery.targets.parquet.readings import ParquetReadings

        if options.table is not None:
            raise UserError("--table: a directory of Parquet files has no tables; sqlite: and postgresql: have")
        return ParquetReadings(Path(url.removeprefix("parquet:")), options.sensor)

    def deliver(self, batch: Batch) -> Receipt:
        readings = typed_readings(batch, nul=True)
        try:
            return self._retry.call(lambda: self._deliver(batch, readings))
        except OSError as error:
            raise os_failure(error, self.name) from error
        except (pa.ArrowException, OverflowError) as error:
            raise BatchRejected(f"{self.name}: {error}") from error

    def cursor(self, source: str) -> None:
        """None: files have no record of a cursor."""

    def close(self) -> None:
        """Do nothing: no file stays open between deliveries."""

    def _deliver(self, batch: Batch, readings: TypedReadings) -> Receipt:
        key = batch.source.key
        with files.source_lock(self._folder, batch.source, self._writer) as trusted:
            # Put back only after success: after an error the folders must be listed again.
            known = self._known_files.pop(key, {})
            delivery = ParquetDelivery(self._folder, batch.source, self._now(), known if trusted else {})
            delivery.write_history("_episodes", batch.episodes, files.EPISODES_SCHEMA)
            delivery.write_history("_epochs", batch.epochs, files.EPOCHS_SCHEMA)
            delivery.write_readings(readings)
            self._known_files[key] = delivery.files_after
        rejected = {**readings.rejected, **delivery.conflicts}
        return Receipt(frozenset(batch.ids) - rejected.keys(), delivery.duplicates, rejected)


@dataclass
class ParquetDelivery:
    """The writing of one batch into files, under the lock. `files_after` are the files known afterwards."""

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

    def write_history(self, folder: str, history: TableRows, schema: object) -> None:
        """Write episodes or epochs: they replace earlier ones in the source's file, which is rewritten."""
        if history.rows:
            path = self.folder / folder / f"{quote(self.source.key, safe='')}.parquet"
            table = files.merge_history(path, history, schema, self._arrival)
            if table is not None:
                files.write_atomically(path, lambda file: files.write_parquet(table, file))

    def write_readings(self, readings: TypedReadings) -> None:
        times = [parse_timestamp(str(text)) for text in readings.columns["timestamp"]]
        hours = [files.hour_of(time) for time in times]
        for hour in dict.fromkeys(hours):
            self._write_hour(files.partition_path(hour), readings, times, [one == hour for one in hours])

    def _write_hour(
        self, partition: str, readings: TypedReadings, times: list[datetime | None], chosen: list[bool]
    ) -> None:
        """Write the chosen readings into one folder, without those that are stored already."""
        folder, key = self.folder / partition, self.source.key
        ranges = self.known[partition] if partition in self.known else files.id_ranges(folder, key)
        ids = readings.columns["source_id"]
        wanted = [int(row_id) for row_id, wanted in zip(ids, chosen, strict=True) if wanted]  # type: ignore[arg-type]
        names = content_columns(self.source)
        stored: dict[int, Row] = {}
        for span in files.overlapping_ranges(ranges, wanted):
            try:
                stored |= files.readings_by_id(folder / files.file_name(key, span), set(wanted), names)
            except FileNotFoundError:  # the user has moved it away
                continue
        if stored:
            self._compare(readings, stored)
            chosen = [wanted and row_id not in stored for row_id, wanted in zip(ids, chosen, strict=True)]
        new = [row_id for row_id in wanted if row_id not in stored]
        self.files_after[partition] = ranges
        if new:
            span = IdRange(new[0], new[-1])
            schema = files.readings_schema(self.source.further)
            table = files.readings_table(readings, schema, chosen, times, self._arrival)
            files.write_atomically(folder / files.file_name(key, span), lambda file: files.write_parquet(table, file))
            ranges.append(span)

    def _compare(self, readings: TypedReadings, stored: dict[int, Row]) -> None:
        """Count the readings that are stored already, and note those with other content as conflicts."""
        names = content_columns(self.source)
        columns = (readings.columns[name] for name in ("source_id", *names))
        notes = []
        for row_id, *values in zip(*columns, strict=True):
            if row_id not in stored:
                continue
            pairs = zip(names, values, stored[row_id], strict=True)
            differing = [name for name, value, old in pairs if value != old]
            if not differing:
                self.duplicates += 1
                continue
            self.conflicts[row_id] = f"it is here already with another {', '.join(differing)}"
            reading = dict(zip(names, values, strict=True))
            notes.append({"generation": self.source.key, "source_id": row_id, "columns": differing, "reading": reading})
        if notes:
            self._note(notes)

    def _note(self, notes: list[dict[str, object]]) -> None:
        """Record conflicts; the same conflicts are recorded once."""
        text = "".join(json.dumps(note) + "\n" for note in notes).encode()
        digest = hashlib.blake2b(text, digest_size=8).hexdigest()
        path = self.folder / "_conflicts" / f"{quote(self.source.key, safe='')}.{notes[0]['source_id']}-{digest}.jsonl"
        if not path.exists():
            files.write_atomically(path, lambda file: file.write(text))


def os_failure(error: OSError, name: str) -> DeliveryFailed:
    file = f"{error.filename}: " if error.filename else ""
    message = f"{name}: {file}{error.strerror or error}"
    return TargetUnavailable(message) if error.errno in TRANSIENT_ERRNOS else TargetMisconfigured(message)

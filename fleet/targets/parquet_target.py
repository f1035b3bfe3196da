"""A directory of Parquet files as a target: `parquet:DIR`. What lies where is told in `fleet.targets.parquet_files`.

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
from urllib.parse import quote

from fleet.central.typed_readings import TypedReadings, typed
from fleet.collection.batch import Batch, Row, Source, Table
from fleet.collection.target import Failed, Indigestible, Receipt, Unavailable, Unusable
from fleet.errors import UserError
from fleet.targets import parquet_files as files
from fleet.targets import parquet_tables as tables
from fleet.targets.parquet_files import Span
from fleet.targets.patience import Patience

# After the module that says what to install where it is missing.
import pyarrow as pa  # isort: skip

PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}

Shelf = dict[str, list[Span]]
"""What files of a source there are in the folders that its last batch went to. Of older folders nothing is kept: memory
stays the same, however long the collector runs."""


class ParquetTarget:
    """For several threads, and for several collectors: there is a lock for each source. Who comes after another looks into
    the folders anew."""

    def __init__(self, folder: Path, now: Callable[[], datetime], patience: Patience | None = None) -> None:
        """Makes nothing yet. UserError if there is something else than a directory."""
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--to: {folder}: is no directory; Parquet files go into one of their own")
        self._folder, self._now, self._patience = folder.absolute(), now, patience or Patience()
        self.name = f"parquet:{self._folder}"
        self._writer = uuid.uuid4().hex
        self._shelves: dict[str, Shelf] = {}

    def deliver(self, batch: Batch) -> Receipt:
        readings = typed(batch, nul=True)
        try:
            return self._patience.call(lambda: self._deliver(batch, readings))
        except OSError as error:
            raise failure(error, self.name) from error
        except (pa.ArrowException, OverflowError) as error:
            raise Indigestible(f"{self.name}: {error}") from error

    def cursor(self, source: str) -> None:
        """Is not on record here."""

    def close(self) -> None:
        """There is nothing to close between deliveries."""

    def _deliver(self, batch: Batch, readings: TypedReadings) -> Receipt:
        key = batch.source.key
        with files.turn(self._folder, batch.source, self._writer) as trusted:
            # What is taken out is put back only when all went well: who knows what is there after an error?
            known = self._shelves.pop(key, {})
            delivery = Delivery(self._folder, batch.source, self._now(), known if trusted else {})
            delivery.put("_episodes", batch.episodes, tables.EPISODES)
            delivery.put("_epochs", batch.epochs, tables.EPOCHS)
            delivery.take(readings)
            self._shelves[key] = delivery.shelf
        rejected = {**readings.rejected, **delivery.conflicts}
        return Receipt(frozenset(batch.ids) - rejected.keys(), delivery.duplicates, rejected)


@dataclass
class Delivery:
    """One batch on its way into files, while it is nobody else's turn. `shelf` is what is known of the folders."""

    folder: Path
    source: Source
    now: datetime
    known: Shelf
    shelf: Shelf = field(default_factory=dict)
    duplicates: int = 0
    conflicts: dict[int, str] = field(default_factory=dict)

    @property
    def _arrival(self) -> tuple[str, str]:
        return self.source.key, self.now.astimezone(UTC).isoformat(timespec="microseconds")

    def put(self, folder: str, come: Table, schema: object) -> None:
        """Later ones replace earlier ones, by writing the source's file anew."""
        if come.rows:
            path = self.folder / folder / f"{quote(self.source.key, safe='')}.parquet"
            told = tables.merged(path, come, schema, self._arrival)
            if told is not None:
                files.place(path, lambda file: tables.write(told, file))

    def take(self, readings: TypedReadings) -> None:
        times = [files.moment(str(text)) for text in readings.columns["timestamp"]]
        hours = [files.hour(time) for time in times]
        for hour in dict.fromkeys(hours):
            self._take(files.partition(hour), readings, times, [own == hour for own in hours])

    def _take(self, home: str, readings: TypedReadings, times: list[datetime | None], here: list[bool]) -> None:
        """Those that belong into that folder; with a crash between two folders, the first is found again."""
        found = self.known[home] if home in self.known else files.spans(self.folder / home, self.source.key)
        ids = readings.columns["source_id"]
        wanted = [int(own) for own, chosen in zip(ids, here, strict=True) if chosen]  # type: ignore[arg-type]
        there: dict[int, Row] = {}
        for span in files.overlapping(found, wanted):
            try:
                path = self.folder / home / files.file_name(self.source.key, span)
                there |= tables.readings_by_id(path, set(wanted))
            except FileNotFoundError:  # its owner has moved it away
                continue
        if there:
            self._compare(readings, there)
            here = [chosen and own not in there for own, chosen in zip(ids, here, strict=True)]
        new = [own for own in wanted if own not in there]
        self.shelf[home] = found
        if new:
            span = Span(new[0], new[-1])
            told = tables.table(readings, here, times, self._arrival)
            path = self.folder / home / files.file_name(self.source.key, span)
            files.place(path, lambda file: tables.write(told, file))
            found.append(span)

    def _compare(self, readings: TypedReadings, there: dict[int, Row]) -> None:
        columns = (readings.columns[name] for name in ("source_id", *tables.COMPARED))
        notes = []
        for own, *values in zip(*columns, strict=True):
            if own not in there:
                continue
            pairs = zip(tables.COMPARED, values, there[own], strict=True)
            other = [name for name, value, old in pairs if value != old]
            if not other:
                self.duplicates += 1
                continue
            self.conflicts[own] = f"it is here already with another {', '.join(other)}"
            reading = dict(zip(tables.COMPARED, values, strict=True))
            notes.append({"generation": self.source.key, "source_id": own, "columns": other, "reading": reading})
        if notes:
            self._note(notes)

    def _note(self, notes: list[dict[str, object]]) -> None:
        """Put conflicts on record; the same ones only once."""
        text = "".join(json.dumps(note) + "\n" for note in notes).encode()
        digest = hashlib.blake2b(text, digest_size=8).hexdigest()
        path = self.folder / "_conflicts" / f"{quote(self.source.key, safe='')}.{notes[0]['source_id']}-{digest}.jsonl"
        if not path.exists():
            files.place(path, lambda file: file.write(text))


def failure(error: OSError, name: str) -> Failed:
    place = f"{error.filename}: " if error.filename else ""
    message = f"{name}: {place}{error.strerror or error}"
    return Unavailable(message) if error.errno in PASSING else Unusable(message)

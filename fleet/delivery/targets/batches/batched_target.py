"""A target that collects the readings of all sources into files of a number of readings, or of those of some seconds.

Readings are delivered once they are in the open batch, which is on this machine's disk (`open_batch`). At most one batch is
held there: as long as its file cannot be written, the target takes nothing more.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from fleet.delivery.batch import Batch
from fleet.delivery.json_documents import dump_json, history_documents, unserializable, without_readings
from fleet.delivery.records.record import Record
from fleet.delivery.target import Receipt
from fleet.delivery.targets.batches.batch_format import BatchFormat, BatchMeta, anomalies_of
from fleet.delivery.targets.batches.open_batch import ANOMALY, HISTORY, READING, OpenBatch
from fleet.delivery.targets.jsonl.appended_file import translated_errors
from fleet.delivery.targets.jsonl.target import delivered_ids, with_ids
from fleet.delivery.targets.url_options import option_or_variable, whole_number
from fleet.durations import parse_duration

DEFAULT_SIZE = "1000"


class Storage(Protocol):
    """The place for the files."""

    def put(self, name: str, content: bytes) -> None:
        """Store a file, whole or not at all, in place of an earlier one of the name. Raises DeliveryFailed."""
        ...


class Names(Protocol):
    """The names of the files in a storage, by the number of their batch."""

    def readings(self, number: int) -> str: ...
    def history(self, number: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Batching:
    """When a batch is full: at `size` readings, or `seconds` after its first one. `edge_node` is the name of this machine."""

    size: int
    seconds: float
    edge_node: str


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """The files, and that of the open batch, whose folder is made when it is needed. `name` is that of the target."""

    name: str
    open_batch: Path
    storage: Storage
    names: Names
    format: BatchFormat


class BatchedTarget:
    """The files and their open batch. One process at a time delivers to them."""

    def __init__(self, files: BatchFiles, batching: Batching, record: Record, now: Callable[[], datetime]) -> None:
        self.name, self._path = files.name, files.open_batch
        self._storage, self._names, self._format = files.storage, files.names, files.format
        self._batching, self._record, self._now = batching, record, now
        self._lock = threading.Lock()
        self._opened: OpenBatch | None = None

    def deliver(self, batch: Batch) -> Receipt:
        rejected = unserializable(batch)
        history = b"".join(
            HISTORY + dump_json({"table": table, **document}) + b"\n"
            for table, rows in (("anomaly_episodes", batch.episodes), ("epochs", batch.epochs))
            for document in history_documents(table, rows, batch)
        )
        with self._lock, translated_errors(self._path, f"{self.name}: "):
            opened = self._open()
            self._write_if_full(opened)
            last_id, left_out = delivered_ids(opened.memory, batch.source.key)
            known = {each for each in batch.ids if last_id is not None and each <= last_id and each not in left_out}
            new = without_readings(batch, dict.fromkeys(known, "") | rejected)
            if history:
                opened.add(history, 0, opened.memory, self._now().timestamp())
            if new.rows or rejected:
                self._add_readings(opened, new, batch.ids[-1], frozenset(rejected))
        return Receipt(frozenset(batch.ids) - rejected.keys(), len(known - rejected.keys()), rejected)

    def cursor(self, source: str) -> int:
        with self._lock, translated_errors(self._path, f"{self.name}: "):
            return delivered_ids(self._open().memory, source)[0] or 0

    def write_held(self, *, everything: bool) -> None:
        """Write the open batch into its file if it is full or old enough, or in any case. Raises DeliveryFailed."""
        with self._lock, translated_errors(self._path, f"{self.name}: "):
            opened = self._open()
            if everything and opened.begun is not None:
                self._write(opened)
            else:
                self._write_if_full(opened)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def _open(self) -> OpenBatch:
        if self._opened is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._opened = OpenBatch(self._path)
        return self._opened

    def _add_readings(self, opened: OpenBatch, new: Batch, last_id: int, rejected: frozenset[int]) -> None:
        """Add readings in parts, so that no batch is larger than it should be."""
        now, source = self._now(), new.source.key
        documents, anomalies = self._record.documents(new), anomalies_of(new)
        self._format.complete(documents, anomalies, self._batching.edge_node, now)
        lines = [
            (READING if anomaly is None else ANOMALY) + dump_json(document) + b"\n"
            for document, anomaly in zip(documents, anomalies, strict=True)
        ]
        first = 0
        while True:
            end = min(len(lines), first + self._batching.size - opened.count)
            ids = new.ids[first:end]
            until = last_id if end == len(lines) else ids[-1]
            before, left_out = delivered_ids(opened.memory, source)
            left_out = (left_out | {each for each in rejected if each <= until}) - set(ids)
            memory = with_ids(opened.memory, source, max(until, before or until), left_out)
            opened.add(b"".join(lines[first:end]), end - first, memory, now.timestamp())
            self._write_if_full(opened)
            first = end
            if first == len(lines):
                return

    def _write_if_full(self, opened: OpenBatch) -> None:
        begun = opened.begun
        if begun is not None and (
            opened.sealed is not None
            or opened.count >= self._batching.size
            or self._now().timestamp() >= begun + self._batching.seconds
        ):
            self._write(opened)

    def _write(self, opened: OpenBatch) -> None:
        now = self._now()
        # The last digits keep the names of two machines apart.
        opened.seal(int(now.timestamp()) * 1_000_000_000 + now.microsecond * 1_000 + secrets.randbelow(1_000))
        number, lines = opened.sealed or 0, opened.lines()
        if lines.history:
            self._storage.put(self._names.history(number), b"".join(line + b"\n" for line in lines.history))
        if lines.readings:
            meta = BatchMeta(len(lines.readings), lines.anomalies, number, self._batching.edge_node)
            self._storage.put(self._names.readings(number), self._format.content(lines.readings, meta))
        opened.clear()


def read_batching(options: Mapping[str, str], environment: Mapping[str, str], period: str) -> Batching:
    """Read the options `size` and `period`, or else BATCH_SIZE, BATCH_PERIOD; and EDGE_NODE_ID. `period` is the default."""
    size, size_place = option_or_variable(options, "size", environment, "BATCH_SIZE", DEFAULT_SIZE, "--to")
    seconds, seconds_place = option_or_variable(options, "period", environment, "BATCH_PERIOD", period, "--to")
    edge_node = environment.get("EDGE_NODE_ID") or socket.gethostname()
    return Batching(whole_number(size, size_place), parse_duration(seconds, seconds_place), edge_node)

"""The content of a file with a batch of readings: an array of JSON, or the envelope with its numbers and lineage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from fleet.delivery.batch import Batch
from fleet.delivery.json_documents import dump_json
from fleet.delivery.records.record import Document

PIPELINE = "sensor-batched-enriched"
ENVELOPE_FIELDS = ("lineage", "data_quality")
"""The fields that the envelope adds to a record."""


@dataclass(frozen=True, slots=True)
class BatchMeta:
    """The numbers of a batch. `number` is its time in nanoseconds since 1970, which no other batch has."""

    records: int
    anomalies: int
    number: int
    edge_node: str


class BatchFormat(Protocol):
    """A format of files. To add one, implement it and give it to a `BatchedTarget`."""

    @property
    def suffix(self) -> str:
        """The suffix of the files."""
        ...

    def complete(
        self, documents: Sequence[Document], anomalies: Sequence[str | None], edge_node: str, now: datetime
    ) -> None:
        """Add to the documents what the format has beside the record. `anomalies` has the type of each reading's anomaly."""
        ...

    def content(self, lines: Sequence[bytes], meta: BatchMeta) -> bytes:
        """Return the content of a file; the documents are lines of JSON."""
        ...


class PlainRecords:
    """Formats that add nothing to the records."""

    def complete(
        self, documents: Sequence[Document], anomalies: Sequence[str | None], edge_node: str, now: datetime
    ) -> None:
        """Add nothing."""


class JsonArray(PlainRecords):
    """An array of the records."""

    suffix = ".json"

    def content(self, lines: Sequence[bytes], meta: BatchMeta) -> bytes:
        return b"[" + b",\n".join(lines) + b"]\n"


class Envelope:
    """An object with `batch_meta` and the records, each with its `lineage` and `data_quality`."""

    suffix = ".json"

    def complete(
        self, documents: Sequence[Document], anomalies: Sequence[str | None], edge_node: str, now: datetime
    ) -> None:
        at = utc_text(now)
        for document, anomaly in zip(documents, anomalies, strict=True):
            document["lineage"] = {"edge_node": edge_node, "pipeline": PIPELINE, "ingested_at": at}
            document["data_quality"] = {
                "is_anomaly": anomaly is not None,
                "anomaly_reasons": [anomaly] if anomaly else [],
                "validated": True,
            }

    def content(self, lines: Sequence[bytes], meta: BatchMeta) -> bytes:
        numbers = {
            "record_count": meta.records,
            "anomaly_count": meta.anomalies,
            "anomaly_rate_pct": round(100 * meta.anomalies / meta.records),
            "batch_time": utc_text(datetime.fromtimestamp(meta.number / 1e9, UTC)),
            "edge_node": meta.edge_node,
            "pipeline": PIPELINE,
        }
        return b'{"batch_meta":' + dump_json(numbers) + b',\n"records":[' + b",\n".join(lines) + b"]}\n"


def utc_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def anomalies_of(batch: Batch) -> list[str | None]:
    """Return the type of the anomaly of each reading; empty if it is an anomaly of an unknown type, None if it is none."""
    columns = batch.source.columns
    if "anomaly_flag" not in columns:
        return [None] * len(batch.rows)
    flag, name = columns.index("anomaly_flag"), columns.index("anomaly_type") if "anomaly_type" in columns else None
    return [(str(row[name] or "") if name is not None else "") if row[flag] == 1 else None for row in batch.rows]

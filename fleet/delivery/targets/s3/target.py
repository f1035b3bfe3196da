"""A bucket as a target: `s3://BUCKET/PREFIX`. The objects are batches of the readings of all sensors.

    PREFIX/2024/01/14/HOST_1705234567890123456.json   readings; also .jsonl.gz or .parquet
    PREFIX/_history/HOST_1705234567890123456.jsonl    episodes and epochs: a later line replaces an earlier one

The open batch and how far each source is delivered are in the folder of the collector's records. The key of an object is
settled before it is sent, so an upload that is tried again, also by another process, leaves one object.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Self

from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.target import DeliveryFailed
from fleet.delivery.targets.batches.batch_format import BatchFormat, Envelope, JsonArray
from fleet.delivery.targets.batches.batched_target import BatchedTarget, BatchFiles, read_batching
from fleet.delivery.targets.batches.columnar import ParquetTable
from fleet.delivery.targets.batches.compressed_lines import CompressedLines
from fleet.delivery.targets.batches.readings import BatchReadings
from fleet.delivery.targets.jsonl.readings import read_documents
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryPolicy
from fleet.delivery.targets.s3.address import BucketAddress, parse_bucket
from fleet.delivery.targets.s3.bucket import Bucket
from fleet.delivery.targets.url_options import choice
from fleet.errors import UserError

DEFAULT_PERIOD = "60s"
FORMATS = ("batches", "jsonl.gz", "parquet")
READINGS_KEY = re.compile(r"\d{4}/\d\d/\d\d/[^/]+_(\d{1,19})\.(json|jsonl\.gz|parquet)", re.ASCII)
HISTORY_KEY = re.compile(r"_history/[^/]+_(\d{1,19})\.jsonl", re.ASCII)


class ObjectNames:
    """The keys below the prefix, by day (UTC) and machine."""

    def __init__(self, edge_node: str, suffix: str) -> None:
        self._edge_node, self._suffix = edge_node.replace("/", "_"), suffix

    def readings(self, number: int) -> str:
        day = datetime.fromtimestamp(number // 1_000_000_000, UTC)
        return f"{day:%Y/%m/%d}/{self._edge_node}_{number}{self._suffix}"

    def history(self, number: int) -> str:
        return f"_history/{self._edge_node}_{number}.jsonl"


class S3Target(BatchedTarget):
    """Objects in a bucket."""

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        address, chosen = parse_bucket(url, "--to", options.environment)
        batching = read_batching(chosen, options.environment, DEFAULT_PERIOD)
        batch_format = chosen_format(chosen)
        bucket = Bucket(
            address, RetryPolicy(options.retry_seconds, stop=options.stop, on_retry=options.on_retry), options.now
        )
        files = BatchFiles(
            address.name,
            open_batch_path(options.folder, address),
            bucket,
            ObjectNames(batching.edge_node, batch_format.suffix),
            batch_format,
        )
        return cls(files, batching, options.record, options.now)

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        if options.table is not None:
            raise UserError("--table: a bucket has no tables; sqlite: and postgresql: have")
        address, _ = parse_bucket(url, "--against", os.environ)
        storage = ReadableBucket(Bucket(address, RetryPolicy(), lambda: datetime.now(UTC)))
        readings = BatchReadings(address.name, storage, open_batch_path(options.folder, address), options)
        return read_documents(readings, options)


class ReadableBucket:
    """A bucket that is read back."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def read(self, name: str) -> bytes:
        try:
            return self._bucket.read(name)
        except DeliveryFailed as error:
            raise UserError(f"--against: {error}") from error

    def names(self) -> list[tuple[int, str]]:
        try:
            keys = list(self._bucket.list())
        except DeliveryFailed as error:
            raise UserError(f"--against: {error}") from error
        return sorted(
            (int(found[1]), key) for key in keys if (found := READINGS_KEY.fullmatch(key) or HISTORY_KEY.fullmatch(key))
        )


def chosen_format(chosen: dict[str, str]) -> BatchFormat:
    name, envelope = choice(chosen, "format", FORMATS, "--to"), choice(chosen, "envelope", ("0", "1"), "--to")
    if name != "batches":
        if envelope == "1":
            raise UserError(f"--to: envelope goes with format=batches, not with format={name}")
        return CompressedLines() if name == "jsonl.gz" else ParquetTable()
    return Envelope() if envelope == "1" else JsonArray()


def open_batch_path(folder: Path, address: BucketAddress) -> Path:
    return folder / f"s3-{blake2b(address.name.encode(), digest_size=8).hexdigest()}.jsonl"

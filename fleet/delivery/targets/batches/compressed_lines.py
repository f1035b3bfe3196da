"""The content of a file with a batch of readings: compressed lines of JSON."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from fleet.delivery.targets.batches.batch_format import BatchMeta, PlainRecords
from fleet.delivery.targets.jsonl.appended_file import GZIP_LEVEL


class CompressedLines(PlainRecords):
    """A line for each record."""

    suffix = ".jsonl.gz"

    def content(self, lines: Sequence[bytes], meta: BatchMeta) -> bytes:
        return gzip.compress(b"".join(line + b"\n" for line in lines), GZIP_LEVEL, mtime=0)

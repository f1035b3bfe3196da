"""A folder of Parquet files that tests write to, and what is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyarrow import dataset

from fleet.delivery.targets.parquet.target import ParquetTarget
from fleet.delivery.targets.retry import RetryPolicy

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
HOUR_9, HOUR_10 = "date=2026-01-01/hour=09", "date=2026-01-01/hour=10"
"""Where the readings up to the tenth of `samples` belong, and the later ones."""


def target(folder: Path, retry: RetryPolicy | None = None) -> ParquetTarget:
    return ParquetTarget(folder, lambda: NOW, retry)


def rows(folder: Path) -> list[dict[str, Any]]:
    """All readings, as everybody reads such a directory."""
    found = dataset.dataset(folder, format="parquet", partitioning="hive").to_table()
    return sorted(found.to_pylist(), key=lambda row: (row["generation"], row["source_id"]))


def ids(folder: Path) -> list[int]:
    return [row["source_id"] for row in rows(folder)]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))

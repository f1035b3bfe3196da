"""Tables of readings as rows, as a database has them."""

from __future__ import annotations

from typing import Any

from fleet.history.table import ReadingTable, TableColumn
from worker.readings.attributes import AttributeColumn
from worker.schedule import format_times


def plain(values: TableColumn | None, count: int) -> list[Any]:
    if values is None:
        return [None] * count
    listed = list(values) if isinstance(values, AttributeColumn) else values.tolist()
    return [None if value != value else value for value in listed]  # noqa: PLR0124 - NaN


def rows_of(table: ReadingTable, names: list[str]) -> list[dict[str, Any]]:
    columns = {name: plain(table.columns.get(name), len(table)) for name in names}
    columns["timestamp"] = format_times(table.times)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]

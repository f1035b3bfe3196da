"""Files in every format have the rows of the tables, whatever these are cut into."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fleet.history.formats.file_format import TIME_FORMATS, TimeFormat, whole_file
from fleet.history.formats.registry import FORMAT_NAMES, FormatName, file_format
from fleet.history.table import ReadingSchema, ReadingTable, reading_schema, table_of_block
from tests.fleet.history.rows import rows_of
from tests.fleet.history.test_table import made
from worker.readings.attributes import AttributeColumn

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def tables() -> tuple[ReadingSchema, list[ReadingTable], list[dict[str, Any]]]:
    """Readings of two kinds with missing ones, their schema, and the same as rows."""
    parts, behaviours = [], []
    for kind, location in (("pipeline", 'Köln, "DE"'), ("environmental_monitoring", "")):
        identity, settings, generator, block = made(kind)
        identity = replace(identity, location=location)
        behaviours.append((identity, settings))
        parts.append(table_of_block(block, identity, settings, generator.schedule, keep_missing=True))
    schema = reading_schema(behaviours)
    return schema, parts, [row for part in parts for row in rows_of(part, list(schema))]


def content(
    name: FormatName, schema: ReadingSchema, tables: Sequence[ReadingTable], times: TimeFormat | None = None
) -> bytes:
    file = io.BytesIO()
    writer = file_format(name).writer(file, schema, times or file_format(name).default_times)
    for table in tables:
        writer.write(table)
    writer.finish()
    return file.getvalue()


def typed(schema: ReadingSchema, row: dict[str, str]) -> dict[str, Any]:
    """The values of a row of CSV by the types of their columns; an empty text stands in quotes, and NULL does not."""
    how = {"REAL": float, "INTEGER": int, "TEXT": str, "TIME": str}
    return {name: how[schema[name]](value) if value else None for name, value in row.items()}


def read(name: FormatName, written: bytes, schema: ReadingSchema) -> list[dict[str, Any]]:
    if name == "csv":
        return [typed(schema, row) for row in csv.DictReader(io.StringIO(written.decode(), newline=""))]
    if name == "jsonl":
        return [json.loads(line) for line in written.splitlines()]
    source = pa.BufferReader(written)
    read_table = parquet.read_table(source) if name == "parquet" else pa.ipc.open_file(source).read_all()
    rows: list[dict[str, Any]] = read_table.to_pylist()
    return rows


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_file_has_all_values(name: FormatName, tables: Any) -> None:
    schema, parts, rows = tables

    found = read(name, content(name, schema, parts, "text"), schema)

    assert list(found[0]) == list(schema)
    expected = [{**row, "location": row["location"] or None} for row in rows] if name == "csv" else rows
    assert found == expected


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_bytes_do_not_depend_on_how_tables_are_cut(
    name: FormatName, tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, parts, rows = tables
    monkeypatch.setattr(file_format(name).writer, "rows_per_group", 300, raising=False)
    cut = [part.chosen(slice(begin, begin + 77)) for part in parts for begin in range(0, len(part), 77)]
    # Other tables of the same values: with values that no reading has, and in another order.
    others = [
        ReadingTable(
            {
                column: AttributeColumn(("unused", *values.table), values.codes + 1)
                if isinstance(values, AttributeColumn) and schema[column] == "TEXT"
                else values
                for column, values in part.columns.items()
            }
        )
        for part in cut
    ]

    written = content(name, schema, parts)

    assert written == content(name, schema, cut) == content(name, schema, others)
    assert len(read(name, written, schema)) == len(rows)


@pytest.mark.parametrize("times", TIME_FORMATS)
@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_times_are_written_as_they_are_asked_for(name: FormatName, times: TimeFormat, tables: Any) -> None:
    _, parts, rows = tables
    schema: ReadingSchema = {"timestamp": "TIME"}

    found = [row["timestamp"] for row in read(name, content(name, schema, parts, times), {"timestamp": "TEXT"})]

    expected = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    if times in ("text", "timestamp"):
        native = [datetime.fromisoformat(time) if isinstance(time, str) else time for time in found]
        assert native == expected
        assert isinstance(found[0], str) == (times == "text" or name in ("csv", "jsonl"))
    else:
        ticks = {"s": 1_000_000, "ms": 1000, "us": 1}[times]
        since = [(time - EPOCH) // timedelta.resolution for time in expected]
        assert [float(time) for time in found] == [each / ticks if times == "s" else each // ticks for each in since]


@pytest.mark.parametrize("value", [1e300, 1e-7, 123456789.123456, -0.25, 0.0, float("nan"), 1e9, -4097.5])
def test_numbers_are_written_exactly(value: float) -> None:
    table = ReadingTable({"timestamp": np.zeros(3, np.int64), "x": np.array([22.5, value, -1.25])})
    schema: ReadingSchema = {"timestamp": "TIME", "x": "REAL"}

    for name in FORMAT_NAMES:
        found = [row["x"] for row in read(name, content(name, schema, [table]), schema)]
        assert found == [22.5, None if np.isnan(value) else value, -1.25], name


def test_other_programs_read_the_same_without_an_option(tables: Any, tmp_path: Path) -> None:
    schema, parts, rows = tables
    path = str(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(content("parquet", schema, parts))

    arrow = parquet.read_table(path)
    pandas, polars, duckdb = (pytest.importorskip(name) for name in ("pandas", "polars", "duckdb"))
    frame, other = pandas.read_parquet(path), polars.read_parquet(path)
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")

    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert other["timestamp"].dtype == polars.Datetime("us", "UTC")
    expected = [{**row, "timestamp": datetime.fromisoformat(row["timestamp"])} for row in rows]
    assert arrow.to_pylist() == expected
    assert other.to_dicts() == expected
    found = frame.astype(object).where(frame.notna(), None)
    assert found.to_dict("records") == expected
    times = database.sql(f"SELECT epoch_us(timestamp) FROM '{path}'").fetchall()
    assert [time for (time,) in times] == [(row["timestamp"] - EPOCH) // timedelta.resolution for row in expected]
    names = ", ".join(f'"{name}"' for name in schema if name != "timestamp")
    listed = database.sql(f"SELECT {names} FROM '{path}'").fetchall()
    assert [*map(list, listed)] == [[row[name] for name in schema if name != "timestamp"] for row in expected]
    database.close()


@pytest.mark.parametrize("name", ["csv", "jsonl", "arrow"])
def test_polars_reads_the_other_formats(name: FormatName, tables: Any) -> None:
    polars = pytest.importorskip("polars")
    schema, parts, rows = tables
    source = io.BytesIO(content(name, schema, parts))

    if name == "arrow":
        frame = polars.read_ipc(source)
    else:
        read_text = polars.read_csv if name == "csv" else polars.read_ndjson
        frame = read_text(source, infer_schema_length=None)

    assert {*frame.columns} == {*schema}  # polars sorts the keys of JSON
    for column in ("flow_rate", "temperature", "seq", "anomaly_type", "pipeline_id"):
        assert frame[column].to_list() == [row[column] for row in rows]


def test_a_file_that_is_not_finished_has_no_name(tmp_path: Path) -> None:
    def write() -> None:
        with whole_file(tmp_path / "x.csv") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()

    assert [*tmp_path.iterdir()] == []
    with whole_file(tmp_path / "x.csv") as file:
        file.write(b"whole")
        assert not (tmp_path / "x.csv").exists()
    assert [*tmp_path.iterdir()] == [tmp_path / "x.csv"]

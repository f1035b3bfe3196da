"""Columns of readings have what a worker stores of them, by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleet.history.arrow_tables import arrow_batch, time_text_array
from fleet.history.table import concatenated, reading_schema, table_of_block
from tests.fleet.history.rows import plain, rows_of
from tests.fleet.mixed import ATTRIBUTES, KINDS
from worker.readings.generator import MISSING_DATA_INDEX, Block, SignalGenerator
from worker.spec import AnomalySpec, Identity, Settings
from worker.storage.schema import (
    IDENTITY_COLUMNS,
    READING_COLUMNS,
    further_identity_columns,
    further_identity_values,
    further_reading_columns,
    identity_values,
)
from worker.storage.transactions import reading_rows

START_US = 1_767_225_600_000_000
MISSING = AnomalySpec("missing_data", 0.1, 7, "readings")


def made(kind: str, first: int = 0, count: int = 500) -> tuple[Identity, Settings, SignalGenerator, Block]:
    settings = replace(KINDS[kind], anomalies=(*KINDS[kind].anomalies, MISSING), jitter=0.3)
    identity = Identity("ABC_000001", latitude=52.5, model="M-1", attributes=ATTRIBUTES.get(kind, ()))
    generator = SignalGenerator(7, identity, settings, 0, START_US)
    return identity, settings, generator, generator.block(first, count)


def stored_rows(identity: Identity, settings: Settings, block: Block) -> list[dict[str, Any]]:
    """The rows that a worker writes."""
    names = (*READING_COLUMNS, *(column.name for column in further_reading_columns(settings)))
    constants = dict(zip(IDENTITY_COLUMNS, identity_values(identity), strict=True))
    constants |= zip(
        (column.name for column in further_identity_columns(identity)), further_identity_values(identity), strict=True
    )
    rows = (dict(zip(names, row, strict=True)) for row in reading_rows(settings, block))
    return [{**constants, **row} for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_has_the_rows_that_a_worker_stores(kind: str) -> None:
    identity, settings, generator, block = made(kind)
    assert MISSING_DATA_INDEX in block.kinds

    table = table_of_block(block, identity, settings, generator.schedule)
    schema = reading_schema([(identity, settings)])
    expected = stored_rows(identity, settings, block)

    assert sorted(schema) == sorted(expected[0])
    assert rows_of(table, list(expected[0])) == expected
    arrow = arrow_batch(table, schema)
    assert arrow.schema.names == list(schema)
    listed = arrow.set_column(0, "timestamp", time_text_array(table.times)).to_pylist()
    assert listed == [{name: row[name] for name in schema} for row in expected]


def test_missing_readings_are_kept_when_due_and_otherwise_null() -> None:
    identity, settings, generator, block = made("pipeline")

    table = table_of_block(block, identity, settings, generator.schedule, keep_missing=True)
    without = table_of_block(block, identity, settings, generator.schedule)

    missing = block.kinds == MISSING_DATA_INDEX
    assert table.missing is not None
    assert table.missing.tolist() == missing.tolist()
    assert table.seqs.tolist() == list(range(500))
    assert table.times[missing].tolist() == generator.schedule.times(0, 500)[missing].tolist()
    assert (np.diff(table.times) > 0).all()
    kept = rows_of(table, list(table.columns))
    assert [row for row, each in zip(kept, missing, strict=True) if not each] == rows_of(without, list(table.columns))
    lost = kept[int(np.flatnonzero(missing)[0])]
    assert (lost["anomaly_type"], lost["anomaly_flag"], lost["model"]) == ("missing_data", 1, "M-1")
    assert {lost["flow_rate"], lost["status"], lost["alert_level"]} == {None}


def test_tables_are_joined_also_those_of_other_settings() -> None:
    parts = []
    for first in (0, 200):
        identity, settings, generator, block = made("pipeline", first, 200)
        parts.append(table_of_block(block, identity, settings, generator.schedule))
    identity, settings, generator, block = made("people_counter", 400, 100)
    parts.append(table_of_block(block, replace(identity, model="M-2"), settings, generator.schedule))

    table = concatenated(parts)

    names = list(table.columns)
    assert rows_of(table, names) == [row for part in parts for row in rows_of(part, names)]
    schema = reading_schema([(made("pipeline")[0], made("pipeline")[1]), (identity, settings)])
    assert arrow_batch(table, schema).column("model").to_pylist() == plain(table.columns["model"], len(table))
    assert arrow_batch(table, schema).column("alert_level").to_pylist() == plain(
        table.columns["alert_level"], len(table)
    )

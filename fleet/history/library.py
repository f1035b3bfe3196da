"""Readings in a notebook: `read` takes them from a data directory, `Fleet` computes them from a config. No process is started.

from fleet import Fleet, read

frame = read("data", start="2026-01-01T12:00:00Z").to_pandas()
frame = Fleet(replicas=5, seed=42).read(start="2026-01-01", end="2026-01-02").to_polars()
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fleet.errors import UserError
from fleet.history.selection import HistoryPart, Selection, chosen_schema, full_schema, measured_names, selected_parts
from fleet.history.side_tables import side_tables, table_of_rows
from fleet.history.source import SensorHistory
from fleet.history.stages import Holder, real_numbers
from fleet.history.table import ReadingColumnType, ReadingSchema, ReadingTable, TableColumn, concatenated, merged
from worker.readings.attributes import AttributeColumn
from worker.schedule import SECOND_US

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped, unused-ignore]
    import polars as pl  # type: ignore[import-not-found, unused-ignore]

    from fleet.history.rows import Missing

DEFAULT_START = "2026-01-01T00:00:00Z"
DEFAULT_SECONDS = 3600

Moment = str | datetime | None


class Table:
    """A table by column. `columns` are its names, in their order."""

    def __init__(self, tables: Sequence[ReadingTable], schema: ReadingSchema) -> None:
        self._tables, self._schema = tables, schema

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._schema)

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} rows, {len(self.columns)} columns>"

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return a column as an array of numpy: times as datetime64[us] in UTC, numbers with NaN for NULL, whole numbers as
        int64 if there is no NULL among them, texts as objects with None."""
        if name not in self._schema:
            raise KeyError(f"{name!r} is not one of {', '.join(self._schema)}")
        parts = [column_values(table.columns.get(name), self._schema[name], len(table)) for table in self._tables]
        return np.concatenate(parts) if parts else column_values(None, self._schema[name], 0)

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """Return all columns as arrays, by name."""
        return {name: self[name] for name in self._schema}

    def to_arrow(self) -> Any:
        """Return a table of pyarrow, with plain texts. UserError if it is not installed."""
        from fleet.history.arrow_tables import arrow_batch, arrow_schema  # first: it reports a missing extra

        import pyarrow as pa  # isort: skip

        schema = arrow_schema(self._schema)
        table = pa.Table.from_batches([arrow_batch(each, self._schema) for each in self._tables], schema)
        plain = [each.with_type(pa.string()) if pa.types.is_dictionary(each.type) else each for each in schema]
        return table.cast(pa.schema(plain))

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame of pandas, times in UTC. UserError if it is not installed."""
        pandas = needed("pandas")
        frame: pd.DataFrame = pandas.DataFrame(self.to_numpy(), copy=False)
        for name, kind in self._schema.items():
            if kind == "TIME":
                frame[name] = frame[name].dt.tz_localize("UTC")
            elif kind == "TEXT":
                frame[name] = frame[name].astype("str").where(frame[name].notna())
        return frame

    def to_polars(self) -> pl.DataFrame:
        """Return a frame of polars, times in UTC. UserError if it is not installed."""
        polars = needed("polars")
        types = {"TIME": polars.Datetime("us"), "REAL": polars.Float64, "INTEGER": polars.Int64, "TEXT": polars.String}
        series = []
        for name, kind in self._schema.items():
            values = self[name]
            if kind == "TEXT":
                column = polars.Series(name, values.tolist(), polars.String)
            else:
                column = polars.Series(name, values, nan_to_null=True).cast(types[kind])
            series.append(column.dt.replace_time_zone("UTC") if kind == "TIME" else column)
        frame: pl.DataFrame = polars.DataFrame(series)
        return frame


class Readings(Table):
    """Readings of sensors, one sensor after the other, each in the order of its sequence numbers. The label of a reading is its
    `anomaly_type`, NULL for a healthy one."""

    def __init__(self, parts: Sequence[HistoryPart], schema: ReadingSchema, missing: Missing) -> None:
        self._parts = parts
        super().__init__([*tables_of(parts, schema, missing)], schema)

    @cached_property
    def episodes(self) -> Table:
        """The anomalies: sensor, type, channel, and the first and the last reading of each."""
        return self._side_table("episodes")

    @cached_property
    def epochs(self) -> Table:
        """The settings of each sensor, and since when they hold."""
        return self._side_table("epochs")

    @cached_property
    def sensors(self) -> Table:
        """The identities of the sensors, and their channels with units."""
        return self._side_table("identities")

    def _side_table(self, name: str) -> Table:
        table = next(table for table in side_tables(self._parts) if table.name == name)
        rows = [row for part in self._parts for row in table.rows(part)]
        return Table([table_of_rows(table.schema, rows)], table.schema)


def read(
    data: str | Path,
    *,
    sensors: str | Iterable[str] | None = None,
    kinds: str | Iterable[str] | None = None,
    start: Moment = None,
    end: Moment = None,
    columns: Iterable[str] | None = None,
    missing: Missing = "omit",
) -> Readings:
    """Return readings of a data directory; a fleet may be writing to it.

    All sensors and kinds are meant unless they are named, by ids and names of kinds. `start` and `end` are when readings were
    due, as text such as 2026-01-01T12:00:00Z or datetimes, UTC without a zone; the end is excluded. `columns` are in addition
    to `timestamp` and `sensor_id`. Readings that are missing are left out, or rows of NULL with "null", or of the values before
    with "held". UserError, in one line, if there are no such readings.
    """
    from fleet.history.stored import read_histories

    selection = selection_of(sensors, kinds, start, end, columns)
    return readings_of(read_histories(Path(data)), selection, missing)


class Fleet:
    """The sensors of a config, as `fleet up` would run them. Each call of `read` computes readings; nothing is kept, no file is
    written.

    `config` is a file or the name of a packaged one, such as "chaos-test". The other arguments are those of `fleet up`. Without
    a seed, here or in the config, one is drawn; it is `seed`. Without a start, the readings begin with the year 2026.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        *,
        replicas: int | None = None,
        seed: int | None = None,
        rate: str | float | None = None,
        kind: str | Mapping[str, float] | None = None,
        start: Moment = None,
    ) -> None:
        from fleet.config.config import SourcedValue, load_config

        overrides: dict[str, object] = {}
        if replicas is not None:
            overrides["replicas.count"] = SourcedValue(replicas, "replicas")
        if seed is not None:
            overrides["simulation.seed"] = SourcedValue(seed, "seed")
        if rate is not None:
            overrides["simulation.readings_per_second"] = SourcedValue(str(rate), "rate")
        if kind is not None:
            kinds = {kind: "1"} if isinstance(kind, str) else {name: str(weight) for name, weight in kind.items()}
            overrides["sensor.type"] = SourcedValue(next(iter(kinds), ""), "kind")
            overrides["replicas.kinds"] = SourcedValue(kinds, "kind")
        loaded = load_config(config_path(config), {}, overrides)
        self.seed: int = loaded.simulation.seed if loaded.simulation.seed is not None else drawn_seed()
        self.start_us = microseconds(start, "start")
        if self.start_us is None:
            self.start_us = microseconds(loaded.simulation.start or DEFAULT_START, "simulation.start")
        seeded = loaded.simulation.model_copy(update={"seed": self.seed, "start": None})
        self.config = loaded.model_copy(update={"simulation": seeded})

    def __repr__(self) -> str:
        return f"<Fleet: {self.config.replicas.count} sensors, seed {self.seed}>"

    def read(
        self,
        *,
        sensors: str | Iterable[str] | None = None,
        kinds: str | Iterable[str] | None = None,
        start: Moment = None,
        end: Moment = None,
        columns: Iterable[str] | None = None,
        missing: Missing = "omit",
    ) -> Readings:
        """Return readings from the start of the fleet, or from `start`, until `end`, which is one hour after the start of the
        fleet, or the end of its run if the config has one, by default. The arguments are those of `fleet.read`."""
        from fleet.history.computed import Span
        from fleet.history.computed_history import computed_histories

        assert self.start_us is not None
        selection = selection_of(sensors, kinds, start, end, columns)
        seconds = self.config.simulation.duration_seconds
        default_end = self.start_us + round((DEFAULT_SECONDS if seconds is None else seconds) * SECOND_US)
        end_us = default_end if selection.end_us is None else selection.end_us
        if end_us <= max(self.start_us, selection.start_us or 0):
            raise UserError("end: is not after start")
        histories, notes = computed_histories(self.config, Span(self.start_us, end_us))
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return readings_of(histories, selection, missing)


def readings_of(histories: Sequence[SensorHistory], selection: Selection, missing: Missing) -> Readings:
    if missing not in ("omit", "null", "held"):
        raise UserError(f"missing: {missing!r} is not one of omit, null, held")
    parts = selected_parts(histories, selection)
    return Readings(parts, chosen_schema(full_schema(parts), selection.columns), missing)


def tables_of(parts: Sequence[HistoryPart], schema: ReadingSchema, missing: Missing) -> Iterable[ReadingTable]:
    """Yield the readings of each sensor as one table that has only the columns of the schema."""
    for part in parts:
        holder = Holder(measured_names([part]))
        some = part.history.tables(part.first, part.end, schema, keep_missing=missing != "omit")
        tables = [holder.held(table) if missing == "held" else table for table in some]
        kept = [
            ReadingTable({name: values for name, values in table.columns.items() if name in schema}, table.missing)
            for table in tables
            if len(table)
        ]
        if kept:
            yield concatenated(kept)


def selection_of(
    sensors: str | Iterable[str] | None,
    kinds: str | Iterable[str] | None,
    start: Moment,
    end: Moment,
    columns: Iterable[str] | None,
) -> Selection:
    return Selection(
        names_of(sensors),
        names_of(kinds),
        microseconds(start, "start"),
        microseconds(end, "end"),
        None if columns is None else names_of(columns),
    )


def names_of(names: str | Iterable[str] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)


def microseconds(moment: Moment, what: str) -> int | None:
    """Return a time in microseconds since 1970, UTC if it has no zone. UserError, which names `what`."""
    from fleet.runtime.simulation_clock import iso_to_microseconds

    if moment is None:
        return None
    try:
        return iso_to_microseconds(moment.isoformat() if isinstance(moment, datetime) else moment)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{what}: {moment!r} is not a time such as 2026-01-01T12:00:00Z") from error


def config_path(config: str | Path | None) -> Path | None:
    from fleet.resources import packaged_configs

    if config is None or Path(config).exists():
        return None if config is None else Path(config)
    return packaged_configs().get(str(config), Path(config))


def drawn_seed() -> int:
    import secrets

    return secrets.randbelow(1 << 32)


def column_values(values: TableColumn | None, kind: ReadingColumnType, count: int) -> npt.NDArray[Any]:
    """Return a column as `Table` has it."""
    if kind == "TIME":
        assert not isinstance(values, AttributeColumn)
        return np.zeros(0, "M8[us]") if values is None else values.view("M8[us]")
    if kind == "TEXT":
        if isinstance(values, AttributeColumn):
            return np.array([*values.table, None], dtype=object)[values.codes]
        return np.full(count, None, dtype=object)
    if values is None:
        return np.full(count, np.nan)
    if kind == "INTEGER" and not (isinstance(values, AttributeColumn) and None in merged([values]).table):
        whole = np.array(values.table, dtype=np.int64)[values.codes] if isinstance(values, AttributeColumn) else values
        return whole.astype(np.int64, copy=False)
    return real_numbers(values)


def needed(module: str) -> Any:
    """Import a package that is no dependency. UserError if it is not installed."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"this needs {module}: pip install {module} ({error})") from error

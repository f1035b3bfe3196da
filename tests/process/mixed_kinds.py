"""A mixed fleet with a kind of the user's own, whose columns have the names of SQL keywords."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.process.evidence import COLUMNS, databases, open_database

CONFIG = """
version: 2
simulation: {readings_per_second: 20}
database: {batch_interval: 0.2}
anomalies: {probability: 0.1}
dynamic_reload: {check_interval: 0.6}
"""

OWN_KIND = """
channels:
  pm25: {unit: µg/m³, mean: 18, std_dev: 6, min: 0, max: 500, lowest: 0, highest: 1000,
         signals: {slow: {share: 0.9, correlation: 8h}}}
  group: {unit: dB, mean: 45, std_dev: 4, min: 25, max: 110, lowest: 0, highest: 140,
          signals: {follows: {channel: pm25, correlation: 0.5}}, instrument: {resolution: 0.25}}
  temperature: {unit: °C, mean: 22, std_dev: 1, min: 5, max: 40, lowest: -40, highest: 85,
                signals: {weather: {share: 0.9, quantity: temperature}}}
attributes:
  room: {choose: [canteen, "über 'dem' \\"Dach\\""]}
  order: {uniform: [1, 9], decimals: 0}
reading_attributes:
  select:
    type: text
    rules: [{anomalous: true, value: "=bad,"}, {channel: pm25, at_least: 18, choose: [high, higher]}]
  count:
    type: whole
    rules: [{choose: {7: 3, 9: 1}}]
"""

OWN_COLUMNS = {"pm25", "group", "room", "order", "select", "count"}


class Kinds(NamedTuple):
    """The arguments of `fleet up`."""

    arguments: Sequence[object]

    @classmethod
    def written(cls, folder: Path, text: str = OWN_KIND) -> Kinds:
        """Eight sensors of three kinds; the files of the config and of the own kind are in `folder`."""
        (folder / "mixed.yaml").write_text(CONFIG)
        (folder / "my_air.yaml").write_text(text)
        kinds = ("--kind", "environmental", "--kind", "pipeline", "--kind", f"{folder / 'my_air.yaml'}=2")
        return cls(("-c", folder / "mixed.yaml", "--seed", 5, "--replicas", 8, *kinds))


def further_columns(path: Path, table: str = "sensor_readings") -> list[str]:
    """The columns of a sensor database behind `seq`."""
    with open_database(path) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        assert columns[:28] == COLUMNS, path
        return columns[28:]


def filled_columns(data: Path) -> dict[str, set[str]]:
    """The columns behind `seq` in which each sensor has a value."""
    found: dict[str, set[str]] = {}
    for path in databases(data):
        further = further_columns(path)
        with open_database(path) as connection:
            for sensor, *counts in connection.execute(
                f"SELECT sensor_id, {', '.join(f'count({quoted(name)})' for name in further) or 0} "
                "FROM sensor_readings GROUP BY sensor_id"
            ):
                found[sensor] = {name for name, count in zip(further, counts, strict=False) if count}
    return found


def quoted(name: str) -> str:
    return f'"{name}"'


def damage(path: Path, names: Collection[str] | None = None) -> dict[tuple[str, int], str]:
    """Change values in the columns of these names, or in all further columns, of a database of sensors: each column has
    another value, a value too few and a value too many, each in a row of its own. Returns the names of the columns by sensor
    and sequence number."""
    damaged: dict[tuple[str, int], str] = {}
    with open_database(path) as connection:
        columns = connection.execute("PRAGMA table_info(sensor_readings)").fetchall()[28:]
        for _, text, column_type, *_ in columns:
            name = str(text)
            if names is not None and name not in names:
                continue
            column = quoted(name)
            changed = f"{column} || 'x'" if column_type == "TEXT" else f"{column} + 1"
            for value, state in ((changed, "NOT"), ("NULL", "NOT"), ("5", "")):
                rows = connection.execute(
                    f"SELECT sensor_id, seq, id FROM sensor_readings WHERE {column} IS {state} NULL ORDER BY id DESC"
                ).fetchall()
                free = [(sensor, seq, number) for sensor, seq, number in rows if (sensor, seq) not in damaged]
                for sensor, seq, number in free[:1]:
                    connection.execute(f"UPDATE sensor_readings SET {column} = {value} WHERE id = ?", (number,))
                    damaged[str(sensor), int(str(seq))] = name
    return damaged


def run_sql(path: Path, statement: str) -> int:
    """Execute a statement. Returns the number of changed rows."""
    with open_database(path) as connection:
        connection.execute(statement)
        return connection.changes()


def all_rows(path: Path) -> list[tuple[Any, ...]]:
    with open_database(path) as connection:
        return connection.execute("SELECT * FROM sensor_readings ORDER BY sensor_id, seq").fetchall()

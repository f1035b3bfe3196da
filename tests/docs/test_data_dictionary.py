"""docs/data-dictionary.md names every table and column of the databases, with its type and whether it may be NULL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from fleet.delivery.targets.registry import TargetOptions, open_target
from worker.storage.retention import CREATE_DELIVERIES, CREATE_REMOVALS
from worker.storage.rotation import CREATE_ORIGINS
from worker.storage.schema import SCHEMA

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data-dictionary.md").read_text(encoding="utf-8")


class Column(NamedTuple):
    name: str
    type: str
    never_null: bool


def documented() -> list[tuple[str, list[Column]]]:
    """Each table of the page; one that adds to another has the other's columns as well, before or after its own."""
    found: dict[str, list[Column]] = {}
    for heading, body in re.findall(r"<!-- columns: ([^>]+) -->\n(.*?)<!-- end -->", PAGE, re.DOTALL):
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.strip().splitlines()[2:]]
        columns = [Column(name.strip("`"), kind, null == "never") for name, kind, null, _ in cells]
        name, _, other = heading.partition(", ")
        if other.startswith("after "):
            columns = [*found[other.removeprefix("after ")], *columns]
        elif other.startswith("before "):
            columns += found[other.removeprefix("before ")]
        found[name] = columns
    # One section is about both tables, and database_info is the same everywhere.
    found["central.epochs"] = [*found["central.anomaly_episodes"][:1], *found["sensor.epochs"]]
    found["central.database_info"] = found["sensor.database_info"]
    return list(found.items())


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Column]]:
    """Each table with its columns, of a sensor database and of a central one."""
    folder = tmp_path_factory.mktemp("databases")
    open_target(f"sqlite:///{folder / 'central.db'}", TargetOptions()).close()
    found = {}
    for kind in ("sensor", "central"):
        connection = apsw.Connection(str(folder / f"{kind}.db"))
        if kind == "sensor":
            connection.execute(f"{SCHEMA}{CREATE_ORIGINS};{CREATE_REMOVALS};{CREATE_DELIVERIES};")
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,))
            found[f"{kind}.{table}"] = [
                Column(str(name), str(declared), bool(null or key)) for name, declared, null, key in rows
            ]
        connection.close()
    return found


def test_every_table_is_documented(real: dict[str, list[Column]]) -> None:
    assert real.keys() == {name for name, _ in documented()}


@pytest.mark.parametrize(("name", "columns"), documented(), ids=[name for name, _ in documented()])
def test_every_column_is_documented(name: str, columns: list[Column], real: dict[str, list[Column]]) -> None:
    """In order, with its type; one that is declared NOT NULL is documented as never NULL."""
    expected = real[name]

    assert [column[:2] for column in expected] == [column[:2] for column in columns]
    assert [] == [
        column.name for column, page in zip(expected, columns, strict=True) if column.never_null and not page.never_null
    ]


def test_every_column_has_a_meaning() -> None:
    """Apart from those of the identity, whose names say it."""
    rows = re.findall(r"^\| `(\w+)` \| [A-Z]+ \| ([^|]*) \| ([^|]*)\|$", PAGE, re.MULTILINE)
    by_name = {"model", "manufacturer", "serial_number", "manufacture_date", "installation_date"}

    assert 60 < len(rows)
    assert by_name == {name for name, _, meaning in rows if not meaning.strip()}

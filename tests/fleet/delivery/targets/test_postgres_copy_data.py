"""The data of a binary COPY: the same as psycopg makes value by value."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.datetime import DatetimeBinaryDumper
from psycopg.types.numeric import FloatBinaryDumper, Int8BinaryDumper

from fleet.delivery.batch import Repeated
from fleet.delivery.columns import parse_timestamp
from fleet.delivery.targets.postgres.copy_data import NULL, SIGNATURE, TRAILER, copy_data, one_text

TYPES = {
    "a": "text",
    "b": "double precision",
    "c": "bigint",
    "time": "timestamp with time zone",
    "d": "character varying",
}


def value_data(value: Any, type_name: str) -> bytes:
    """A field, by psycopg."""
    if type_name == "timestamp with time zone":
        value = parse_timestamp(str(value))
    if value is None:
        return NULL
    dumper: dict[str, type[Any]] = {
        "bigint": Int8BinaryDumper,
        "double precision": FloatBinaryDumper,
        "timestamp with time zone": DatetimeBinaryDumper,
    }
    if type_name not in dumper:
        return one_text(value.encode())
    return one_text(bytes(dumper[type_name](type(value)).dump(value) or b""))


TIMES = ["2026-01-01T10:00:00.000000+00:00", "1999-12-31T23:59:59.999999+00:00", "0001-01-01T00:00:00.000001+00:00"]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": ["one", "two", "six"], "b": [1.5, -0.0, float("inf")], "c": [1, -(2**63), 2**63 - 1], "time": TIMES},
        {"a": ["one", None, "twenty 🌍"], "b": [None, 2.5, 3], "c": [None, 0, 1], "d": ["", "é", ""], "time": TIMES},
        {"a": [None] * 3, "b": [None] * 3, "c": [None] * 3, "d": [""] * 3},
        {"a": Repeated("x", 3), "b": Repeated(2.0, 3), "c": Repeated(None, 3), "d": Repeated("é", 3), "time": TIMES},
        {"a": [None, "x", None], "d": ["y", "y", None], "c": [1, 2, 3]},
        {"time": Repeated(TIMES[0], 3), "a": Repeated("", 3)},
        {"time": ["yesterday", "2026-13-01T10:00:00.000000+00:00", "2026-01-01T10:00:00.000000+05:30"]},
        {"time": ["2026-13-01T10:00:00.000000+00:00", *TIMES[:2]]},
        {"time": ["0000-01-01T10:00:00.000000+00:00", *TIMES[:2]]},
        {"time": ["2026-01-01T10:00:00.00000 +00:00", "2026-01-01T10:00:00,000000+00:00", "2026-01-01"]},
        {"b": [float("nan"), 1.0, None]},
    ],
)
def test_the_data_is_that_of_each_value(columns: dict[str, Any]) -> None:
    """Numbers, texts of one width and of several, values that are the same in all rows, NULL, and times."""
    names, data = copy_data(columns, TYPES)

    rows = zip(*(list(columns[name]) for name in names), strict=True)
    expected = [
        len(names).to_bytes(2, "big")
        + b"".join(value_data(value, TYPES[name]) for name, value in zip(names, row, strict=True))
        for row in rows
    ]
    assert SIGNATURE + b"".join(expected) + TRAILER == data
    assert set(names) == set(columns)


def test_a_column_without_a_type_is_left_out() -> None:
    names, _ = copy_data({"a": ["x"], "unknown": ["y"]}, TYPES)

    assert ("a",) == names

"""The columns by which readings are compared, and their expressions in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet.delivery.batch import SourceDatabase
from fleet.delivery.columns import DELIVERED_COLUMNS, TEXT_COLUMNS
from worker.storage.schema import IDENTITY_COLUMNS, quote_identifier

IDENTITY_TEXTS = tuple(name for name in TEXT_COLUMNS if name in IDENTITY_COLUMNS and name != "sensor_id")
IDENTITY_COLUMN = "identity"
"""The columns of IDENTITY_TEXTS joined into one text. Fetching a dozen columns of each row would be most of the work."""

EXTRA_COLUMN = "extra"

SEPARATOR, NULL_MARK = "\x1f", "\x1e"

KEY_COLUMNS = ("sensor_id", "seq", "timestamp")
"""The columns that follow the id in every row."""

ID_INDEX, SENSOR_INDEX, SEQ_INDEX, TIMESTAMP_INDEX = range(4)

COMPARABLE_COLUMNS = (
    *(name for name in DELIVERED_COLUMNS if name not in (*IDENTITY_TEXTS, *KEY_COLUMNS)),
    IDENTITY_COLUMN,
    EXTRA_COLUMN,
)
"""The columns that follow KEY_COLUMNS in a target that stores readings completely, after those of the kinds of sensor."""


def identity_sql(column: Callable[[str], str], character: str = "char") -> str:
    """The SQL expression of IDENTITY_COLUMN; `column` gives that of a column by its name."""
    texts = (f"coalesce({column(name)},{character}({ord(NULL_MARK)}))" for name in IDENTITY_TEXTS)
    return f"concat_ws({character}({ord(SEPARATOR)}),{','.join(texts)})"


def split_identity(name: str, value: object) -> list[tuple[str, object]]:
    """The columns that a compared column consists of, with their values."""
    if name != IDENTITY_COLUMN or not isinstance(value, str):
        return [(name, value)]
    values = value.split(SEPARATOR)
    if len(values) != len(IDENTITY_TEXTS):
        return [(name, value)]
    return [(own, None if text == NULL_MARK else text) for own, text in zip(IDENTITY_TEXTS, values, strict=True)]


def column_differences(
    names: Sequence[str], found: Sequence[object], right: Sequence[object]
) -> list[tuple[str, object, object]]:
    """The columns that differ, as (name, value, expected value)."""
    differing = []
    for name, value, must in zip(names, found, right, strict=True):
        if value != must:
            pairs = zip(split_identity(name, value), split_identity(name, must), strict=False)
            differing += [(own, one, other) for (own, one), (_, other) in pairs if one != other]
    return differing


def column_sql(source: SourceDatabase, name: str) -> str:
    """The SQL expression of a compared column in a source."""
    if name == IDENTITY_COLUMN:
        return identity_sql(lambda own: quote_identifier(own) if own in source.columns else "NULL")
    if name == "seq" and source.foreign:
        return "id"
    # A column of another kind's name that is not the source's own is in EXTRA_COLUMN.
    own = name in source.further_names or (name in DELIVERED_COLUMNS and name in source.columns)
    return quote_identifier(name) if own else "NULL"

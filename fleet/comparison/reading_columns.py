"""The columns by which readings are compared, and how SQL has them in each place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet.central.schema import READING, TEXTS
from worker.schema import IDENTITY_COLUMNS

WHO = tuple(name for name in TEXTS if name in IDENTITY_COLUMNS and name != "sensor_id")
IDENTITY = "identity"
"""The columns of WHO as one text: fetching a dozen of them from each row would be most of the work."""

EXTRA = "extra"

SEPARATOR, NOTHING = "\x1f", "\x1e"

LEAD = ("sensor_id", "seq", "timestamp")
"""What stands first in every row, behind its id."""

ID, SENSOR, SEQ, TIMESTAMP = range(4)

CENTRAL = (*(name for name in READING if name not in (*WHO, *LEAD)), IDENTITY, EXTRA)
"""What follows on LEAD where a store has all that there is to know of a reading."""


def who(column: Callable[[str], str], character: str = "char") -> str:
    """IDENTITY as an expression of SQL, each column of which is `column(name)`."""
    texts = (f"coalesce({column(name)},{character}({ord(NOTHING)}))" for name in WHO)
    return f"concat_ws({character}({ord(SEPARATOR)}),{','.join(texts)})"


def spread(name: str, value: object) -> list[tuple[str, object]]:
    """The columns that stand behind one of those compared, with their values."""
    if name != IDENTITY or not isinstance(value, str):
        return [(name, value)]
    values = value.split(SEPARATOR)
    if len(values) != len(WHO):
        return [(name, value)]
    return [(own, None if text == NOTHING else text) for own, text in zip(WHO, values, strict=True)]


def differences(
    names: Sequence[str], found: Sequence[object], right: Sequence[object]
) -> list[tuple[str, object, object]]:
    """Which columns differ: name, what was found, what is right."""
    told = []
    for name, value, must in zip(names, found, right, strict=True):
        if value != must:
            pairs = zip(spread(name, value), spread(name, must), strict=False)
            told += [(own, one, other) for (own, one), (_, other) in pairs if one != other]
    return told

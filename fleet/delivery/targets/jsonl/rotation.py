"""When a file is rotated: at a size, or an age."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet.durations import parse_duration
from fleet.errors import UserError
from fleet.escaping import escape_short

SIZE = re.compile(r"([0-9]{1,9})(k|M|G)B")
UNIT_BYTES = {"k": 10**3, "M": 10**6, "G": 10**9}
TIME = re.compile(r"([0-9.]+(d|h|m|s|ms))+")


@dataclass(frozen=True, slots=True)
class Rotation:
    """The size in bytes and the age in seconds from which on a file is finished."""

    size: float = float("inf")
    age: float = float("inf")


NO_ROTATION = Rotation()


def parse_rotation(text: str, origin: str) -> Rotation:
    """Return the rotation of a size such as 100MB or a time such as 1h. UserError, naming `origin`, if it is neither."""
    if (size := SIZE.fullmatch(text)) and int(size[1]):
        return Rotation(size=int(size[1]) * UNIT_BYTES[size[2]])
    if TIME.fullmatch(text):
        return Rotation(age=parse_duration(text, origin))
    raise UserError(f"{origin}: {escape_short(text)!a} is neither a size such as 100MB nor a time such as 1h")

"""The roster: which sensors a running fleet has, where each one's row, database and log are.

Written to `<data>/run/roster.json` by the process that supervises, under a temporary name and then renamed; read by
everybody else (aggregator, `fleet status`, `fleet logs`). Together with the scoreboard it is all that a reader needs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from fleet import atomic_write
from fleet.errors import UserError
from fleet.escaping import escape_short
from worker.spec import Identity, Layout

SCALAR_TYPES = frozenset((str, int, float, type(None)))
MAX_NUMBER = 1 << 62
Record = TypeVar("Record", bound="Member | Roster | Identity")


@dataclass(frozen=True, slots=True)
class Member:
    """One sensor of the fleet. `channels` are (name, unit) in the order of the scoreboard's values."""

    row: int
    worker: str
    rate: float
    database: Path
    log: Path
    channels: tuple[tuple[str, str], ...]
    identity: Identity

    @property
    def sensor_id(self) -> str:
        return self.identity.sensor_id


@dataclass(frozen=True, slots=True)
class Roster:
    """The fleet as it was last changed. `started_ns` is on the monotonic clock, `started_at` ISO wall time,
    `start_time` the simulated time of the run's first reading, `duration` simulated seconds to run or None."""

    seed: int
    layout: Layout
    run: int
    pid: int
    config: str
    started_at: str
    started_ns: int
    start_time: str
    duration: float | None
    url: str | None
    members: tuple[Member, ...]

    def write(self, path: Path) -> None:
        atomic_write.replace_file(path, json.dumps(asdict(self), default=str))

    @classmethod
    def read(cls, path: Path) -> Roster:
        """The roster at `path`. FileNotFoundError where no fleet has run, UserError if it is damaged."""
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            fields: dict[str, Any] = json.loads(text)
            members = tuple(parse_member(**entry) for entry in fields.pop("members"))
            return check_types(cls(members=members, **fields))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{path}: cannot be read as a roster: {type(error).__name__}: {escape_short(str(error))}"
            ) from None


def parse_member(identity: dict[str, Any], database: str, log: str, channels: list[list[str]], **fields: Any) -> Member:
    if fields["row"] < 0:
        raise ValueError(f"row: {fields['row']}")
    return check_types(
        Member(
            identity=check_types(Identity(**identity)),
            database=Path(database),
            log=Path(log),
            channels=tuple((require_str(name), require_str(unit)) for name, unit in channels),
            **fields,
        )
    )


def check_types(record: Record) -> Record:
    """The record, if its plain fields are what they are annotated to be; raises ValueError."""
    kind: type = type(record)
    for name, kinds in scalar_fields(kind).items():
        value = getattr(record, name)
        if type(value) not in kinds or (type(value) in (int, float) and not -MAX_NUMBER < value < MAX_NUMBER):
            raise ValueError(f"{name}: {value!r}")
    return record


@cache
def scalar_fields(record: type) -> dict[str, tuple[type, ...]]:
    """The types that each field may have; fields with structure of their own are not among them."""
    kinds = {name: get_args(hint) or (hint,) for name, hint in get_type_hints(record).items()}
    kinds = {name: (str,) if all(isinstance(kind, str) for kind in found) else found for name, found in kinds.items()}
    kinds = {name: (*found, int) if float in found else found for name, found in kinds.items()}
    return {name: found for name, found in kinds.items() if SCALAR_TYPES.issuperset(found)}


def require_str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value

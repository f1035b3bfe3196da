"""The selection of sensors by a command: the members that match all its criteria."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import ceil

from fleet.datadir.roster import Member
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.identities.files import SENSOR_TYPE_LABELS
from fleet.runtime.commands import SelectorCommand
from worker.spec import Identity

MAX_NAMES_LISTED = 10
"""Names that an error lists; the others are counted."""


def select_sensors(members: Sequence[Member], wanted: SelectorCommand) -> list[Member]:
    """Return the members that match `wanted`, in roster order. Raises UserError with the known values if none match."""
    chosen = list(members)
    if wanted.sensors is not None:
        chosen = select_by_id(chosen, wanted.sensors)
    for name, how, values in (
        (wanted.city, "is in", lambda who: location_names(who.location)),
        (wanted.manufacturer, "is made by", lambda who: as_tuple(who.manufacturer)),
        (wanted.firmware, "has the firmware", lambda who: as_tuple(who.firmware_version)),
        (wanted.kind, "is of the kind", lambda who: kind_names(who.sensor_type)),
    ):
        if name is not None:
            chosen = select_by_value(chosen, name, how, values)
    return chosen if wanted.share is None else select_share(chosen, wanted.share)


def select_by_id(members: list[Member], names: Sequence[str]) -> list[Member]:
    """Return the members with these ids, all of which must exist."""
    known = {member.sensor_id for member in members}
    for name in names:
        if name not in known:
            raise UserError(f"there is no sensor {escape_short(name)} in this fleet; there are {format_choices(known)}")
    if not names:
        raise UserError("no sensor is named")
    return [member for member in members if member.sensor_id in names]


def select_by_value(
    members: list[Member], name: str, how: str, values: Callable[[Identity], tuple[str, ...]]
) -> list[Member]:
    matching = [m for m in members if name.casefold() in (value.casefold() for value in values(m.identity))]
    if not matching:
        choices = format_choices(names[0] for member in members if (names := values(member.identity)))
        raise UserError(f"no sensor {how} {escape_short(name)}; to choose from: {choices}")
    return matching


def select_share(members: list[Member], share: float) -> list[Member]:
    """Return a share of the members: always the same ones, and a larger share contains every smaller one."""
    ranked = sorted(members, key=lambda member: hashlib.sha256(member.sensor_id.encode()).digest())
    chosen = {member.sensor_id for member in ranked[: ceil(Fraction(str(share)) * len(ranked))]}
    return [member for member in members if member.sensor_id in chosen]


def as_tuple(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def kind_names(sensor_type: str | None) -> tuple[str, ...]:
    """Return the names of a kind: the value of the column `sensor_type`, and the name in a config if it is another one."""
    names = (name for name, label in SENSOR_TYPE_LABELS.items() if label == sensor_type)
    return () if sensor_type is None else (sensor_type, *names)


def location_names(location: str | None) -> tuple[str, ...]:
    """Return the names of a location: the city, and the whole text (`Denver, CO, USA`)."""
    return () if location is None else (location.split(",")[0].strip(), location)


def format_choices(values: Iterable[str]) -> str:
    names = sorted(set(values))
    if not names:
        return "none"
    more = f" and {len(names) - MAX_NAMES_LISTED} more" if len(names) > MAX_NAMES_LISTED else ""
    return ", ".join(map(escape_short, names[:MAX_NAMES_LISTED])) + more

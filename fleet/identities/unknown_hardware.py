"""Hardware that identities name and the catalogue does not know: it has no effect, and that is said or refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fleet.catalogue.catalogue import Catalogue
from fleet.config.config import Config
from fleet.config.settings import sensor_type_of_identity
from fleet.errors import UserError
from fleet.strict_json import short_json
from worker.spec import Identity

UnknownHardware = tuple[str, str, tuple[str, ...]]
"""Which field, its value, and the values that the catalogue knows there."""


def unknown_hardware_warnings(config: Config, catalogue: Catalogue, identities: Iterable[Identity]) -> list[str]:
    """A warning for each value that is not in the catalogue, with who has it; UserError if the config is strict."""
    found: dict[UnknownHardware, list[str]] = {}
    for identity in identities:
        for stranger in unknown_values(config, catalogue, identity):
            found.setdefault(stranger, []).append(identity.sensor_id)
    warnings = [format_warning(stranger, sensors) for stranger, sensors in found.items()]
    if warnings and config.identities.strict:
        more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        raise UserError(f"{warnings[0]}; identities.strict allows none{more}")
    return [f"{warning}; without effect on the anomalies" for warning in warnings]


def unknown_values(config: Config, catalogue: Catalogue, identity: Identity) -> Iterator[UnknownHardware]:
    kind = sensor_type_of_identity(config, catalogue, identity.sensor_type)
    maker, model, version = identity.manufacturer, identity.model, identity.firmware_version
    models = kind.models.get(maker or "") or tuple(
        dict.fromkeys(name for made in kind.models.values() for name in made)
    )
    for field, value, valid in (
        ("manufacturer", maker, tuple(kind.models)),
        ("model", model, models),
        ("firmware_version", version, kind.firmware),
    ):
        if value is not None and value not in valid:
            yield field, value, valid


def format_warning(stranger: UnknownHardware, sensors: list[str]) -> str:
    field, value, valid = stranger
    who = sensors[0] if len(sensors) == 1 else f"{sensors[0]} and {len(sensors) - 1} more"
    return f"{who}: {field} {short_json(value)} is not one of the catalogue's: {', '.join(valid)}"

"""The catalogue: which kinds of sensor there are, who makes them, and what that does to their anomalies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fleet.errors import UserError
from fleet.packaged import packaged


@dataclass(frozen=True, slots=True)
class SensorType:
    """One kind of sensor. `models` maps each manufacturer to the models it makes."""

    name: str
    models: Mapping[str, tuple[str, ...]]
    firmware: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    types: Mapping[str, SensorType]
    aliases: Mapping[str, str]

    def sensor_type(self, name: str) -> SensorType:
        """The kind of that name or alias; UserError lists the valid ones."""
        try:
            return self.types[self.aliases.get(name, name)]
        except KeyError:
            raise UserError(f"'{name}' is not a sensor type; there are {', '.join(self.types)}") from None


def load_catalogue(path: Path | None = None) -> Catalogue:
    """The packaged catalogue, extended by the file at `path`."""
    entries = yaml.load((path or packaged("catalogue.yaml")).read_text(), Loader=yaml.CBaseLoader)
    types = {
        name: SensorType(
            name,
            {maker: tuple(entry["models"]) for maker, entry in kind["manufacturers"].items()},
            tuple(kind["firmware"]),
        )
        for name, kind in entries.items()
    }
    aliases = {alias: name for name, kind in entries.items() for alias in kind.get("aliases", ())}
    return Catalogue(types, aliases)

"""The mint of a config: where identities come from that nobody gave."""

from __future__ import annotations

import secrets
from pathlib import Path

from fleet.configuration.catalogue import Catalogue, load_catalogue
from fleet.configuration.config import Config
from fleet.configuration.kinds import filters_of
from fleet.geography.cities import choose_from, cities_at, read_cities
from fleet.identity.minting import Mint
from fleet.identity.muster import minted_seed, muster


def mint_of(config: Config, catalogue: Catalogue, seed: int) -> Mint:
    """Where identities come from that nobody gave. UserError if the filters leave no city."""
    where, who = config.random_location, config.sensor
    table = read_cities(Path(where.cities_file) if where.cities_file else None)
    # Who says Denver wants its coordinates and its time zone, unless the place is to be drawn.
    named = () if who.location is None or where.enabled else cities_at(table, who.location)
    return Mint(
        seed=seed,
        cities=named or choose_from(table, filters_of(where)),
        sensor_type=catalogue.sensor_type(who.type),
        gps_variation=where.gps_variation,
        prefix=config.replicas.prefix,
        manufacturer=who.manufacturer,
        model=who.model,
        # A sensor keeps its own firmware to go back to once it is not overridden any more.
        firmware_version=None if config.identities.override.firmware_version else who.firmware_version,
    )


def mint_into(directory: Path, config: Config, count: int) -> tuple[int, list[str]]:
    """Write `count` identities into `directory`; those that are there stay. Returns the seed and warnings."""
    seed = config.simulation.seed
    if seed is None and directory.is_dir():
        seed = minted_seed(directory)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    catalogue = load_catalogue(Path(config.catalogue) if config.catalogue else None)
    _, warnings = muster(directory, mint_of(config, catalogue, seed), count, config.replicas.start_index)
    return seed, warnings

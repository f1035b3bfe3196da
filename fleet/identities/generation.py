"""The mint of a config: where identities come from that nobody gave."""

from __future__ import annotations

import secrets
from pathlib import Path

from fleet.catalogue.catalogue import Catalogue, load_catalogue
from fleet.catalogue.cities import cities_named, filter_cities, read_cities
from fleet.config.catalogue_checks import city_filters
from fleet.config.config import Config
from fleet.identities.generator import IdentityGenerator
from fleet.identities.provisioning import generated_seed, provision


def generator_for(config: Config, catalogue: Catalogue, seed: int) -> IdentityGenerator:
    """Where identities come from that nobody gave. UserError if the filters leave no city."""
    where, who = config.random_location, config.sensor
    table = read_cities(Path(where.cities_file) if where.cities_file else None)
    # Who says Denver wants its coordinates and its time zone, unless the place is to be drawn.
    named = () if who.location is None or where.enabled else cities_named(table, who.location)
    return IdentityGenerator(
        seed=seed,
        cities=named or filter_cities(table, city_filters(where)),
        sensor_type=catalogue.sensor_type(who.type),
        gps_variation=where.gps_variation,
        prefix=config.replicas.prefix,
        manufacturer=who.manufacturer,
        model=who.model,
        # A sensor keeps its own firmware to go back to once it is not overridden any more.
        firmware_version=None if config.identities.override.firmware_version else who.firmware_version,
    )


def write_generated_identities(directory: Path, config: Config, count: int) -> tuple[int, list[str]]:
    """Write `count` identities into `directory`; those that are there stay. Returns the seed and warnings."""
    seed = config.simulation.seed
    if seed is None and directory.is_dir():
        seed = generated_seed(directory)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    catalogue = load_catalogue(Path(config.catalogue) if config.catalogue else None)
    _, warnings = provision(directory, generator_for(config, catalogue, seed), count, config.replicas.start_index)
    return seed, warnings

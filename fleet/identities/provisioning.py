"""The sensors of a fleet: those with identity files, and generated ones with files that are written now."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from fleet.catalogue.catalogue import Catalogue, load_catalogue
from fleet.catalogue.cities import cities_named, filter_cities, read_cities
from fleet.config.catalogue_checks import city_filters
from fleet.config.config import Config
from fleet.config.settings import sensor_type_of_identity
from fleet.errors import UserError
from fleet.identities.files import StoredIdentity, identity_files, read_identities, read_identity, write_identity
from fleet.identities.generator import IdentityGenerator
from fleet.strict_json import short_json
from worker.spec import Identity


def provision(
    directory: Path, generator: IdentityGenerator, count: int, start_index: int = 1
) -> tuple[list[StoredIdentity], list[str]]:
    """The `count` sensors of a fleet, in order, and warnings about them, one line each.

    First come those whose files somebody put into the directory, in the order of the file names; then the minted ones
    with the numbers from `start_index` on. What was minted before is read (also if it was edited since), what was not
    is minted and written, so that a sensor keeps who it is. Files of numbers beyond the last are left alone.
    UserError if a file cannot be understood, was minted with another seed, or cannot be written.
    """
    known = read_identities(directory)
    given = [sensor for sensor in known.values() if sensor.minted is None]
    minted = generated_by_number(known, generator.seed, directory)
    wanted = range(start_index, start_index + max(count - len(given), 0))
    if wanted and directory.is_file():
        raise UserError(
            f"{directory}: is the identity of one sensor, and {count} were asked for; give a folder of them"
        )
    if any(number not in minted for number in wanted):
        make_directory(directory)
    # A name that a file has is taken too: somebody may have changed the id inside, and it must not be overwritten.
    taken = set(chain(known, (path.stem for path in identity_files(directory))))
    sensors = given[:count]
    for number in wanted:
        sensor = minted.get(number)
        if sensor is None:
            sensor = generator.generate(number, taken)
            taken.add(sensor.sensor_id)
            write_identity(directory, sensor)
        sensors.append(sensor)
    return sensors, [
        *warnings_of(sensors),
        *surplus_warnings(directory, given[count:]),
        *outdated_warnings(directory, sensors, generator),
    ]


def check_identities(directory: Path, seed: int | None) -> None:
    """UserError if `muster` could not read the directory or write to it; with a seed, also if a file in it is bad."""
    files = identity_files(directory)
    if seed is not None:
        generated_by_number(read_identities(directory), seed, directory)
    there = directory.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not (files or os.access(there, os.W_OK | os.X_OK)):
        raise UserError(f"{directory}: no identities can be written there: {there} may not be written by this user")


def generated_seed(directory: Path) -> int | None:
    """The seed with which identities in the directory were minted; None if none was. For a start without a seed."""
    origins = (read_identity(path).minted for path in identity_files(directory))
    return next((origin.seed for origin in origins if origin), None)


def generated_by_number(known: Mapping[str, StoredIdentity], seed: int, directory: Path) -> dict[int, StoredIdentity]:
    """The minted ones of the known identities by their numbers, all of this seed and no number twice."""
    minted: dict[int, StoredIdentity] = {}
    for sensor in known.values():
        if sensor.minted is None:
            continue
        origin = sensor.minted
        if origin.seed != seed:
            raise UserError(
                f"{directory}: {sensor.sensor_id} was minted with seed {origin.seed}, not {seed}: "
                f"use --seed {origin.seed}, or another directory for the identities"
            )
        other = minted.setdefault(origin.index, sensor)
        if other is not sensor:
            raise UserError(
                f"{directory}: {other.sensor_id} and {sensor.sensor_id} both say they were minted as number "
                f'{origin.index}: take "minted" out of the metadata of the one that is yours'
            )
    return minted


def make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot be made: {error.strerror}") from None


def warnings_of(sensors: list[StoredIdentity]) -> list[str]:
    return [warning for sensor in sensors for warning in sensor.warnings]


def surplus_warnings(directory: Path, surplus: list[StoredIdentity]) -> list[str]:
    if not surplus:
        return []
    names = ", ".join(short_json(sensor.sensor_id) for sensor in islice(surplus, 3))
    more = f" and {len(surplus) - 3} more" if len(surplus) > 3 else ""
    return [f"{directory}: more identities than sensors asked for, left out: {names}{more}"]


def outdated_warnings(directory: Path, sensors: list[StoredIdentity], generator: IdentityGenerator) -> list[str]:
    """A warning if some were minted by other settings than those in force, which do not change them."""
    aged = sum(
        sensor.minted is not None and sensor.minted.settings != generator.settings_fingerprint for sensor in sensors
    )
    if not aged:
        return []
    stay = f"{aged} of {len(sensors)} sensors were minted under other settings and stay who they are"
    return [f"{directory}: {stay}; delete their files to mint them anew"]


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

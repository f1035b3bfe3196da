"""The sensors of a fleet: those with identity files, and newly generated ones, whose files are written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from fleet.catalogue.catalogue import AttributeValues, Catalogue, SensorType
from fleet.catalogue.cities import cities_named, filter_cities, read_cities
from fleet.config.catalogue_checks import city_filters
from fleet.config.channels import sensor_type_of_identity
from fleet.config.config import Config, config_catalogue
from fleet.errors import UserError
from fleet.identities.files import StoredIdentity, identity_files, read_identities, read_identity, write_identity
from fleet.identities.generator import AnyGenerator, IdentityGenerator, MixedGenerator, SensorRandom
from fleet.strict_json import short_json
from worker.spec import Identity


def provision(
    directory: Path, generator: AnyGenerator, count: int, start_index: int = 1
) -> tuple[list[StoredIdentity], list[str]]:
    """Return the `count` sensors of a fleet, in order, and warnings about them, one line each.

    Identities that the user has put into the directory come first, in the order of the file names; then generated
    ones with the numbers from `start_index` on. One that was generated before is read (with any edits), a missing
    one is generated and written, so that a sensor keeps its identity. Files of numbers beyond the last stay
    untouched. UserError if a file is invalid, was generated with another seed, or cannot be written.
    """
    known = read_identities(directory)
    provided = [sensor for sensor in known.values() if sensor.origin is None]
    generated = generated_by_number(known, generator.seed, directory)
    wanted = range(start_index, start_index + max(count - len(provided), 0))
    if wanted and directory.is_file():
        raise UserError(
            f"{directory}: is the identity of one sensor, but {count} are needed; name a folder of identity files"
        )
    if any(number not in generated for number in wanted):
        make_directory(directory)
    # The name of a file is taken too: the id inside may have been edited, and the file must not be overwritten.
    taken = set(chain(known, (path.stem for path in identity_files(directory))))
    sensors = provided[:count]
    for number in wanted:
        sensor = generated.get(number)
        if sensor is None:
            sensor = generator.generate(number, taken)
            taken.add(sensor.sensor_id)
            write_identity(directory, sensor)
        sensors.append(sensor)
    return sensors, [
        *warnings_of(sensors),
        *surplus_warnings(directory, provided[count:]),
        *outdated_warnings(directory, sensors, generator),
    ]


def check_identities(directory: Path, seed: int | None) -> None:
    """Raise UserError if `provision` could not read or write the directory; with a seed, also if a file is invalid."""
    files = identity_files(directory)
    if seed is not None:
        generated_by_number(read_identities(directory), seed, directory)
    there = directory.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not (files or os.access(there, os.W_OK | os.X_OK)):
        raise UserError(f"{directory}: no identities can be written there: {there} may not be written by this user")


def generated_seed(directory: Path) -> int | None:
    """Return the seed of the generated identities in the directory, for a start without a seed; None if there are
    none."""
    origins = (read_identity(path).origin for path in identity_files(directory))
    return next((origin.seed for origin in origins if origin), None)


def generated_by_number(known: Mapping[str, StoredIdentity], seed: int, directory: Path) -> dict[int, StoredIdentity]:
    """Return the generated identities by number. UserError for another seed, or for a number that occurs twice."""
    generated: dict[int, StoredIdentity] = {}
    for sensor in known.values():
        if sensor.origin is None:
            continue
        origin = sensor.origin
        if origin.seed != seed:
            raise UserError(
                f"{directory}: {sensor.sensor_id} was generated with seed {origin.seed}, not {seed}: "
                f"use --seed {origin.seed}, or another directory for the identities"
            )
        other = generated.setdefault(origin.index, sensor)
        if other is not sensor:
            raise UserError(
                f"{directory}: {other.sensor_id} and {sensor.sensor_id} both say they were generated as number "
                f'{origin.index}: remove "minted" from the metadata of the one that you wrote'
            )
    return generated


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
    return [f"{directory}: more identities than sensors, ignored: {names}{more}"]


def outdated_warnings(directory: Path, sensors: list[StoredIdentity], generator: AnyGenerator) -> list[str]:
    """Warn of identities that were generated with other settings than those in force; they stay as they are."""
    aged = sum(
        sensor.origin is not None and sensor.origin.settings != generator.fingerprint_of(sensor.origin.index)
        for sensor in sensors
    )
    if not aged:
        return []
    kept = f"{aged} of {len(sensors)} sensors were generated with other settings and keep their identities"
    return [f"{directory}: {kept}; delete their files to generate them again"]


def generator_for(config: Config, catalogue: Catalogue, seed: int) -> AnyGenerator:
    """Make the generator of a config. UserError if the filters leave no city."""
    kinds = config.replicas.kinds
    if not kinds:
        return kind_generator(config, catalogue.sensor_type(config.sensor.type), seed)
    generators = tuple(kind_generator(config, catalogue.sensor_type(name), seed) for name in kinds)
    return generators[0] if len(generators) == 1 else MixedGenerator(seed, generators, tuple(kinds.values()))


def kind_generator(config: Config, sensor_type: SensorType, seed: int) -> IdentityGenerator:
    """Make the generator of the sensors of one kind."""
    where, who = config.random_location, config.sensor
    table = read_cities(Path(where.cities_file) if where.cities_file else None)
    # A location such as Denver sets coordinates and time zone, unless the place is to be drawn; one that names no city
    # leaves them out, rather than contradict them.
    place = None if where.enabled else who.location
    named = cities_named(table, place) if place is not None else ()
    filters = city_filters(where)
    if sensor_type.entry.countries and not (
        filters.include_countries or filters.exclude_countries or where.cities_file
    ):
        filters = replace(filters, include_countries=sensor_type.entry.countries)
    return IdentityGenerator(
        seed=seed,
        cities=named or filter_cities(table, filters),
        unknown_place=None if named else place,
        sensor_type=sensor_type,
        gps_variation=where.gps_variation,
        prefix=config.replicas.prefix,
        manufacturer=who.manufacturer,
        model=who.model,
        # Not the override: a sensor returns to its own firmware once the override is removed.
        firmware_version=None if config.identities.override.firmware_version else who.firmware_version,
    )


def check_known_kinds(catalogue: Catalogue, sensors: Iterable[StoredIdentity]) -> None:
    """Raise UserError for a generated sensor whose kind is not in the catalogue: under another one it would have other
    columns."""
    for sensor in sensors:
        if sensor.origin is not None and sensor.type is not None and not catalogue.has_sensor_type(sensor.type):
            raise UserError(
                f"{sensor.sensor_id}: was generated as a {short_json(sensor.type)} sensor, a kind that is not known; "
                "name its file with --kind, or by `kinds` in the config"
            )


def complete_attributes(config: Config, catalogue: Catalogue, sensor: StoredIdentity) -> AttributeValues:
    """Return the attributes of a sensor as its kind declares them. Those that its file does not have are drawn, from its id
    alone. Raises UserError for one that is not of the type of its column."""
    identity = sensor.identity
    sensor_type = sensor_type_of_identity(config, catalogue, identity.sensor_type or sensor.type)
    return sensor_type.attributes(SensorRandom(identity.sensor_id).random_fraction, identity)


def resolved_identity(config: Config, catalogue: Catalogue, sensor: StoredIdentity) -> Identity:
    """Return the identity with the overrides of the config, with a type that determines its behaviour, and with all
    attributes of that type. Raises UserError for an attribute that is not of its column's type."""
    single, override, identity = config.sensor, config.identities.override, sensor.identity
    return replace(
        identity,
        attributes=complete_attributes(config, catalogue, sensor),
        sensor_id=single.id or identity.sensor_id,
        location=single.location or identity.location,
        manufacturer=override.manufacturer or identity.manufacturer,
        model=override.model or identity.model,
        firmware_version=override.firmware_version or identity.firmware_version,
        sensor_type=identity.sensor_type or sensor.type,
    )


def write_generated_identities(directory: Path, config: Config, count: int) -> tuple[int, list[str]]:
    """Write `count` identities into `directory`, keeping existing ones. Return the seed and warnings."""
    seed = config.simulation.seed
    if seed is None and directory.is_dir():
        seed = generated_seed(directory)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    _, warnings = provision(
        directory, generator_for(config, config_catalogue(config), seed), count, config.replicas.start_index
    )
    return seed, warnings


UnknownHardware = tuple[str, str, tuple[str, ...]]
"""The name of a field, its value, and the values that the catalogue has for it."""


def unknown_hardware_warnings(config: Config, catalogue: Catalogue, identities: Iterable[Identity]) -> list[str]:
    """Warn of each value that is not in the catalogue, naming the sensors; UserError if the config is strict."""
    sensors_by_value: dict[UnknownHardware, list[str]] = {}
    for identity in identities:
        for unknown in unknown_values(config, catalogue, identity):
            sensors_by_value.setdefault(unknown, []).append(identity.sensor_id)
    warnings = [format_warning(unknown, sensors) for unknown, sensors in sensors_by_value.items()]
    if warnings and config.identities.strict:
        more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        raise UserError(f"{warnings[0]}; identities.strict allows none{more}")
    return [f"{warning}; without effect on the anomalies" for warning in warnings]


def unknown_values(config: Config, catalogue: Catalogue, identity: Identity) -> Iterator[UnknownHardware]:
    sensor_type = sensor_type_of_identity(config, catalogue, identity.sensor_type)
    maker, model, version = identity.manufacturer, identity.model, identity.firmware_version
    for field, value, valid in (
        ("manufacturer", maker, tuple(sensor_type.models)),
        ("model", model, sensor_type.models_of(maker)),
        ("firmware_version", version, sensor_type.firmware),
    ):
        if value is not None and value not in valid:
            yield field, value, valid


def format_warning(unknown: UnknownHardware, sensors: list[str]) -> str:
    field, value, valid = unknown
    who = sensors[0] if len(sensors) == 1 else f"{sensors[0]} and {len(sensors) - 1} more"
    return f"{who}: {field} {short_json(value)} is not one of the catalogue's: {', '.join(valid)}"

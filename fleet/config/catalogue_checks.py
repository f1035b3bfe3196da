"""Checks of a config against the catalogue (the sensor it names, the channels it lists) and of the files it refers
to."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.catalogue.catalogue import Catalogue, SensorType, nearest_type
from fleet.catalogue.cities import CityFilters, filter_cities, read_cities
from fleet.catalogue.entries import AUTO, NONE
from fleet.config.dialects import Draft
from fleet.config.sections import ChannelParameters, RandomLocation, Replicas, Sensor
from fleet.errors import UserError
from fleet.validation.issues import ConfigIssue, format_value
from fleet.validation.yaml_tree import SourceMark

if TYPE_CHECKING:  # which imports these checks
    from fleet.config.config import Config

SIGNAL_KEYS = ("mean", "std_dev", "min", "max")


def resolve_files(draft: Draft, folder: Path) -> Iterator[ConfigIssue]:
    """Resolve the files that a config names against its own folder, or else the current one; those that a flag names
    against the current one."""
    for path in (("catalogue",), ("random_location", "cities_file")):
        name = draft.get(path)
        if not isinstance(name, str) or not name.isprintable():
            continue  # the model says what is wrong with it
        node, _ = draft.source_map.nearest(path)
        candidates = list(dict.fromkeys([folder / name, Path.cwd() / name] if node.mark.line else [Path.cwd() / name]))
        file = next((candidate for candidate in candidates if not file_problem(candidate)), candidates[0])
        draft.set_value(path, str(file))
        reason = file_problem(file)
        if reason:
            looked_for = " and ".join(map(str, candidates))
            yield draft.source_map.issue(path, f"{format_value(name)} {reason} (looked for {looked_for})")


def file_problem(file: Path) -> str:
    """Return the reason why the file at a path cannot be read; empty if it can."""
    try:
        if file.is_file():
            return ""
        return "is not a file" if file.exists() else "does not exist"
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        return f"cannot be looked for: {error.strerror}"


def configured_sensor_type(draft: Draft, catalogue: Catalogue) -> SensorType | None:
    """Return the sensor type that the config names; None if it is not in the catalogue."""
    name = draft.get(("sensor", "type"))
    if name is None:
        name = Sensor.model_fields["type"].default
    return catalogue.sensor_type(name) if isinstance(name, str) and catalogue.has_sensor_type(name) else None


def configured_sensor_types(draft: Draft, catalogue: Catalogue) -> list[SensorType] | None:
    """Return the sensor types of the generated sensors; None if one of them is not in the catalogue."""
    kinds = draft.get(("replicas", "kinds"))
    if not isinstance(kinds, dict) or not kinds:
        single = configured_sensor_type(draft, catalogue)
        return None if single is None else [single]
    known = [catalogue.sensor_type(name) for name in kinds if catalogue.has_sensor_type(name)]
    return known if len(known) == len(kinds) else None


def sensor_issues(draft: Draft, catalogue: Catalogue) -> Iterator[ConfigIssue]:
    """Yield an issue for each value of the `sensor` section that is not in the catalogue, and for each unknown kind."""
    stated = {key: value for key in Sensor.model_fields if isinstance(value := draft.get(("sensor", key)), str)}
    kinds = draft.get(("replicas", "kinds"))
    for name in kinds if isinstance(kinds, dict) else ():
        if not catalogue.has_sensor_type(name):
            message = (
                f"{format_value(name)} is not one of the types of sensor; {nearest_type(name, tuple(catalogue.types))}"
            )
            yield draft.source_map.issue(("replicas", "kinds", name), message, at_key=True)
    if configured_sensor_type(draft, catalogue) is None and "type" in stated:
        if not isinstance(kinds, dict) or stated["type"] not in kinds:
            message = f"{format_value(stated['type'])} is not one of the types of sensor"
            nearest = nearest_type(stated["type"], tuple(catalogue.types))
            yield draft.source_map.issue(("sensor", "type"), f"{message}; {nearest}")
        return
    for sensor_type in configured_sensor_types(draft, catalogue) or ():
        yield from hardware_issues(draft, stated, sensor_type)


def hardware_issues(draft: Draft, stated: Mapping[str, str], sensor_type: SensorType) -> Iterator[ConfigIssue]:
    maker = stated.get("manufacturer")
    if maker is not None and maker not in sensor_type.models:
        yield unknown_value_issue(
            draft, "manufacturer", maker, tuple(sensor_type.models), f"the manufacturers of {sensor_type.name} sensors"
        )
    owner = maker if maker in sensor_type.models else f"{sensor_type.name} sensors"
    models = sensor_type.models_of(maker)
    if "model" in stated and stated["model"] not in models:
        yield unknown_value_issue(draft, "model", stated["model"], models, f"the models of {owner}")
    if "firmware_version" in stated and stated["firmware_version"] not in sensor_type.firmware:
        version = stated["firmware_version"]
        yield unknown_value_issue(
            draft, "firmware_version", version, sensor_type.firmware, f"the firmware of {sensor_type.name} sensors"
        )


def unknown_value_issue(draft: Draft, key: str, value: str, valid: tuple[str, ...], what: str) -> ConfigIssue:
    return draft.source_map.issue(("sensor", key), f"{format_value(value)} is not one of {what}: {', '.join(valid)}")


def complete_channels(draft: Draft, catalogue: Catalogue) -> Iterator[ConfigIssue]:
    """Complete each listed channel from the profile, if all sensors have the same; yield an issue for a channel that no
    sensor has."""
    types, listed = configured_sensor_types(draft, catalogue), draft.get(("normal_parameters",))
    if not isinstance(listed, dict):
        return
    if not listed or types is None:  # of an unknown type, whose profile cannot complete them
        draft.set_value(("normal_parameters",), None)
        return
    known = tuple(dict.fromkeys(name for each in types for name in each.channels))
    for name, channel in list(listed.items()):
        owners = [each for each in types if name in each.channels]
        if not owners:
            message = f"unknown channel; {type_names(types)} sensors have {', '.join(known)}"
            close = difflib.get_close_matches(name, known, n=1)
            message += f"; did you mean '{close[0]}'?" if close else ""
            yield draft.source_map.issue(("normal_parameters", name), message, at_key=True)
            del listed[name]
        elif channel is None or isinstance(channel, dict):
            stated = {key: value for key, value in (channel or {}).items() if value is not None}
            draft.set_value(("normal_parameters", name), stated)
            if len(types) == 1:
                complete_channel(draft, name, stated, owners[0])


def complete_channel(draft: Draft, name: str, stated: Mapping[str, object], sensor_type: SensorType) -> None:
    profiles = [channels[name] for _, channels in sensor_type.entry.channel_sets() if name in channels]
    for key in SIGNAL_KEYS:
        if key not in stated and all(each == profiles[0] for each in profiles):
            path = ("normal_parameters", name, key)
            draft.complete(path, getattr(profiles[0], key), f"profile of {sensor_type.name} sensors")


def type_names(types: Sequence[SensorType]) -> str:
    return " and ".join(each.name for each in types)


def limit_issues(
    channels: Mapping[str, ChannelParameters], draft: Draft, sensor_type: SensorType
) -> Iterator[ConfigIssue]:
    """Yield an issue for each bound of a healthy signal that is beyond the physical limits, and for a mean that is not
    within bounds that the kind has."""
    for name, channel in channels.items():
        for profile in {
            id(each[name]): each[name] for _, each in sensor_type.entry.channel_sets() if name in each
        }.values():
            lowest = profile.lowest if channel.lowest is None else channel.lowest
            highest = profile.highest if channel.highest is None else channel.highest
            low = profile.min if channel.min is None else channel.min
            high = profile.max if channel.max is None else channel.max
            mean = profile.mean if channel.mean is None else channel.mean
            for key, value in (("min", low), ("max", high)):
                if not lowest <= value <= highest:
                    limits = f"the physical limits {lowest:g} and {highest:g} (lowest and highest, if in another unit)"
                    yield draft.source_map.issue(("normal_parameters", name, key), f"{value:g} is not within {limits}")
            if not low <= mean <= high and None in (channel.mean, channel.min, channel.max):
                message = f"{mean:g} is not between min {low:g} and max {high:g} of {sensor_type.name} sensors"
                yield draft.source_map.issue(("normal_parameters", name, "mean"), message)


def surroundings_issues(name: str, draft: Draft, catalogue: Catalogue) -> Iterator[ConfigIssue]:
    """Yield an issue if the catalogue does not have the surroundings."""
    if name not in (AUTO, NONE, *catalogue.surroundings):
        there_are = ", ".join((AUTO, NONE, *catalogue.surroundings))
        yield draft.source_map.issue(("surroundings",), f"{format_value(name)} is not one of {there_are}")


def replica_issues(sensor: Sensor, replicas: Replicas, draft: Draft) -> Iterator[ConfigIssue]:
    """Yield an issue if several sensors have one id."""
    if sensor.id is not None and replicas.count > 1:
        advice = "leave the id out, or name them all with replicas.prefix"
        message = f"{sensor.id} is the id of one sensor, but replicas.count is {replicas.count}; {advice}"
        yield draft.source_map.issue(("sensor", "id"), message)


def file_issues(config: Config, draft: Draft) -> Iterator[ConfigIssue]:
    """Yield an issue for a shared database that would not be found again, and for an identity file that does not exist."""
    name, identities = config.database.path, config.identities.path
    if config.replicas.database == "shared" and not name.endswith(".db"):
        message = (
            f"{format_value(draft.get(('database', 'path')))} does not end in .db, by which a database is found again"
        )
        yield draft.source_map.issue(("database", "path"), message)
    if identities is not None and identities.endswith(".json") and not Path(identities).exists():
        message = f"{format_value(draft.get(('identities', 'path')))} does not exist (looked for {Path(identities).absolute()})"
        yield draft.source_map.issue(("identities", "path"), message)


def city_filters(where: RandomLocation) -> CityFilters:
    return CityFilters(
        number_of_cities=where.number_of_cities,
        min_population=where.min_population,
        max_population=where.max_population,
        include_countries=where.include_countries,
        exclude_countries=where.exclude_countries,
    )


def city_issues(where: RandomLocation, draft: Draft) -> Iterator[ConfigIssue]:
    """Yield an issue if the filters leave no city, or if the table of cities is invalid."""
    file = Path(where.cities_file) if where.cities_file else None
    if file is not None and file_problem(file):
        return  # `resolve_files` has said so
    try:
        cities = read_cities(file)
    except UserError as error:
        yield ConfigIssue(SourceMark(""), "", str(error))  # it names its own place
        return
    try:
        filter_cities(cities, city_filters(where))
    except UserError as error:
        yield draft.source_map.issue(("random_location",), str(error))

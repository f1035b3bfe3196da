"""What a config says against the catalogue: the sensor it names, the channels it lists; and the files it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fleet.configuration.catalogue import Catalogue, SensorType
from fleet.configuration.catalogue_entries import AUTO, NONE
from fleet.configuration.dialects import Draft
from fleet.configuration.faults import Fault, shown
from fleet.configuration.sections import ChannelParameters, RandomLocation, Replicas, Sensor
from fleet.errors import UserError
from fleet.geography.cities import Filters, choose_from, read_cities

HEALTHY = ("mean", "std_dev", "min", "max")


def resolve_files(draft: Draft, folder: Path) -> Iterator[Fault]:
    """Take the files that a config names from its own folder, those that a flag names from the current one."""
    for path in (("catalogue",), ("random_location", "cities_file")):
        name = draft.get(path)
        if not isinstance(name, str) or not name.isprintable():
            continue  # the model says what is wrong with it
        node, _ = draft.index.nearest(path)
        file = (folder if node.mark.line else Path.cwd()) / name
        draft.place(path, str(file))
        reason = unfit(file)
        if reason:
            yield draft.index.fault(path, f"{shown(name)} {reason} (looked for {file})")


def unfit(file: Path) -> str:
    """Why there is no file to be read at a path; empty if there is one."""
    try:
        if file.is_file():
            return ""
        return "is not a file" if file.exists() else "does not exist"
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        return f"cannot be looked for: {error.strerror}"


def kind_of(draft: Draft, catalogue: Catalogue) -> SensorType | None:
    """The kind of sensor that the config is about; None if there is no such kind."""
    name = draft.get(("sensor", "type"))
    if name is None:
        name = Sensor.model_fields["type"].default
    return catalogue.sensor_type(name) if isinstance(name, str) and catalogue.knows(name) else None


def sensor_faults(draft: Draft, catalogue: Catalogue) -> Iterator[Fault]:
    """What the `sensor` section says that is not in the catalogue."""
    given = {key: value for key in Sensor.model_fields if isinstance(value := draft.get(("sensor", key)), str)}
    kind = kind_of(draft, catalogue)
    if kind is None:
        if "type" in given:
            yield not_one_of(draft, "type", given["type"], tuple(catalogue.types), "the types of sensor")
        return
    maker = given.get("manufacturer")
    if maker is not None and maker not in kind.models:
        yield not_one_of(draft, "manufacturer", maker, tuple(kind.models), f"the manufacturers of {kind.name} sensors")
    owner = maker if maker in kind.models else f"{kind.name} sensors"
    models = kind.models.get(maker or "") or tuple(
        dict.fromkeys(name for made in kind.models.values() for name in made)
    )
    if "model" in given and given["model"] not in models:
        yield not_one_of(draft, "model", given["model"], models, f"the models of {owner}")
    if "firmware_version" in given and given["firmware_version"] not in kind.firmware:
        version = given["firmware_version"]
        yield not_one_of(draft, "firmware_version", version, kind.firmware, f"the firmware of {kind.name} sensors")


def not_one_of(draft: Draft, key: str, value: str, valid: tuple[str, ...], what: str) -> Fault:
    return draft.index.fault(("sensor", key), f"{shown(value)} is not one of {what}: {', '.join(valid)}")


def complete_channels(draft: Draft, catalogue: Catalogue) -> Iterator[Fault]:
    """Give each channel that is listed what it does not say itself, from the profile."""
    kind, listed = kind_of(draft, catalogue), draft.get(("normal_parameters",))
    if kind is None or not isinstance(listed, dict):
        return
    if not listed:
        draft.place(("normal_parameters",), None)
    for name, channel in list(listed.items()):
        profile = kind.channels.get(name)
        if profile is None:
            message = f"unknown channel; {kind.name} sensors have {', '.join(kind.channels)}"
            yield draft.index.fault(("normal_parameters", name), message, at_key=True)
            del listed[name]
        elif channel is None or isinstance(channel, dict):
            stated = {key: value for key, value in (channel or {}).items() if value is not None}
            draft.place(("normal_parameters", name), stated)
            for key in HEALTHY:
                if key not in stated:
                    path = ("normal_parameters", name, key)
                    draft.complete(path, getattr(profile, key), f"profile of {kind.name} sensors")


def limit_faults(channels: Mapping[str, ChannelParameters], draft: Draft, kind: SensorType) -> Iterator[Fault]:
    """Healthy values that are physically impossible."""
    for name, channel in channels.items():
        profile = kind.channels[name]
        lowest = profile.lowest if channel.lowest is None else channel.lowest
        highest = profile.highest if channel.highest is None else channel.highest
        for key, value in (("min", channel.min), ("max", channel.max)):
            if not lowest <= value <= highest:
                limits = f"the physical limits {lowest:g} and {highest:g} (lowest and highest, if in another unit)"
                yield draft.index.fault(("normal_parameters", name, key), f"{value:g} is not within {limits}")


def surroundings_faults(name: str, draft: Draft, catalogue: Catalogue) -> Iterator[Fault]:
    """Surroundings that the catalogue does not know."""
    if name not in (AUTO, NONE, *catalogue.surroundings):
        there_are = ", ".join((AUTO, NONE, *catalogue.surroundings))
        yield draft.index.fault(("surroundings",), f"{shown(name)} is not one of {there_are}")


def fleet_faults(sensor: Sensor, replicas: Replicas, draft: Draft) -> Iterator[Fault]:
    """One id for several sensors."""
    if sensor.id is not None and replicas.count > 1:
        advice = "leave the id out, or name them all with replicas.prefix"
        message = f"{sensor.id} is the id of one sensor, but replicas.count is {replicas.count}; {advice}"
        yield draft.index.fault(("sensor", "id"), message)


def filters_of(where: RandomLocation) -> Filters:
    return Filters(
        number_of_cities=where.number_of_cities,
        min_population=where.min_population,
        max_population=where.max_population,
        include_countries=where.include_countries,
        exclude_countries=where.exclude_countries,
    )


def city_faults(where: RandomLocation, draft: Draft) -> Iterator[Fault]:
    """Filters that leave no city. A table of cities that cannot be read is a UserError with its own place."""
    cities = read_cities(Path(where.cities_file) if where.cities_file else None)
    try:
        choose_from(cities, filters_of(where))
    except UserError as error:
        yield draft.index.fault(("random_location",), str(error))

"""Warnings about valid configs: values that have another effect than they seem to have, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fleet.catalogue.cities import cities_named, read_cities
from fleet.config.config import Config, load_draft, validate_config
from fleet.config.database_section import Database
from fleet.config.dialects import Draft
from fleet.validation.issues import ConfigIssue, KeyPath, format_value, in_file_order

USUAL_FOLDERS = frozenset(map(Path, ("", "data", "logs")))
"""Folders of file names in configs that stand for the data directory."""
FILE_KEYS: tuple[KeyPath, ...] = (
    ("database", "path"),
    ("database", "backup", "path"),
    ("logging", "file"),
    ("simulation", "checkpoint", "file"),
)
"""Keys of whose value only the last part is used: the name of a file in the data directory."""


DEFAULT_DATA = Path("data")


class LoadedConfig(NamedTuple):
    """A valid config, and a line about each value that has no effect or one that may surprise."""

    config: Config
    warnings: tuple[str, ...]


def load_with_warnings(
    path: Path | None,
    environment: Mapping[str, str] = {},
    overrides: Mapping[str, object] = {},
    data: Path = DEFAULT_DATA,
) -> LoadedConfig:
    """Load a config as `load_config` does, with the warnings about it for a fleet whose data directory is `data`."""
    draft, catalogue = load_draft(path, environment, overrides)
    config = validate_config(draft, catalogue)
    found = [*draft.warnings, *effect_warnings(config, draft, data)]
    if path is not None and draft.get(("anomalies",)) is not None:  # others ask for no shares in particular
        found += episode_warnings(config, draft)
    warnings = in_file_order(found)
    return LoadedConfig(config, tuple(dict.fromkeys(" ".join(str(warning).split()) for warning in warnings)))


def effect_warnings(config: Config, draft: Draft, data: Path) -> Iterator[ConfigIssue]:
    """Yield the warnings about a valid config of a fleet whose data directory is `data`."""
    yield from file_warnings(config, draft, data)
    yield from identity_warnings(config, draft)
    yield from location_warnings(config, draft)


def file_warnings(config: Config, draft: Draft, data: Path) -> Iterator[ConfigIssue]:
    """Warn of names of files that are placed elsewhere, and of a name that no database has."""
    for path in FILE_KEYS:
        name = draft.get(path)
        if not isinstance(name, str):
            continue
        folder = Path(name).parent
        own = path == ("database", "path") and config.replicas.database != "shared"
        dropped = folder not in USUAL_FOLDERS and folder.resolve() != data.resolve()
        if own and (dropped or Path(name).name != Path(Database().path).name):
            message = "has no effect: each worker has a database of its own in the data directory (--data)"
            yield draft.source_map.issue(
                path, f"{format_value(name)} {message}; replicas.database: shared has one of that name"
            )
        elif dropped:
            message = f"the folder has no effect, {Path(name).name} is placed in the data directory (--data)"
            yield draft.source_map.issue(path, f"{format_value(name)}: {message}")


def identity_warnings(config: Config, draft: Draft) -> Iterator[ConfigIssue]:
    """Warn of a folder of identities that does not exist."""
    path = config.identities.path
    if path is not None and not Path(path).exists():
        message = (
            f"{format_value(draft.get(('identities', 'path')))} does not exist (looked for {Path(path).absolute()})"
        )
        yield draft.source_map.issue(
            ("identities", "path"), f"{message}; it is made, and identities are generated in it"
        )


def location_warnings(config: Config, draft: Draft) -> Iterator[ConfigIssue]:
    """Warn of a location from which the coordinates of generated sensors cannot be found."""
    location, where = config.sensor.location, config.random_location
    if location is None or where.enabled:
        return
    if not cities_named(read_cities(Path(where.cities_file) if where.cities_file else None), location):
        message = "names no city of the table: generated sensors have no coordinates, and the time zone UTC"
        yield draft.source_map.issue(
            ("sensor", "location"), f"{format_value(draft.get(('sensor', 'location')))} {message}"
        )


def episode_warnings(config: Config, draft: Draft) -> Iterator[ConfigIssue]:
    """Warn of a run that is too short for most of the anomalies: of whose types, by weight, more than half have less than
    the time of one episode in all sensors together."""
    seconds, anomalies = config.simulation.duration_seconds, config.anomalies
    if seconds is None or not anomalies.enabled or anomalies.mode != "share":
        return
    types = anomalies.types.enabled()
    total = sum(section.weight for section in types.values())
    rate, weight, too_long = float(config.simulation.readings_per_second), 0.0, []
    for name, section in types.items():
        length, unit = section.duration
        episode = length if unit == "seconds" else length / rate
        room = seconds * config.replicas.count * anomalies.probability * section.weight / total
        if 0 < room < episode:
            weight += section.weight
            too_long.append(f"{name} {room:.3g} s for episodes of {episode:g} s")
    if weight > total / 2:
        message = f"a run of {seconds:g} s cannot hold the shares of {', '.join(too_long)}; shorten these or run longer"
        yield draft.source_map.issue(("simulation", "duration_seconds"), message)

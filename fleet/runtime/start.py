"""Start a fleet from its config: the body of `fleet up` and of the single worker (`python -m worker`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from fleet.config.config import Config, SourcedValue, located_error
from fleet.config.effects import load_with_warnings
from fleet.datadir.backfill_record import check_backfill_complete
from fleet.datadir.directory import DataDirectory
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.runtime.fleet import Fleet, FleetServices
from fleet.runtime.http_port import BindError, bind_http
from fleet.runtime.planner import Planner
from fleet.runtime.preparation import Listener, prepare_run
from fleet.runtime.reload import ConfigSource
from fleet.standard_output import is_standard_output, kept_for_readings


def launch(
    config: Path | None,
    overrides: Mapping[str, object],
    directory: DataDirectory,
    identities: Path | None,
    services: FleetServices,
    *,
    detach: bool = False,
) -> int:
    """Start a fleet and run it until it ends. Returns the exit code.

    `config` None is the packaged fleet.yaml, `overrides` are those of `load_config`, `identities` is a folder of identity
    files or one such file. `services` run beside the workers. Raises UserError, before anything is written if possible.
    """
    _, warnings = load_with_warnings(config, os.environ, overrides, directory.databases)
    directory.check_startable()
    check_backfill_complete(directory.path)
    source = ConfigSource(config, dict(os.environ), overrides, values_of_last_run(directory))
    settings = source.load()
    if reason := store_error(settings):
        raise located_error(config, os.environ, overrides, "database.store", reason)
    services.check_targets(settings.delivery)
    targets = [target.to for target in settings.delivery.to]
    if detach and (output := next(filter(is_standard_output, targets), None)):
        raise UserError(f"--to: {output} is standard output, which a fleet in the background has not: name a file")
    Planner(settings, directory, identities).check_startable()
    listener = listen(settings, config, overrides)
    directory.hold()  # from here on, the directory is written to
    prepared = prepare_run(settings, directory, source, identities, listener)
    plan = replace(prepared.plan, warnings=(*warnings, *prepared.plan.warnings))
    prepared = replace(prepared, plan=plan)
    if detach:
        from fleet.runtime import daemonize

        daemonize.detach(directory)
    with kept_for_readings(targets):
        return Fleet(prepared, services).run()


def store_error(settings: Config) -> str:
    """Return the reason why a fleet without stored readings cannot be started, "" if it can."""
    if settings.database.store != "none":
        return ""
    if not settings.delivery.to:
        return "none keeps no reading, so it needs a target: name one with --to or in delivery.to"
    if settings.replicas.database == "shared" or settings.replicas.sensors_per_worker > 1:
        return "none needs a worker for each sensor: leave out --shared-db, --sensors-per-worker and their config keys"
    return ""


def values_of_last_run(directory: DataDirectory) -> Mapping[str, object]:
    """Return the config values with which the last run on a directory ended, by dotted key: count, rate, phase, speed,
    layout and kinds of sensor.

    Raises UserError if the manifest is damaged.
    """
    manifest = directory.read_manifest()
    if manifest is None:
        return {}
    count, rate = manifest.count, manifest.rate
    if not rate:  # written by version 0.1.0
        count, rate = count_and_rate_of_roster(directory)
    values: dict[str, object] = {"replicas.count": count or len(manifest.sensors) or None}
    values["simulation.readings_per_second"] = rate or None
    values["simulation.phase"] = manifest.phase
    values["simulation.speed"] = manifest.speed
    if manifest.store == "none":
        values["database.store"] = manifest.store
    if manifest.layout == "shared":
        values["replicas.database"] = manifest.layout
    if manifest.layout == "packed":
        values["replicas.sensors_per_worker"] = manifest.sensors_per_worker
    values["replicas.kinds"] = {name: repr(weight) for name, weight in manifest.kinds} or None
    values["kinds"] = [file for file in manifest.kind_files if Path(file).exists()] or None
    origin = str(directory.path / "fleet.json")
    return {key: SourcedValue(value, origin, continued=True) for key, value in values.items() if value is not None}


def count_and_rate_of_roster(directory: DataDirectory) -> tuple[int, str]:
    """Return the number and the rate of the sensors in the roster, 0 and an empty text if it cannot be read."""
    with suppress(OSError, UserError):
        members = Roster.read(directory.roster).members
        rates = {member.rate for member in members}
        return len(members), f"{Decimal(str(rates.pop())):f}" if len(rates) == 1 else ""
    return 0, ""


def listen(settings: Config, config: Path | None, overrides: Mapping[str, object]) -> Listener | None:
    """Bind the port that the config asks for, None if it asks for none. Raises UserError with the place in the config."""
    http = settings.monitoring
    try:
        return Listener(*bind_http(http.host, http.port)) if http.enabled else None
    except BindError as error:
        raise located_error(config, os.environ, overrides, f"monitoring.{error.key}", str(error)) from error

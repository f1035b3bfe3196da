"""The planner of a run: computes the spec of each worker from the config, the manifest and the identities."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from fleet.catalogue.catalogue import Catalogue
from fleet.config.channels import sensor_type_of_identity
from fleet.config.config import Config, config_catalogue
from fleet.datadir.directory import DataDirectory, FleetManifest, LatestReading, check_is_sqlite
from fleet.datadir.interventions import NO_INTERVENTIONS, Interventions
from fleet.datadir.roster import Member
from fleet.durations import duration_text
from fleet.errors import UserError
from fleet.identities.files import StoredIdentity
from fleet.identities.provisioning import (
    check_identities,
    check_known_kinds,
    generated_seed,
    generator_for,
    provision,
    resolved_identity,
    unknown_hardware_warnings,
)
from fleet.runtime.preflight import check_memory, raise_open_file_limit
from fleet.runtime.sensor_specs import SettingsCache, sensor_specs
from fleet.runtime.simulation_clock import backfill_us, iso_to_microseconds, start_clock
from worker.clock import boot_id
from worker.schedule import SECOND_US, Schedule
from worker.spec import (
    SETTINGS_VERSION,
    WHITE_NOISE_VERSION,
    Identity,
    Layout,
    RunSpec,
    SensorSpec,
    StoreSpec,
    WorkerSpec,
)

NO_LIMIT_US = 1 << 62
"""The longest pause of a run with a history, of which nothing is left out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is ready to be started. `warnings` are for the operator, one line each. `stored` are the identities of all
    members as their files have them. A plan that `continues` an earlier one, or will be changed by a scenario, does not
    determine the number of readings alone."""

    record: FleetManifest
    run: RunSpec
    workers: tuple[WorkerSpec, ...]
    members: tuple[Member, ...]
    warnings: tuple[str, ...]
    stored: tuple[StoredIdentity, ...]
    continues: bool = False


class FleetMembers(NamedTuple):
    """The sensors of a fleet in order, as their files have them, and warnings about them."""

    stored: list[StoredIdentity]
    warnings: list[str]


class Planner:
    """Plans the runs of one config, and of the interventions that override it, on one data directory, and changes of size
    while it runs."""

    def __init__(
        self,
        config: Config,
        directory: DataDirectory,
        identities: Path | None,
        interventions: Interventions = NO_INTERVENTIONS,
        catalogue: Catalogue | None = None,
        settings_cache: SettingsCache | None = None,
    ) -> None:
        self.config, self._directory, self._identities_argument = config, directory, identities
        self.interventions = interventions
        self._settings_cache = settings_cache or SettingsCache()
        self.catalogue = catalogue or config_catalogue(config)
        self.identities = identities or (
            Path(config.identities.path) if config.identities.path else directory.identities
        )

    def with_config(self, config: Config) -> Planner:
        """Return the planner of the same directory under another config, whose catalogue is read again."""
        return Planner(config, self._directory, self._identities_argument, self.interventions)

    def with_interventions(self, interventions: Interventions) -> Planner:
        """Return the planner of the same fleet with other interventions."""
        return Planner(
            self.config,
            self._directory,
            self._identities_argument,
            interventions,
            self.catalogue,
            self._settings_cache,
        )

    def check_startable(self) -> None:
        """Raise UserError if a run could not be planned. Changes no file and takes no lock."""
        old = self._directory.read_manifest()
        if old:
            self._check_manifest(old)
        replicas = self.config.replicas
        workers = -(-replicas.count // replicas.sensors_per_worker)
        raise_open_file_limit(workers)
        check_memory(workers, replicas.count)
        generator = generator_for(self.config, self.catalogue, self._choose_seed(old))
        # In a used directory, `initial_plan` finds errors in identities early enough: it reads all files before it writes
        # any, and reading ten thousand files twice takes seconds.
        check_identities(self.identities, None if self._directory.used else generator.seed)
        if self._layout == "shared" and not old:  # a later run moves a damaged database of its own aside
            check_is_sqlite(self._store("").path)

    def initial_plan(self) -> Plan:
        """Return the plan of a run that starts now. The clocks are read after everything that takes time."""
        config, old = self.config, self._directory.read_manifest()
        if old:
            self._check_manifest(old)
        seed = self._choose_seed(old)
        fleet = self._provision(seed, config.replicas.count)
        latest = self._directory.latest_reading(old) if old else LatestReading(0)
        clock = start_clock(config.simulation, old, latest.time_us)
        record = FleetManifest(
            seed=seed,
            layout=self._layout,
            sensors_per_worker=config.replicas.sensors_per_worker,
            start_us=old.start_us if old else clock.start_us,
            wall_us=clock.wall_us,
            # Grows also when fleet.json was lost but not the databases.
            runs=max((old.runs if old else 0) + 1, clock.wall_us // SECOND_US),
            sensors=old.sensors if old else (),
            boot_id=boot_id(),
            origin_ns=clock.clock.origin_ns,
            settings_version=old.settings_version if old else SETTINGS_VERSION,
            store=config.database.store,
            clock_us=clock.clock.time_us,
            speed=f"{config.simulation.speed.normalize():f}",
            backfill_us=old.backfill_us if old else backfill_us(config.simulation),
            backfilled=old.backfilled if old else False,
        )
        duration = config.simulation.duration_seconds
        run = RunSpec(
            seed=seed,
            number=record.runs,
            start_us=clock.start_us,
            origin_ns=clock.clock.clock_ns(clock.start_us),
            duration_us=None
            if duration is None
            else clock.counted_us - clock.start_us + round(Fraction(str(duration)) * SECOND_US),
            resume="catch_up" if clock.live_us else config.simulation.resume,
            longest_pause_us=NO_LIMIT_US
            if clock.live_us
            else clock.clock.simulated_us(int(config.simulation.longest_pause_seconds * SECOND_US)),
            hang_seconds=config.supervision.hang_seconds,
            speed=clock.clock.speed,
            live_us=clock.live_us,
        )
        if config.database.max_size_mb is not None and self._layout == "shared":
            fleet.warnings.append("database.max_size_mb: a shared database is not rotated, it has many writers")
        if config.database.max_size_mb is not None and config.database.store == "none":
            fleet.warnings.append("database.max_size_mb: a database without readings is not rotated")
        if reason := self._retention_warning():
            fleet.warnings.append(f"database.keep: {reason}")
        older = self._older_rules_warning(record, fleet.stored)
        fleet.warnings.extend(filter(None, (latest.warning, clock.warning, older)))
        continues = (
            clock.continues or bool(config.scenario or self.interventions.pauses) or not is_countable(old, config)
        )
        return replace(self._plan(record, run, fleet), continues=continues)

    def _retention_warning(self) -> str:
        """Return the reason why nothing may ever be removed, "" if it is."""
        database = self.config.database
        if database.keep is None:
            return ""
        if database.store == "none":
            return "a database without readings has nothing to remove"
        if self.config.delivery.to or (database.max_size_mb is not None and self._layout != "shared"):
            return ""
        return "only readings that `fleet collect` has marked are removed; delivery.to or database.max_size_mb would do more"

    def _older_rules_warning(self, record: FleetManifest, sensors: Sequence[StoredIdentity]) -> str | None:
        """Return a warning about sensors whose kind has attributes of a reading that the rules of the directory do not."""
        if record.settings_version > WHITE_NOISE_VERSION:
            return None
        kinds = {self.kind_of(sensor)[0] for sensor in sensors}
        absent = {
            kind: attributes for kind in kinds if (attributes := self.catalogue.types[kind].entry.reading_attributes)
        }
        lacking = "; ".join(f"{kind} sensors have no {', '.join(absent[kind])}" for kind in sorted(absent))
        older = f"{self._directory.path}: was begun by version 0.1.0, whose rules it keeps"
        return f"{older}: {lacking}; take another --data directory for them" if lacking else None

    def scaled(self, plan: Plan, count: int, now_ns: int) -> Plan:
        """Return the same run with `count` sensors. New ones begin on the fleet's grid of timestamps, at their phase."""
        rate = self.config.simulation.readings_per_second.exact
        run = plan.run
        grid = Schedule(0, run.start_us, rate)
        start_us = grid.time(max(0, grid.due(run.clock.now_us(now_ns))))
        later = start_us - run.start_us
        duration = None if run.duration_us is None else max(0, run.duration_us - later)
        joining = replace(run, start_us=start_us, origin_ns=run.clock.clock_ns(start_us), duration_us=duration)
        return self._keeping_workers(plan, self._plan(plan.record, joining, self._provision(plan.record.seed, count)))

    def replanned(self, plan: Plan, edited: Mapping[str, StoredIdentity] = MappingProxyType({})) -> Plan:
        """Return the same run with the same sensors under this planner's config. `edited` are new identities by sensor id."""
        stored = [edited.get(sensor.sensor_id, sensor) for sensor in plan.stored]
        warnings = unknown_hardware_warnings(self.config, self.catalogue, map(self.resolved_identity, edited.values()))
        return self._keeping_workers(plan, self._plan(plan.record, plan.run, FleetMembers(stored, warnings)))

    def check(self, sensor: StoredIdentity) -> None:
        """Raise UserError if the catalogue does not know the hardware of the sensor and the config is strict about that."""
        unknown_hardware_warnings(self.config, self.catalogue, [self.resolved_identity(sensor)])

    def firmware_of(self, sensor: StoredIdentity) -> tuple[str, ...]:
        """Return all firmware versions in the catalogue for that type of sensor."""
        return sensor_type_of_identity(self.config, self.catalogue, self.resolved_identity(sensor).sensor_type).firmware

    def kind_of(self, sensor: StoredIdentity) -> tuple[str, str | None]:
        """Return the kind of a sensor and its variant."""
        identity = self.resolved_identity(sensor)
        sensor_type = sensor_type_of_identity(self.config, self.catalogue, identity.sensor_type)
        return sensor_type.name, sensor_type.variant_of(identity)

    @property
    def overridden_firmware(self) -> str | None:
        """The firmware version of all sensors, regardless of their files; None if it is not overridden."""
        return self.config.identities.override.firmware_version

    def _keeping_workers(self, plan: Plan, next_: Plan) -> Plan:
        """Return `next_` with the workers of `plan`, which keep everything but the specs of their sensors."""
        running = {worker.name: worker for worker in plan.workers}
        workers = tuple(
            replace(running.get(worker.name, worker), sensors=worker.sensors, log_level=worker.log_level)
            for worker in next_.workers
        )
        return replace(next_, run=plan.run, workers=workers, members=self._members(workers), continues=True)

    def _plan(self, record: FleetManifest, run: RunSpec, fleet: FleetMembers) -> Plan:
        identities = [self.resolved_identity(sensor) for sensor in fleet.stored]
        placed = assign_workers(
            record.sensors, [sensor.sensor_id for sensor in identities], self._layout, record.sensors_per_worker
        )
        rate = str(self.config.simulation.readings_per_second)
        record = replace(
            record,
            sensors=placed,
            count=len(identities),
            rate=rate,
            kinds=tuple((self.config.replicas.kinds or {}).items()),
            kind_files=self.config.kinds,
            phase=self.config.simulation.phase,
        )
        worker_names = dict(placed)
        specs = sensor_specs(self.config, self.catalogue, identities, record, self.interventions, self._settings_cache)
        sensors = [(worker_names[sensor.identity.sensor_id], sensor) for sensor in specs]
        sensors.sort(key=lambda pair: pair[1].row)
        workers = tuple(
            WorkerSpec(
                name,
                tuple(sensor for _, sensor in group),
                self._store(name),
                run,
                log_level=self.config.logging.level,
            )
            for name, group in groupby(sensors, key=lambda pair: pair[0])
        )
        return Plan(record, run, workers, self._members(workers), tuple(fleet.warnings), tuple(fleet.stored))

    def _provision(self, seed: int, count: int) -> FleetMembers:
        generator = generator_for(self.config, self.catalogue, seed)
        stored, warnings = provision(self.identities, generator, count, self.config.replicas.start_index)
        check_known_kinds(self.catalogue, stored)
        identities = map(self.resolved_identity, stored)
        return FleetMembers(stored, [*warnings, *unknown_hardware_warnings(self.config, self.catalogue, identities)])

    def resolved_identity(self, sensor: StoredIdentity) -> Identity:
        """Return the identity with the overrides of the config. Raises UserError."""
        return resolved_identity(self.config, self.catalogue, sensor)

    @property
    def _layout(self) -> Layout:
        replicas = self.config.replicas
        return "packed" if replicas.sensors_per_worker > 1 else replicas.database

    def _store(self, worker: str) -> StoreSpec:
        database = self.config.database
        readings = database.store != "none"
        name = Path(database.path).name if self._layout == "shared" else f"{worker}.db"
        return StoreSpec(
            path=self._directory.databases / name,
            batch_size=database.batch_size,
            batch_interval=database.batch_interval,
            retry_attempts=database.retry_attempts,
            retry_delay=database.retry_delay,
            wal=database.wal_mode,
            synchronous=database.synchronous,
            shared=self._layout == "shared",
            error_limit=database.error_limit,
            max_bytes=None if database.max_size_mb is None or not readings else int(database.max_size_mb * 1e6),
            readings=readings,
            keep_us=None if database.keep is None or not readings else round(database.keep * SECOND_US),
            targets=self.config.delivery.digest,
        )

    def _members(self, workers: Sequence[WorkerSpec]) -> tuple[Member, ...]:
        return tuple(self._member(worker, sensor) for worker in workers for sensor in worker.sensors)

    def _member(self, worker: WorkerSpec, sensor: SensorSpec) -> Member:
        settings = sensor.settings
        return Member(
            sensor.row,
            worker.name,
            float(settings.exact_rate),
            worker.store.path,
            self._directory.log,
            tuple((channel.name, channel.unit) for channel in settings.channels),
            sensor.identity,
            sensor.first_due_us(worker.run.start_us),
        )

    def _check_manifest(self, old: FleetManifest) -> None:
        """Raise UserError if the config contradicts the data directory."""
        config, where = self.config, self._directory.path
        if (self._layout, config.replicas.sensors_per_worker) != (old.layout, old.sensors_per_worker):
            was = (
                f"{old.sensors_per_worker} sensors per worker" if old.layout == "packed" else f"{old.layout} databases"
            )
            raise UserError(f"{where}: this fleet was started with {was}; keep that, or take another --data directory")
        if config.database.store != old.store:
            was = "does not store its readings" if old.store == "none" else "stores its readings"
            raise UserError(
                f"{where}: this fleet {was} (--store {old.store}); keep that, or take another --data directory"
            )
        if config.simulation.seed not in (None, old.seed):
            raise UserError(
                f"{where}: this fleet has the seed {old.seed}, not {config.simulation.seed}: "
                "leave --seed out, or take another --data directory"
            )
        if config.simulation.start is not None and iso_to_microseconds(config.simulation.start) != old.start_us:
            began = datetime.fromtimestamp(old.start_us / SECOND_US, UTC).isoformat()
            raise UserError(
                f"{where}: this fleet began at {began}, not at {config.simulation.start}: "
                "leave --start out, or take another --data directory"
            )

        history_us = backfill_us(config.simulation)
        if history_us not in (0, old.backfill_us):
            raise UserError(
                f"{where}: this fleet did not begin with a history of {duration_text(history_us / SECOND_US)}: "
                f"{f'take --backfill {duration_text(old.backfill_us / SECOND_US)}' if old.backfill_us else 'leave --backfill out'}, "
                "or take another --data directory"
            )

    def _choose_seed(self, old: FleetManifest | None) -> int:
        if old:
            return old.seed
        seed = self.config.simulation.seed
        if seed is None and self.identities.is_dir():
            seed = generated_seed(self.identities)
        return secrets.randbelow(1 << 32) if seed is None else seed


def assign_workers(
    placed: Sequence[tuple[str, str]], sensors: Sequence[str], layout: Layout, per_worker: int
) -> tuple[tuple[str, str], ...]:
    """Assign each sensor to a worker. Those of earlier runs stay with their data, new ones follow."""
    known = {sensor for sensor, _ in placed}
    new = [sensor for sensor in sensors if sensor not in known]
    if layout != "packed":
        return (*placed, *((sensor, sensor) for sensor in new))
    packs = len({worker for _, worker in placed})
    return (*placed, *((sensor, f"pack_{packs + number // per_worker:04d}") for number, sensor in enumerate(new)))


def is_countable(old: FleetManifest | None, config: Config) -> bool:
    """True if the number of readings of a run does not depend on where the last run on the directory, if any, has ended. A
    part of an interval has a reading or not, depending on when the next one is due; a whole interval has one."""
    rate, seconds = config.simulation.readings_per_second, config.simulation.duration_seconds
    if old is None or seconds is None:
        return True
    whole = (Fraction(str(seconds)) * rate.exact).denominator == 1
    return whole and config.simulation.resume == "skip" and old.rate == str(rate)

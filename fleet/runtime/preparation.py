"""The preparation of a run: everything that can be refused is refused here, before any process starts."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import apsw
import click
import numpy as np

from fleet.config.config import Config
from fleet.datadir.checkpoint_export import check_export_name
from fleet.datadir.directory import DataDirectory
from fleet.datadir.interventions import read_interventions
from fleet.datadir.logs import prepare_log
from fleet.datadir.manifest import FleetManifest
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.monitoring.health import FleetState
from fleet.runtime.planner import Plan, Planner
from fleet.runtime.preflight import raise_open_file_limit
from fleet.runtime.reload import ConfigSource, watched_identities
from fleet.runtime.watched_files import WatchedFiles
from worker.clock import elapsed_ns
from worker.log import JSON_FORMAT, LogSpec
from worker.schedule import SECOND_US, format_time
from worker.scoreboard import Scoreboard
from worker.spec import StoreSpec
from worker.storage.database import Database
from worker.storage.sinks import Unavailable

MANY_SETTINGS = 50_000
"""Sensors times steps of a scenario, from which on the computation of their settings takes seconds and is announced."""

SPARE_SCOREBOARD_ROWS = 4096
"""Rows for sensors that join while the fleet runs, besides one for each sensor that it begins with."""


WORKERS_WAIT_FOR = (apsw.FullError, apsw.IOError)
"""Errors that do not keep a shared database from being started on: the workers wait until there is room again, as those
with databases of their own do. They also wait for a database that is locked."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The socket on which the HTTP server listens, bound before the first worker is started."""

    socket: socket.socket
    url: str


class PublishedFleet:
    """The fleet as other processes see it: keeps `fleet.json` and `run/roster.json` in step with the plan of a run."""

    def __init__(
        self, directory: DataDirectory, scoreboard: Scoreboard, manifest: FleetManifest, roster: Roster
    ) -> None:
        self._directory, self._scoreboard = directory, scoreboard
        self._manifest, self._roster = manifest, roster
        self._roster_changed_ns = time.monotonic_ns()

    def publish(self, plan: Plan) -> None:
        """Write another plan of the same run. Raises UserError, and then nothing has changed."""
        if (plan.record, plan.members) == (self._manifest, self._roster.members):
            return
        roster = replace(self._roster, members=plan.members)
        with write_errors_as_user_error(self._directory.path):
            self._directory.write_manifest(plan.record)
            roster.write(self._directory.roster)
        self._manifest, self._roster = plan.record, roster
        self._roster_changed_ns = time.monotonic_ns()

    def adopt(self) -> None:
        """Write the id of this process into the roster: it differs from that of the preparing process after a fork."""
        self._roster = replace(self._roster, pid=os.getpid())
        self._roster.write(self._directory.roster)

    def observe(self) -> FleetState:
        members = self._roster.members
        return FleetState(
            roster=self._roster,
            rows=self._scoreboard.rows[[member.row for member in members]],
            target_rates=np.array(self._roster.target_rates, dtype=np.float64),
            roster_changed_ns=self._roster_changed_ns,
            now_ns=time.monotonic_ns(),
        )


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is ready to be started, on a data directory that this process holds. `start_ns` is the time of the
    first reading on `worker.clock`."""

    config: Config
    directory: DataDirectory
    source: ConfigSource
    log: LogSpec
    planner: Planner
    identities: WatchedFiles
    plan: Plan
    scoreboard: Scoreboard
    published: PublishedFleet
    listener: Listener | None
    start_ns: int


def prepare_run(
    config: Config, directory: DataDirectory, source: ConfigSource, identities: Path | None, listener: Listener | None
) -> PreparedRun:
    """Plan a run and write its files. Raises UserError."""
    log = log_spec(config, directory)
    directory.log = log.path
    planner = Planner(config, directory, identities, read_interventions(directory.interventions))
    started_at = datetime.now(UTC)
    watched = watched_identities(planner.identities, config.dynamic_reload)
    sensors, steps = config.replicas.count, len(config.scenario)
    if sensors * steps >= MANY_SETTINGS:
        click.echo(f"computing the settings of {sensors} sensors in {steps} steps of the scenario", err=True)
    plan = planner.initial_plan()
    if config.simulation.checkpoint.enabled:
        databases = {member.database.name for member in plan.members}
        check_export_name(Path(config.simulation.checkpoint.file).name, databases)
    watched.mark_known()
    start_ns = max(plan.run.origin_ns, elapsed_ns())
    raise_open_file_limit(len(plan.workers))
    prepare_databases(config, directory, plan)
    roster = initial_roster(config, source, plan, listener, started_at, time.monotonic_ns() + start_ns - elapsed_ns())
    with write_errors_as_user_error(directory.path):
        directory.write_manifest(plan.record)
        prepare_log(log, directory)
        scoreboard = Scoreboard.create(directory.scoreboard, 2 * len(plan.record.sensors) + SPARE_SCOREBOARD_ROWS)
        roster.write(directory.roster)
    published = PublishedFleet(directory, scoreboard, plan.record, roster)
    return PreparedRun(
        config, directory, source, log, planner, watched, plan, scoreboard, published, listener, start_ns
    )


def initial_roster(
    config: Config,
    source: ConfigSource,
    plan: Plan,
    listener: Listener | None,
    started_at: datetime,
    started_ns: int,
) -> Roster:
    run = plan.run
    return Roster(
        seed=plan.record.seed,
        layout=plan.record.layout,
        run=run.number,
        pid=os.getpid(),
        config=str(source),
        started_at=started_at.isoformat(),
        started_ns=started_ns,
        start_time=format_time(run.start_us),
        duration=None if run.duration_us is None else run.duration_us / SECOND_US,
        url=listener.url if listener else None,
        members=plan.members,
        hang_seconds=config.supervision.hang_seconds,
        resume=run.resume,
        speed=float(run.speed),
        live_us=run.live_us,
        backfill_us=plan.record.backfill_us,
    )


def log_spec(config: Config, directory: DataDirectory) -> LogSpec:
    """Return the log of a fleet: `run/fleet.log`, or the file name in the config, in `logs/` of the data directory."""
    logging = config.logging
    path = directory.databases / "logs" / Path(logging.file).name if logging.file else directory.run / "fleet.log"
    return LogSpec(path, logging.level, JSON_FORMAT if logging.json_lines else logging.format)


def prepare_databases(config: Config, directory: DataDirectory, plan: Plan) -> None:
    if not config.database.preserve_existing:
        for path in {worker.store.path for worker in plan.workers}:
            directory.move_aside(path, plan.record.runs)
    if plan.record.layout == "shared":
        create_shared_database(plan.workers[0].store)


def create_shared_database(store: StoreSpec) -> None:
    """Create the shared database before a hundred workers try to at once, or recover it if the last workers did not
    close it. The database is closed again, because no process may be forked while it is open."""
    database = Database(replace(store, shared=False))
    try:
        database.claim([], 0)
    except Unavailable as error:
        if error.recreated:
            click.echo(f"warning: {error}", err=True)
        elif error.outcome_unknown and not isinstance(error.__cause__, WORKERS_WAIT_FOR):
            raise UserError(f"{store.path}: cannot be opened as a database: {error}") from error
    finally:
        database.close()


@contextlib.contextmanager
def write_errors_as_user_error(directory: Path) -> Iterator[None]:
    """Raise an error of the system in the data directory as the user's error that it is."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{directory}: the data directory cannot be written: {error.strerror}") from error

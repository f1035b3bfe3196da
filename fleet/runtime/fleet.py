"""A running fleet: the plan, the supervisor and everything around them, from the lock to the summary."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import numpy as np

from fleet.config.config import Config
from fleet.datadir import token
from fleet.datadir.backup_status import read_backup_status
from fleet.datadir.directory import DataDirectory
from fleet.datadir.events import EventLog
from fleet.datadir.interventions import read_interventions
from fleet.datadir.log_files import LogRotation, prepare_log
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.monitoring.error_classes import error_classes
from fleet.monitoring.health_events import UnreadyEvents
from fleet.monitoring.renewals import DatabaseReplacedEvents
from fleet.monitoring.stats import FleetStats, fleet_stats, unhealthy_sensors
from fleet.runtime import open_files
from fleet.runtime.command_handler import CommandHandler
from fleet.runtime.control_server import ControlServer
from fleet.runtime.fault_injection import FaultInjection
from fleet.runtime.maintenance import start_maintenance
from fleet.runtime.paths import log_spec, maintenance_config
from fleet.runtime.planner import Plan, Planner, target_rate
from fleet.runtime.progress import ProgressMonitor, print_summary, progress_for
from fleet.runtime.reconciler import Reconciler
from fleet.runtime.reload import ConfigSource, Reloader, watched_identities
from fleet.runtime.rollout import Rollouts
from supervisor import Supervisor
from worker.clock import elapsed_ns
from worker.log import configure_logging
from worker.schedule import SECOND_US, Schedule, format_time
from worker.scoreboard import Scoreboard
from worker.spec import StoreSpec
from worker.storage.connection import checkpoint_wal
from worker.storage.database import Database
from worker.storage.sinks import Unavailable
from worker.supervision.forkserver import ForkServer
from worker.supervision.restart_policy import RestartPolicy
from worker.supervision.slot import Event, Outcome

log = logging.getLogger("fleet")

SPARE_BOARD_ROWS = 4096
ON_TIME_SECONDS = 3.0
"""Seconds within which a run that has all its readings counts as on time."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the aggregator listens; bound before the first worker is started."""

    socket: socket.socket
    url: str


class Fleet:
    """One run on one data directory, which must be held already."""

    def __init__(self, config: Config, directory: DataDirectory, source: ConfigSource, identities: Path | None) -> None:
        self._config, self._directory, self._source = config, directory, source
        self._log = log_spec(config, directory)
        directory.log = self._log.path
        self._planner = Planner(config, directory, identities, read_interventions(directory.interventions))

    def prepare(self, listener: Listener | None) -> Plan:
        """Everything that can be refused is refused here, before any process starts."""
        self._listener = listener
        self._started_at = datetime.now(UTC)
        self._identities = watched_identities(self._planner.identities, self._config.dynamic_reload)
        plan = self._plan = self._planner.initial_plan()
        self._identities.mark_known()
        self._run_start_ns = max(plan.run.origin_ns, elapsed_ns())
        self._started_ns = time.monotonic_ns() + self._run_start_ns - elapsed_ns()
        open_files.raise_open_file_limit(len(plan.workers))
        if not self._config.database.preserve_existing:
            for path in {worker.store.path for worker in plan.workers}:
                self._directory.move_aside(path, plan.record.runs)
        if plan.record.layout == "shared":
            self._create_shared_database(plan.workers[0].store)
        with write_errors_as_user_error(self._directory.path):
            self._directory.write_manifest(plan.record)
            prepare_log(self._log, self._directory)
            self._board = Scoreboard.create(self._directory.scoreboard, 2 * len(plan.record.sensors) + SPARE_BOARD_ROWS)
            self._write_roster(plan)
        return plan

    def run(self) -> int:
        """Run until the end or until stopped. Returns the exit code."""
        self._write_roster(
            self._plan
        )  # with this process's id, not that of the one that prepared it if it was detached
        self._log_to_file()
        plan, directory = self._plan, self._directory
        supervisor = self._supervisor = Supervisor(
            self._board,
            self._policy(),
            plan.run.number,
            lambda group: ForkServer(directory.scoreboard, self._log, group),
        )
        begun = time.monotonic_ns()
        supervisor.add(plan.workers)
        if self._listener:
            self._serve(self._listener)
        start_maintenance(supervisor, maintenance_config(self._config, directory), directory.roster)
        logging_ = self._config.logging
        supervisor.every(1.0, LogRotation(self._log.path, logging_.max_file_size_mb * 1e6, logging_.backup_count))
        sensors, console = len(plan.members), self._config.logging.console
        progress = progress_for(lambda: target_rate(self._plan.members), sensors, console)
        self._announce(progress.event)
        watch = ProgressMonitor(progress, self._stats, self._committed, begun)
        supervisor.every(0.25, watch)
        for kind in (DatabaseReplacedEvents, UnreadyEvents):
            note = partial(supervisor.record_event, kind="trouble")
            supervisor.every(1.0, kind(self._board, lambda: self._plan.members, note))
        events = self._record_events(supervisor, progress.event)
        reconciler = Reconciler(self._planner, plan, supervisor, self._publish_plan, self._board.capacity // 2)
        self._reload = Reloader(self._source, reconciler, self._identities, directory.reload)
        if self._config.dynamic_reload.enabled:
            supervisor.every(self._config.dynamic_reload.check_interval_seconds / 2, self._reload)
        rollouts, fault_injection = (
            Rollouts(reconciler, directory.rollout),
            FaultInjection(reconciler, self._board, directory.interventions),
        )
        supervisor.every(0.5, rollouts)
        supervisor.every(0.5, fault_injection)
        command_handler = CommandHandler(reconciler, self._reload, rollouts, fault_injection, events)
        control = ControlServer(directory.control, supervisor, command_handler.handle)
        gc.freeze()
        try:
            outcome = supervisor.run()
            events.add(time.time(), "stop", "the fleet has ended")
        finally:
            control.close()
            progress.close()
        if plan.record.layout == "shared":
            checkpoint_wal(plan.workers[0].store.path)
        return self._summarize(outcome)

    # Around the run

    def _serve(self, listener: Listener) -> None:
        run_directory, http = self._directory.run, listener.socket
        monitoring = self._config.monitoring
        renamed, hosts = monitoring.endpoints.renamed(), (monitoring.host, *monitoring.allowed_hosts)
        try:
            token.ensure_token(self._directory.token)
        except OSError as error:
            log.warning("no control over HTTP: %s: %s", self._directory.token, error.strerror)

        def body(lifeline: socket.socket) -> int:
            # Imported in the process that needs it: Flask is 15 MB that the supervisor can do without.
            from fleet.web.server import serve

            serve(http, run_directory, lifeline, renamed, hosts)
            return 0

        self._supervisor.add_service("http", body, keep=(http.fileno(),))

    def _publish_plan(self, plan: Plan) -> None:
        """Another plan of the same run: on record before anybody is told."""
        if (plan.record, plan.members) != (self._plan.record, self._plan.members):
            with write_errors_as_user_error(self._directory.path):
                self._directory.write_manifest(plan.record)
                self._write_roster(plan)
        self._plan = plan

    def _record_events(self, supervisor: Supervisor, say: Callable[[str], None]) -> EventLog:
        """From here on what happens is said and kept."""
        events = EventLog(self._directory.events)
        events.add(time.time(), "start", f"{len(self._plan.members)} sensors, seed {self._plan.record.seed}")

        def tell(event: Event) -> None:
            say(str(event))
            sensors = event.sensors or (() if event.worker == "fleet" else (event.worker,))
            what = event.text if event.worker == "fleet" else f"{event.worker}: {event.text}"
            events.add(event.time, event.kind, what, event.effect, sensors)

        supervisor.on_event = tell
        return events

    def _write_roster(self, plan: Plan) -> None:
        run = plan.run
        Roster(
            seed=plan.record.seed,
            layout=plan.record.layout,
            run=run.number,
            pid=os.getpid(),
            config=str(self._source),
            started_at=self._started_at.isoformat(),
            started_ns=self._started_ns,
            start_time=format_time(run.start_us),
            duration=None if run.duration_us is None else run.duration_us / SECOND_US,
            url=self._listener.url if self._listener else None,
            members=plan.members,
        ).write(self._directory.roster)

    def _policy(self) -> RestartPolicy:
        told = self._config.supervision
        return RestartPolicy(
            hang_seconds=told.hang_seconds,
            budget=told.restart_budget,
            window_seconds=told.restart_window_seconds,
            backoff_min=told.backoff_min_seconds,
            backoff_max=told.backoff_max_seconds,
            drain_seconds=told.drain_seconds,
        )

    def _create_shared_database(self, store: StoreSpec) -> None:
        """Make the shared database before a hundred workers try to at once, or look after it if the last ones did not
        close it. Never fork with it open."""
        database = Database(replace(store, shared=False))
        try:
            database.claim([], 0)
        except Unavailable as error:
            if error.recreated:
                click.echo(f"warning: {error}", err=True)
            elif error.outcome_unknown:  # and not just locked by another program: the workers will wait for that
                raise UserError(f"{store.path}: cannot be opened as a database: {error}") from error
        finally:
            database.close()

    def _log_to_file(self) -> None:
        logging.raiseExceptions = False  # on a full disk lines are lost, and the terminal is not to show how
        configure_logging(self._log)
        for warning in self._plan.warnings:
            log.warning("%s", warning)

    def _announce(self, say: Callable[[str], None]) -> None:
        plan = self._plan
        rate = target_rate(plan.members)
        layout = {"own": "a database each", "shared": "one shared database", "packed": "packed"}[plan.record.layout]
        for warning in plan.warnings:
            say(f"warning: {warning}")
        count, where = len(plan.members), self._directory.databases
        sensors = f"{count} sensors" if count != 1 else f"sensor {plan.members[0].sensor_id}"
        say(f"{sensors}, {rate:,g} readings/s, {layout} in {where}, seed {plan.record.seed}")
        if self._listener:
            say(f"dashboard: {self._listener.url}")

    def _stats(self) -> FleetStats:
        return fleet_stats(self._board.rows[self._rows()])

    def _committed(self) -> int:
        rows = self._board.rows[self._rows()]
        return int(np.count_nonzero(rows["first_commit_ns"]))

    def _rows(self) -> list[int]:
        return [member.row for member in self._plan.members]

    def _summarize(self, outcome: Outcome) -> int:
        plan, run = self._plan, self._plan.run
        due = None
        if run.duration_us is not None and not plan.continues:
            due = sum(
                Schedule(0, 0, sensor.settings.exact_rate).count(run.duration_us)
                for worker in plan.workers
                for sensor in worker.sensors
            )
        total = self._stats()
        seconds = (elapsed_ns() - self._run_start_ns) / 1e9
        if (
            due is not None
            and run.duration_us is not None
            and due == total.scheduled
            and seconds < run.duration_us / SECOND_US + ON_TIME_SECONDS
        ):
            seconds = (
                run.duration_us / SECOND_US
            )  # the end of a run is when its last readings are due, not when it exits
        classes = error_classes(total, asdict(self._reload.report), read_backup_status(self._directory.run))
        print_summary(total, due, max(0.0, seconds), classes)
        names = [member.sensor_id for member in plan.members]
        for sensor, state, reason in unhealthy_sensors(self._board.rows[self._rows()], names)[:10]:
            click.echo(f"{sensor}: {state}: {reason}")
        if outcome.killed_by_request:
            return 130
        return 0 if outcome.clean else 1


@contextlib.contextmanager
def write_errors_as_user_error(directory: Path) -> Iterator[None]:
    """What the system refuses in the data directory, as the user's error that it is."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{directory}: the data directory cannot be written: {error.strerror}") from error

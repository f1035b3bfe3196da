"""A running fleet: the supervisor of a prepared run, its services, and its reactions to commands and edited files."""

from __future__ import annotations

import gc
import logging
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from fleet.config.delivery import Delivery
from fleet.datadir import token
from fleet.datadir.delivery_status import DELIVERY_STATUS_FILE, read_delivery_status
from fleet.datadir.events import EventLog
from fleet.datadir.logs import LogRotation
from fleet.monitoring.health import FleetState
from fleet.monitoring.health_events import HealthEvents
from fleet.runtime.backfill import Backfill
from fleet.runtime.command_handler import CommandHandler
from fleet.runtime.control_server import ControlServer
from fleet.runtime.fault_injection import FaultInjection
from fleet.runtime.maintenance import maintenance_config, start_maintenance
from fleet.runtime.preparation import Listener, PreparedRun
from fleet.runtime.progress import ProgressMonitor, ignoring_closed_output, progress_for
from fleet.runtime.reconciler import Reconciler
from fleet.runtime.reload import Reloader
from fleet.runtime.rollout import Rollouts
from fleet.runtime.simulation_clock import stated_start
from fleet.runtime.summary import print_run_summary, success_rate, summarize
from supervisor import Supervisor
from worker.clock import elapsed_ns
from worker.log import LogSpec, configure_logging
from worker.schedule import SECOND_US, format_time
from worker.storage.connection import finish_shared
from worker.supervision.forkserver import ForkServer
from worker.supervision.restart_policy import RestartPolicy
from worker.supervision.slot import Event, Outcome

log = logging.getLogger("fleet")

LAYOUT_DESCRIPTIONS = {"own": "a database each", "shared": "one shared database", "packed": "packed"}

ServeHTTP = Callable[[socket.socket, Path, socket.socket, Mapping[str, str], Collection[str]], None]
"""Serves on a listening socket the fleet of a run directory until a lifeline closes, under aliases of paths, to clients
that name one of the allowed hosts. It runs in a process of its own."""

DELIVERY_STOP_SECONDS = 5.0
"""Seconds that the delivery process has to end beyond those for what is left."""


class FleetServices(NamedTuple):
    """What runs beside the workers and is made of packages above this one. `check_targets` raises UserError for a target that
    cannot work; `deliver` delivers the readings below a folder until a lifeline closes, and then what is left, and keeps a
    status file; faults on the way follow from the seed. It runs in a process of its own."""

    serve_http: ServeHTTP
    check_targets: Callable[[Delivery], None]
    deliver: Callable[[Delivery, Path, Path, int, socket.socket], int]


class Fleet:
    """One run on one data directory. To be created in the process that runs it: the roster gets this process's id."""

    def __init__(self, prepared: PreparedRun, services: FleetServices) -> None:
        config, directory, plan = prepared.config, prepared.directory, prepared.plan
        self._prepared, self._observe = prepared, prepared.published.observe
        prepared.published.adopt()
        log_to_file(prepared.log)
        for warning in plan.warnings:
            log.warning("%s", warning)
        self._supervisor = supervisor = Supervisor(
            prepared.scoreboard,
            self._restart_policy(),
            plan.run.number,
            lambda group: ForkServer(directory.scoreboard, prepared.log, group),
        )
        begun_ns = time.monotonic_ns()
        supervisor.add(plan.workers)
        if prepared.listener:
            self._add_http_service(prepared.listener, services.serve_http)
        self._delivers = bool(config.delivery.to)
        self._add_delivery_service(services)
        start_maintenance(supervisor, maintenance_config(config, directory), directory.roster)
        self._reconciler = Reconciler(
            prepared.planner, plan, supervisor, prepared.published.publish, prepared.scoreboard.capacity // 2
        )
        self._progress = progress_for(self._target_rate, len(plan.members), config.logging.console)
        self._announce()
        self._events = EventLog(directory.events)
        self._events.add(time.time(), "start", f"{len(plan.members)} sensors, seed {plan.record.seed}")
        supervisor.on_event = self._record_event
        self._reload = Reloader(prepared.source, self._reconciler, prepared.identities, directory.reload)
        self._rollouts = Rollouts(self._reconciler, directory.rollout, self._simulated_seconds)
        self._fault_injection = FaultInjection(
            self._reconciler,
            prepared.scoreboard,
            directory.interventions,
            tuple(target.to for target in config.delivery.to),
        )
        self._backfill = Backfill(self._reconciler, self._observe)
        self._add_timers(ProgressMonitor(self._progress, self._observe, begun_ns))
        handler = CommandHandler(self._reconciler, self._reload, self._rollouts, self._fault_injection, self._events)
        self._control = ControlServer(directory.control, supervisor, handler.handle)

    def run(self) -> int:
        """Run until the end or until stopped. Returns the exit code."""
        gc.freeze()
        try:
            outcome = self._supervisor.run()
            self._events.add(time.time(), "stop", "the fleet has ended")
        finally:
            self._control.close()
            self._progress.close()
        return self._conclude(outcome)

    # Building

    def _restart_policy(self) -> RestartPolicy:
        supervision = self._prepared.config.supervision
        return RestartPolicy(
            hang_seconds=supervision.hang_seconds,
            budget=supervision.restart_budget,
            window_seconds=supervision.restart_window_seconds,
            backoff_min=supervision.backoff_min_seconds,
            backoff_max=supervision.backoff_max_seconds,
            drain_seconds=supervision.drain_seconds,
        )

    def _add_http_service(self, listener: Listener, serve_http: ServeHTTP) -> None:
        directory, monitoring = self._prepared.directory, self._prepared.config.monitoring
        path_aliases = monitoring.endpoints.renamed()
        allowed_hosts = (monitoring.host, *monitoring.allowed_hosts)
        try:
            token.ensure_token(directory.token)
        except OSError as error:
            log.warning("no control over HTTP: %s: %s", directory.token, error.strerror)

        def body(lifeline: socket.socket) -> int:
            serve_http(listener.socket, directory.run, lifeline, path_aliases, allowed_hosts)
            return 0

        self._supervisor.add_service("http", body, keep=(listener.socket.fileno(),))

    def _add_delivery_service(self, services: FleetServices) -> None:
        directory, delivery = self._prepared.directory, self._prepared.config.delivery
        status_file = directory.run / DELIVERY_STATUS_FILE
        status_file.unlink(missing_ok=True)  # of an earlier run
        if self._delivers:
            self._supervisor.add_service(
                "delivery",
                partial(services.deliver, delivery, directory.databases, status_file, self._prepared.plan.record.seed),
                release_seconds=delivery.drain_seconds + DELIVERY_STOP_SECONDS,
            )

    def _add_timers(self, progress_monitor: ProgressMonitor) -> None:
        config, every = self._prepared.config, self._supervisor.every
        max_log_bytes = config.logging.max_file_size_mb * 1e6
        every(1.0, LogRotation(self._prepared.log.path, max_log_bytes, config.logging.backup_count))
        every(0.25, progress_monitor)
        every(1.0, HealthEvents(self._observe, partial(self._supervisor.record_event, kind="trouble")))
        if config.dynamic_reload.enabled:
            every(config.dynamic_reload.check_interval_seconds / 2, self._reload)
        every(0.5, self._rollouts)
        every(0.5, self._backfill)
        every(0.5, self._fault_injection)

    def _announce(self) -> None:
        plan = self._prepared.plan
        for warning in plan.warnings:
            self._progress.event(f"warning: {warning}")

        def say(text: str) -> None:
            self._progress.event(text)
            log.info("%s", text)

        count, layout = len(plan.members), LAYOUT_DESCRIPTIONS[plan.record.layout]
        sensors = f"{count} sensors" if count != 1 else f"sensor {plan.members[0].sensor_id}"
        folder = self._prepared.directory.databases
        say(f"{sensors}, {self._target_rate():,g} readings/s, {layout} in {folder}, seed {plan.record.seed}")
        if plan.run.speed != 1:
            say(f"simulated time passes {float(plan.run.speed):g} times as fast as the wall clock")
        simulation = self._prepared.config.simulation
        first = plan.run.start_us == plan.record.start_us
        if plan.run.live_us:
            say(f"first the history since {format_time(plan.record.start_us)}, then live in the same timeline")
        elif first and simulation.seed is not None and stated_start(simulation) is None:
            say(
                "the readings also depend on the time: for the same bytes from this seed, add --start TIME or --for TIME"
            )
        if self._prepared.listener:
            self._announce_dashboard(self._prepared.listener.url)

    def _announce_dashboard(self, url: str) -> None:
        """Show the address, on a terminal as a link that unlocks the controls; the log never has the token."""
        log.info("dashboard: %s", url)
        link = token.dashboard_link(url, self._prepared.directory.token) if sys.stdout.isatty() else url
        self._progress.event(f"dashboard: {link}")

    # Running

    def _target_rate(self) -> float:
        plan = self._reconciler.plan
        return sum(member.rate for member in plan.members) * float(plan.run.speed)

    def _simulated_seconds(self) -> float:
        return self._reconciler.plan.run.clock.now_us(elapsed_ns()) / SECOND_US

    def _record_event(self, event: Event) -> None:
        """Show an event on the terminal and append it to the event log."""
        self._progress.event(str(event))
        of_fleet = event.worker == "fleet"
        sensors = event.sensors or (() if of_fleet else (event.worker,))
        text = event.text if of_fleet else f"{event.worker}: {event.text}"
        self._events.add(event.time, event.kind, text, event.effect, sensors)

    def _conclude(self, outcome: Outcome) -> int:
        """Print the summary and return the exit code."""
        self._backfill()
        fleet = self._observe()
        plan, report, stopped = self._reconciler.plan, self._reload.report, self._supervisor.draining
        summary = summarize(self._prepared, plan, fleet, report, outcome, stopped=stopped)
        log.info("ended: %d readings written, %s", summary.stats.readings, success_rate(summary))
        print_run_summary(summary, fleet, self._prepared.directory)
        problems = [*self._database_problems(fleet), *self._delivery_problems()]
        for problem in problems:
            with ignoring_closed_output():
                click.echo(f"error: {problem}", err=True)
        if outcome.killed_by_request:
            return 130
        return 0 if outcome.clean and not problems else 1

    def _delivery_problems(self) -> list[str]:
        """Find targets that do not have everything."""
        if not self._delivers:
            return []
        status = read_delivery_status(self._prepared.directory.run)
        if status is None:
            return ["nothing is known of the delivery: see `fleet logs`"]
        rest = f"`fleet up --data {self._prepared.directory.path}` with the same targets delivers the rest"
        unfinished = [each for each in status.targets if not each.complete]
        refusing = [each for each in status.targets if each.refused]
        return [
            *(f"{each.name} does not have all readings: {rest}" for each in unfinished),
            *(f"{each.name} refused {each.refused:,} readings: see .collector/dead-letters.jsonl" for each in refusing),
        ]

    def _database_problems(self, fleet: FleetState) -> list[str]:
        """Find readings that were committed in this run or before it and are no longer in the databases."""
        plan = self._reconciler.plan
        rows = fleet.rows
        lacking = rows["incomplete"] > 0 if plan.run.start_us <= plan.record.start_us else rows["renewals"] > 0
        problems = [
            f"{name} was damaged, deleted or replaced, and begun again without its earlier readings: see `fleet logs`"
            for name in sorted({fleet.members[row].database.name for row in lacking.nonzero()[0].tolist()})
        ]
        if plan.record.layout == "shared":
            path = plan.workers[0].store.path
            committed = dict(
                zip((member.sensor_id for member in fleet.members), rows["next_seq"].tolist(), strict=True)
            )
            if damage := finish_shared(path, committed):
                problems.append(f"{path.name}: {damage}; keep a copy, and see `fleet verify`")
        return problems


def log_to_file(spec: LogSpec) -> None:
    logging.raiseExceptions = False  # on a full disk lines are lost, and no traceback may appear on the terminal
    configure_logging(spec)

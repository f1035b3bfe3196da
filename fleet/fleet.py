"""A running fleet: the plan, the supervisor and everything around them, from the lock to the summary."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np

from fleet import free_memory, open_files
from fleet.config import Config
from fleet.control import Answer, AnyCommand, ControlSocket, Down, Restart, Scale, Status
from fleet.data_directory import DataDirectory
from fleet.errors import UserError
from fleet.figures import Figures, figures, unwell
from fleet.plan import Plan, Planner, asked_rate
from fleet.progress import Watch, print_summary, progress_for
from fleet.renewals import Renewals
from fleet.roster import Roster
from supervisor import Supervisor
from worker.board import Board
from worker.clock import elapsed_ns
from worker.database import Database, tidy
from worker.restarts import Policy
from worker.schedule import SECOND, Schedule, text
from worker.sinks import Unavailable
from worker.slot import Outcome
from worker.spec import StoreSpec
from worker.template import LOG_FORMAT, Template

log = logging.getLogger("fleet")

SPARE_ROWS = 4096
ON_TIME = 3.0
"""Seconds within which a run that has all its readings counts as on time."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the aggregator listens; bound before the first worker is started."""

    socket: socket.socket
    url: str


class Fleet:
    """One run on one data directory, which must be held already."""

    def __init__(self, config: Config, directory: DataDirectory, source: str, identities: Path | None) -> None:
        self._config, self._directory, self._source = config, directory, source
        self._planner = Planner(config, directory, identities)

    def prepare(self, listener: Listener | None) -> Plan:
        """Everything that can be refused is refused here, before any process starts."""
        self._listener = listener
        self._started_at = datetime.now(UTC)
        plan = self._plan = self._planner.first()
        self._begun_ns = max(plan.run.origin_ns, elapsed_ns())
        self._started_ns = time.monotonic_ns() + self._begun_ns - elapsed_ns()
        open_files.allow(len(plan.workers))
        if not self._config.database.preserve_existing:
            for path in {worker.store.path for worker in plan.workers}:
                self._directory.set_aside(path, plan.record.runs)
        if plan.record.layout == "shared":
            self._create(plan.workers[0].store)
        with refused(self._directory.path):
            self._directory.write_record(plan.record)
            self._board = Board.create(self._directory.board, 2 * len(plan.record.sensors) + SPARE_ROWS)
            self._publish()
        return plan

    def run(self) -> int:
        """Run until the end or until stopped. Returns the exit code."""
        self._publish()  # with this process's id, which is not the one that prepared it if it was detached
        self._log_to_file()
        plan, directory = self._plan, self._directory
        supervisor = self._supervisor = Supervisor(
            self._board, self._policy(), plan.run.number, lambda group: Template(directory.board, directory.log, group)
        )
        begun = time.monotonic_ns()
        supervisor.add(plan.workers)
        if self._listener:
            self._serve(self._listener)
        progress = progress_for(asked_rate(plan.members), len(plan.members))
        self._announce(progress.event)
        watch = Watch(progress, self._figures, self._committed, begun)
        supervisor.every(0.25, watch)
        supervisor.every(1.0, Renewals(self._board, lambda: self._plan.members, supervisor.note))
        supervisor.tell = lambda event: progress.event(f"{event.worker}: {event.text}")
        control = ControlSocket(directory.control, supervisor, self.handle)
        gc.freeze()
        try:
            outcome = supervisor.run()
        finally:
            control.close()
            progress.close()
        if plan.record.layout == "shared":
            tidy(plan.workers[0].store.path)
        return self._conclude(outcome)

    # Commands

    def handle(self, command: AnyCommand) -> Answer:
        match command:
            case Status():
                return self._status()
            case Down():
                if not self._supervisor.draining:
                    self._supervisor.drain()
                return {"pid": os.getpid()}
            case Scale():
                return self._scale(command.count)
            case Restart():
                return self._restart(command.sensor)

    def _status(self) -> Answer:
        events = [{"time": event.time, "worker": event.worker, "text": event.text} for event in self._supervisor.events]
        return {"pid": os.getpid(), "draining": self._supervisor.draining, "events": events[-20:]}

    def _scale(self, count: int) -> Answer:
        if self._supervisor.draining:
            raise UserError("the fleet is stopping")
        if count > self._board.capacity // 2:
            raise UserError(f"{count} sensors are more than this run has room for; at most {self._board.capacity // 2}")
        before = len(self._plan.members)
        plan = self._planner.scaled(self._plan, count, elapsed_ns())
        open_files.allow(len(plan.workers))
        free_memory.allow(max(0, len(plan.workers) - len(self._plan.workers)), max(0, count - before))
        old = {worker.name: worker for worker in self._plan.workers}
        new = {worker.name: worker for worker in plan.workers}
        self._plan = plan
        with refused(self._directory.path):
            self._directory.write_record(plan.record)
            self._publish()
        self._supervisor.remove([name for name in old if name not in new])
        self._supervisor.add([worker for name, worker in new.items() if name not in old])
        for name, worker in new.items():
            if name in old and worker is not old[name]:
                self._supervisor.restart(name, worker)
        self._supervisor.note("fleet", f"scaled from {before} to {len(plan.members)} sensors")
        return {"before": before, "count": len(plan.members)}

    def _restart(self, sensor: str) -> Answer:
        for member in self._plan.members:
            if member.sensor_id == sensor:
                self._supervisor.restart(member.worker)
                return {"worker": member.worker}
        raise UserError(f"there is no sensor {sensor} in this fleet")

    # Around the run

    def _serve(self, listener: Listener) -> None:
        run_directory, http = self._directory.run, listener.socket

        def body(lifeline: socket.socket) -> int:
            # Imported in the process that needs it: Flask is 15 MB that the supervisor can do without.
            from fleet.server import serve

            serve(http, run_directory, lifeline)
            return 0

        self._supervisor.serve("http", body, keep=(http.fileno(),))

    def _publish(self) -> None:
        plan, run = self._plan, self._plan.run
        Roster(
            seed=plan.record.seed,
            layout=plan.record.layout,
            run=run.number,
            pid=os.getpid(),
            config=self._source,
            started_at=self._started_at.isoformat(),
            started_ns=self._started_ns,
            start_time=text(run.start_us),
            duration=None if run.duration_us is None else run.duration_us / SECOND,
            url=self._listener.url if self._listener else None,
            members=plan.members,
        ).write(self._directory.roster)

    def _policy(self) -> Policy:
        told = self._config.supervision
        return Policy(
            hang=told.hang_seconds,
            budget=told.restart_budget,
            window=told.restart_window_seconds,
            backoff_min=told.backoff_min_seconds,
            backoff_max=told.backoff_max_seconds,
            drain=told.drain_seconds,
        )

    def _create(self, store: StoreSpec) -> None:
        """Make the shared database before a hundred workers try to at once, or look after it if the last ones did not
        close it. Never fork with it open."""
        database = Database(replace(store, shared=False))
        try:
            database.claim([], 0)
        except Unavailable as error:
            if error.renewed:
                click.echo(f"warning: {error}", err=True)
            elif error.lost:  # and not just locked by another program: the workers will wait for that
                raise UserError(f"{store.path}: cannot be opened as a database: {error}") from error
        finally:
            database.close()

    def _log_to_file(self) -> None:
        handler = logging.FileHandler(self._directory.log)
        logging.raiseExceptions = False  # on a full disk lines are lost, and the terminal is not to show how
        logging.basicConfig(level=self._config.logging.level, handlers=[handler], format=LOG_FORMAT, force=True)
        for warning in self._plan.warnings:
            log.warning("%s", warning)

    def _announce(self, say: Callable[[str], None]) -> None:
        plan = self._plan
        rate = asked_rate(plan.members)
        layout = {"own": "a database each", "shared": "one shared database", "packed": "packed"}[plan.record.layout]
        for warning in plan.warnings:
            say(f"warning: {warning}")
        say(
            f"{len(plan.members)} sensors, {rate:,g} readings/s, {layout} in {self._directory.path}, seed {plan.record.seed}"
        )
        if self._listener:
            say(f"dashboard: {self._listener.url}")

    def _figures(self) -> Figures:
        return figures(self._board.rows[self._rows()])

    def _committed(self) -> int:
        rows = self._board.rows[self._rows()]
        return int(np.count_nonzero(rows["first_commit_ns"]))

    def _rows(self) -> list[int]:
        return [member.row for member in self._plan.members]

    def _conclude(self, outcome: Outcome) -> int:
        plan, run = self._plan, self._plan.run
        due = None
        if run.duration_us is not None and not plan.continues:
            due = sum(
                Schedule(0, 0, sensor.settings.exact_rate).count(run.duration_us)
                for worker in plan.workers
                for sensor in worker.sensors
            )
        total = self._figures()
        seconds = (elapsed_ns() - self._begun_ns) / 1e9
        if (
            due is not None
            and run.duration_us is not None
            and due == total.scheduled
            and seconds < run.duration_us / SECOND + ON_TIME
        ):
            seconds = run.duration_us / SECOND  # the end of a run is when its last readings are due, not when it exits
        print_summary(total, due, max(0.0, seconds))
        names = [member.sensor_id for member in plan.members]
        for sensor, state, reason in unwell(self._board.rows[self._rows()], names)[:10]:
            click.echo(f"{sensor}: {state}: {reason}")
        if outcome.killed_by_request:
            return 130
        return 0 if outcome.clean else 1


@contextlib.contextmanager
def refused(directory: Path) -> Iterator[None]:
    """What the system refuses in the data directory, as the user's error that it is."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{directory}: the data directory cannot be written: {error.strerror}") from error

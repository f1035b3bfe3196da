"""The summary at the end of a run, as a table on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from fleet.datadir.backups import read_backup_status
from fleet.datadir.delivery_status import read_delivery_status
from fleet.datadir.directory import DataDirectory
from fleet.datadir.reload_report import ReloadReport
from fleet.monitoring.backfill import backfill_progress
from fleet.monitoring.health import FleetState, count_healthy, display_states, unhealthy_sensors
from fleet.monitoring.paused import PausedSensor, paused_sensors, total_paused
from fleet.monitoring.stats import FleetStats, error_classes, fleet_stats, types_to_show
from fleet.runtime.planner import Plan
from fleet.runtime.preparation import PreparedRun
from fleet.runtime.progress import ignoring_closed_output
from worker.clock import elapsed_ns
from worker.schedule import SECOND_US, Schedule
from worker.scoreboard import STATE_INDEX
from worker.supervision.slot import Outcome

ON_TIME_SECONDS = 3.0
"""Seconds after its end within which a run that has all its readings counts as on time."""

MAX_UNHEALTHY_LISTED = 10


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The result of a run. `due` is the number of scheduled readings that it should have, None if its end was open or it
    was stopped before its end; `healthy` counts the sensors that wrote all that was due, `paused` are those
    that ended paused; `errors` are counted by class. `stored` is False for databases without readings. `history` is the
    share of the history that is written, None if that is all or there is none."""

    stats: FleetStats
    healthy: int
    paused: Sequence[PausedSensor]
    due: int | None
    seconds: float
    errors: Mapping[str, int]
    stored: bool = True
    history: float | None = None


def summarize(
    prepared: PreparedRun, plan: Plan, fleet: FleetState, reload: ReloadReport, outcome: Outcome, *, stopped: bool
) -> RunSummary:
    """Summarize a run that has ended with `outcome`; `stopped` if it was ordered to end."""
    stats = fleet_stats(fleet.rows)
    due = None if stopped else readings_due(plan)
    seconds = (elapsed_ns() - prepared.start_ns) / 1e9
    if plan.run.duration_us is not None and due == stats.scheduled and not plan.run.live_us:
        planned = plan.run.clock.wall_us(plan.run.duration_us) / SECOND_US
        if seconds < planned + ON_TIME_SECONDS:
            seconds = planned  # a run ends when its last readings are due, not when the processes exit
    errors = error_classes(stats, reload, read_backup_status(prepared.directory.run))
    states = display_states(fleet)
    incomplete = {*outcome.failed, *outcome.pending, *outcome.killed}
    # A worker that was killed while it drained counts as stopped, but has left readings unwritten.
    states[[member.worker in incomplete for member in fleet.members]] = STATE_INDEX["unready"]
    end_us = plan.run.clock.now_us(elapsed_ns()) if stopped else plan.run.end_us
    pauses = {sensor.identity.sensor_id: sensor.pauses for worker in plan.workers for sensor in worker.sensors}
    paused = paused_sensors(fleet.members, fleet.rows, pauses, plan.run.start_us, end_us)
    stored = plan.record.store != "none"
    progress = backfill_progress(fleet) if plan.record.owes_history else None
    history = progress and progress.share
    return RunSummary(stats, count_healthy(states), paused, due, max(0.0, seconds), errors, stored, history)


def readings_due(plan: Plan) -> int | None:
    """Return the number of scheduled readings of a whole run, None if the plan alone does not determine it."""
    start_us, end_us = plan.run.start_us, plan.run.end_us
    if end_us is None or plan.continues:
        return None
    sensors = (sensor for worker in plan.workers for sensor in worker.sensors)
    schedules = (Schedule(0, each.first_due_us(start_us), each.settings.exact_rate) for each in sensors)
    return sum(schedule.end_seq(end_us) for schedule in schedules)


def print_run_summary(summary: RunSummary, fleet: FleetState, directory: DataDirectory) -> None:
    print_summary(summary)
    for sensor, state, reason in unhealthy_sensors(fleet)[:MAX_UNHEALTHY_LISTED]:
        with ignoring_closed_output():
            click.echo(f"{sensor}: {state}: {reason}")
    data = directory.path
    with ignoring_closed_output():
        if directory.databases != data:  # a single worker
            click.echo(f"the readings are in {directory.databases}")
            return
        databases = len({member.database for member in fleet.members})
        stored = "the readings are" if summary.stored else "no readings are stored; what determines them is"
        click.echo(f"{stored} in {data}, {databases:,} database{'s' if databases != 1 else ''}")
        click.echo(f"check them: fleet verify --data {data}")
        delivery = read_delivery_status(directory.run)
        if delivery is None:
            click.echo(f"deliver them: fleet collect --data {data} --to TARGET")
        for target in delivery.targets if delivery else ():
            click.echo(str(target))
        click.echo(f"continue: fleet up --data {data}")


def print_summary(summary: RunSummary) -> None:
    stats, due, seconds = summary.stats, summary.due, summary.seconds
    rows = [
        ("sensors", f"{stats.sensors:,}"),
        ("scheduled readings", f"{stats.scheduled:,}" + (f" of {due:,}" if due is not None else "")),
        ("rows written" if summary.stored else "readings made", f"{stats.readings:,}"),
        *((f"  {type_}", f"{count:,}") for type_, count in types_to_show(stats.anomalies).items()),
        ("restarts", f"{stats.restarts:,}"),
        ("success rate", success_rate(summary)),
        *((("errors", f"{stats.errors:,}"),) if stats.errors or any(summary.errors.values()) else ()),
        *((f"  {name}", f"{count:,}") for name, count in summary.errors.items() if count),
        ("retries", f"{stats.retries:,}"),
        *((("database renewals", f"{stats.renewals:,}"),) if stats.renewals else ()),
        ("commits", f"{stats.commits:,}, {stats.commit_ms:.1f} ms on average"),
        ("achieved rate", f"{stats.scheduled / seconds:,.1f} readings/s over {seconds:,.1f} s" if seconds else "-"),
    ]
    with ignoring_closed_output():
        if sys.stdout.isatty():
            print_table(rows)
        else:
            click.echo("\n".join(f"{name}: {value}" for name, value in rows))


def success_rate(summary: RunSummary) -> str:
    """Describe the share of due readings that are committed. It is known if the end of the run was, or if all sensors
    ended healthy; not after a database was renewed, because its readings were written again or are gone."""
    stats, due = summary.stats, summary.due
    if summary.history is not None:
        return f"{int(1000 * summary.history) / 10:g}% of the history is written, the next start goes on with it"
    if stats.renewals:
        renewed = f"{stats.renewals:,} database{'s were' if stats.renewals != 1 else ' was'} renewed"
        return f"not known: {renewed}; `fleet verify` says what they hold"
    if due is not None:
        return f"{stats.scheduled / due:.2%} of the readings that were due" if due else "nothing was due"
    behind = stats.sensors - summary.healthy
    if behind:
        return f"not known: {behind:,} sensor{'s' if behind != 1 else ''} ended with readings due"
    paused = f"; {len(summary.paused):,} {total_paused(summary.paused)}" if summary.paused else ""
    return f"100.00% of the readings that were due{paused}"


def print_table(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="run summary", title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table, highlight=False)

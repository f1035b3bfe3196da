"""`fleet status`: the state of the running fleet, from its scoreboard, its roster and its own answer."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet.commands.options import DATA_OPTION
from fleet.commands.rollout import describe_rollout
from fleet.commands.running_fleet import ask_fleet
from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.datadir.directory import DataDirectory
    from fleet.datadir.roster import Roster
    from fleet.monitoring.observation import Observation
    from fleet.runtime.commands import Answer

MAX_LISTED = 20
"""Lines of one kind that are printed, such as unhealthy sensors."""

MAX_EVENTS = 5
OWN_PROBABILITY_TEXT = "with an anomaly probability of their own"


@click.command()
@DATA_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(data: Path, as_json: bool) -> int:
    """Show the state of the running fleet. The exit code is 1 if a sensor is unhealthy."""
    from fleet.datadir.directory import DataDirectory

    directory = DataDirectory(data)
    if directory.holder() is None and not as_json:
        print_last_run(directory)
    answer = ask_fleet(data, command="status")
    report = build_report(directory, answer)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        print_status(report)
    return 0 if not report["unwell"] else 1


def print_last_run(directory: DataDirectory) -> None:
    """Print what the last fleet on the directory wrote, and how to go on with it; nothing if none has run there."""
    from fleet.datadir.interventions import read_interventions
    from fleet.datadir.roster import Roster
    from fleet.monitoring.paused import paused_sensors, total_paused
    from fleet.monitoring.stats import fleet_stats
    from worker.scoreboard import Scoreboard

    try:
        roster = Roster.read(directory.roster)
        start_us, end_us = simulated_span(roster)
        rows = Scoreboard(directory.scoreboard, writable=False).rows[[member.row for member in roster.members]]
    except (OSError, ValueError, IndexError, UserError):  # no fleet has run here, or its files are damaged
        return
    stats, data = fleet_stats(rows), directory.path
    databases = len({member.database for member in roster.members})
    plural = "s" if databases != 1 else ""
    click.echo(
        f"the last fleet here had {stats.sensors:,} sensors, since {roster.started_at[:19]}, seed {roster.seed}, and wrote "
        f"{stats.readings:,} readings to {databases:,} database{plural}"
    )
    if paused := paused_sensors(
        roster.members, rows, read_interventions(directory.interventions).pauses, start_us, end_us
    ):
        total = total_paused(paused)
        click.echo(f"{total.sensors:,} sensor{'s' if total.sensors != 1 else ''} {total}")
    click.echo(f"`fleet up --data {data}` goes on, `fleet verify --data {data}` checks the readings")


def simulated_span(roster: Roster) -> tuple[int, int | None]:
    """Return the simulated times at which the run starts and ends, None for a run without an end. ValueError if the roster
    is damaged."""
    from fleet.runtime.simulation_clock import iso_to_microseconds
    from worker.schedule import SECOND_US

    start_us = iso_to_microseconds(roster.start_time)
    return start_us, None if roster.duration is None else start_us + round(roster.duration * SECOND_US)


def build_report(directory: DataDirectory, answer: Answer) -> dict[str, Any]:
    """Return what `fleet status --json` prints."""
    from fleet.datadir.interventions import read_interventions
    from fleet.datadir.state_file import state_document
    from fleet.monitoring.health import count_by_state, count_healthy, display_states, unhealthy_sensors
    from fleet.monitoring.observation import FleetUnavailable, Observer
    from fleet.monitoring.paused import paused_sensors, total_paused
    from fleet.monitoring.stats import error_classes, fleet_stats
    from fleet.runtime.simulation_clock import iso_to_microseconds
    from worker.clock import elapsed_ns

    interventions = read_interventions(directory.interventions)
    try:
        observation = Observer(directory.run).observe()
    except FleetUnavailable as error:
        raise UserError(f"{directory.path}: {error}") from error
    roster, stats, states = observation.roster, fleet_stats(observation.rows), display_states(observation)
    sums = asdict(stats)
    del sums["failed"]  # it is in "states"
    start_us, now_us = iso_to_microseconds(roster.start_time), interventions.clock.now_us(elapsed_ns())
    paused = paused_sensors(roster.members, observation.rows, interventions.pauses, start_us, now_us)
    return {
        "pid": answer["pid"],
        "draining": answer["draining"],
        "started_at": roster.started_at,
        "seed": roster.seed,
        "layout": roster.layout,
        "url": roster.url,
        "asked_readings_per_second": sum(roster.target_rates),
        "sensors": sums.pop("sensors"),
        "states": count_by_state(states),
        **sums,
        "healthy": count_healthy(states),
        "backfill": backfill_document(observation),
        "unwell": [reason._asdict() for reason in unhealthy_sensors(observation)],
        "errors_by_class": error_classes(stats, observation.reload, observation.backups),
        "backups": state_document(observation.backups),
        "delivery": delivery_document(observation),
        "reload": answer["reload"],
        "rollout": answer["rollout"],
        "interventions": answer["interventions"],
        "paused": total_paused(paused)._asdict() if paused else None,
        "events": answer["events"],
    }


def backfill_document(observation: Observation) -> dict[str, Any] | None:
    """Return the progress of the history, None if there is none or it is written."""
    from fleet.monitoring.backfill import backfill_progress

    progress = backfill_progress(observation)
    if progress is None:
        return None
    rate = float(observation.measured_rates.sum())
    return {**progress.document(rate), "text": progress.describe(rate)}


def delivery_document(observation: Observation) -> dict[str, Any] | None:
    """Return the targets, and those that do not get their readings; None for a fleet that delivers nothing."""
    from fleet.monitoring.health import failing_targets

    status, now = observation.delivery, observation.now.timestamp()
    if status is None:
        return None
    failing = failing_targets(status, now, observation.catch_up_rate)
    return {"targets": status.documents(now), "failing": [target._asdict() for target in failing]}


def print_status(report: dict[str, Any]) -> None:
    """Print the report of `build_report` as text."""
    from fleet.monitoring.stats import format_error_classes, types_to_show

    states = ", ".join(f"{count} {state}" for state, count in report["states"].items())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in types_to_show(report["anomalies"]).items())
    lines = [
        f"{report['sensors']} sensors: {states}" + (" (draining)" if report["draining"] else ""),
        f"pid {report['pid']}, since {report['started_at'][:19]}, seed {report['seed']}, {report['layout']} databases",
        (
            f"{report['scheduled']:,} readings committed, target rate {report['asked_readings_per_second']:,g}/s, "
            f"lag {report['lag']:.1f} s"
        ),
        f"anomalous: {kinds}",
        (
            f"{report['restarts']} restarts, {report['errors']} errors, {report['retries']} retries, "
            f"{report['commits']:,} commits of {report['commit_ms']:.1f} ms"
        ),
    ]
    if report["backfill"]:
        lines.insert(1, report["backfill"]["text"])
    if any(report["errors_by_class"].values()):
        lines.append(f"errors by class: {format_error_classes(report['errors_by_class'])}")
    if report["renewals"]:
        lines.append(
            f"{report['renewals']} databases were damaged, deleted or replaced and recreated; see `fleet logs`"
        )
    if report["backups"]:
        lines.extend(describe_backups(report["backups"]))
    if report["delivery"]:
        lines.extend(describe_target(target) for target in report["delivery"]["targets"])
        lines.extend(
            f"degraded: {bad['target']} does not get its readings: {bad['reason']}"
            for bad in report["delivery"]["failing"][:MAX_LISTED]
        )
    if report["url"]:
        lines.append(f"dashboard: {report['url']}")
    lines.extend(f"{bad['sensor_id']}: {bad['state']}: {bad['reason']}" for bad in report["unwell"][:MAX_LISTED])
    if report["rollout"]:
        lines.append(describe_rollout(report["rollout"]))
    lines.extend(describe_interventions(report["interventions"], report.get("paused")))
    lines.extend(f"not reloaded: {problem}" for problem in report["reload"]["problems"][:MAX_LISTED])
    lines.extend(f"needs a restart: {difference}" for difference in report["reload"]["needs_restart"][:MAX_LISTED])
    if report["events"]:
        lines.append("last events:")
        lines.extend(
            f"  {local_time(event['time'])} {event['worker']}: {event['text']}"
            for event in report["events"][-MAX_EVENTS:]
        )
    click.echo("\n".join(lines))


def describe_interventions(interventions: dict[str, Any], paused: dict[str, Any] | None) -> list[str]:
    """Return a line for each injection, and one each for paused sensors and for changed anomaly probabilities."""
    from fleet.monitoring.paused import PausedTotal

    lines: list[str] = list(interventions["injections"])
    if count := interventions["paused"]:
        phrase = PausedTotal(**paused) if paused else "paused"
        lines.append(f"{count} sensor{'s are' if count != 1 else ' is'} {phrase}")
    if count := interventions["probabilities"]:
        lines.append(f"{count} sensor{'s have' if count != 1 else ' has'} an anomaly probability of its own")
    return lines


def describe_backups(backups: dict[str, Any]) -> list[str]:
    """Return a line about all backups, and one for each that failed last."""
    last = f", the last at {local_time(backups['last_at'])}" if backups["last_at"] else ""
    failed = f", {backups['failed']} backups failed" if backups["failed"] else ""
    summary = f"{backups['made']} backups made in {backups['folder']}{last}, {backups['keep']} of each kept{failed}"
    return [summary, *(f"backup failed: {reason}" for _, reason in backups["failures"])]


def describe_target(target: dict[str, Any]) -> str:
    """Return a line about a target of the delivery."""
    parts = [f"delivered to {target['name']}: {target['delivered']:,} readings, {target['rate']:,.0f}/s"]
    if target["backlog"]:
        parts.append(f"{target['backlog']:,} to go, the oldest for {target['backlog_age_seconds']:,.0f} s")
    if target["refused"]:
        parts.append(f"{target['refused']:,} refused")
    if target["retries"]:
        parts.append(f"{target['retries']:,} retried")
    text = ", ".join(parts)
    if target["error"]:
        return f"{text}; fails since {local_time(target['failing_since'])}: {without_name(target['error'], target)}"
    if target["last_error"]:
        last = without_name(target["last_error"], target)
        return f"{text}; last error at {local_time(target['last_error_at'])}: {last}"
    return text


def without_name(error: str, target: dict[str, Any]) -> str:
    return error.removeprefix(f"{target['name']}: ")


def local_time(seconds: float) -> str:
    """Return a Unix time as the time of day here."""
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%H:%M:%S}"

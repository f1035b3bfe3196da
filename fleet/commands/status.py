"""`fleet status`: how the fleet of a data directory is, from its scoreboard and its roster."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fleet.commands.operator import ask_fleet, describe_rollout
from fleet.datadir.directory import DataDirectory
from fleet.datadir.state_file import state_document
from fleet.errors import UserError
from fleet.monitoring.health import count_by_state, count_healthy, display_states, unhealthy_sensors
from fleet.monitoring.observation import FleetUnavailable, Observer
from fleet.monitoring.stats import error_classes, fleet_stats, format_error_classes
from fleet.runtime.commands import Answer
from fleet.runtime.planner import target_rate

OWN_PROBABILITY_TEXT = "with an anomaly probability of their own"


def show(data: Path, *, as_json: bool) -> int:
    """Print the status. Returns 0 if no sensor is unhealthy, as /healthz has it, else 1. Raises UserError if no fleet runs there."""
    directory = DataDirectory(data)
    if directory.holder() is None:
        raise UserError(f"{data}: no fleet is running here")
    answer = ask_fleet(data, command="status")
    report = build_report(directory, answer)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        print_status(report)
    return 0 if not report["unwell"] else 1


def build_report(directory: DataDirectory, answer: Answer) -> dict[str, Any]:
    try:
        observation = Observer(directory.run).observe()
    except FleetUnavailable as error:
        raise UserError(f"{directory.path}: {error}") from error
    roster, stats, states = observation.roster, fleet_stats(observation.rows), display_states(observation)
    sums = asdict(stats)
    del sums["failed"]  # it is in "states"
    return {
        "pid": answer["pid"],
        "draining": answer["draining"],
        "started_at": roster.started_at,
        "seed": roster.seed,
        "layout": roster.layout,
        "url": roster.url,
        "asked_readings_per_second": target_rate(roster.members),
        "sensors": sums.pop("sensors"),
        "states": count_by_state(states),
        **sums,
        "healthy": count_healthy(states),
        "unwell": [reason._asdict() for reason in unhealthy_sensors(observation)],
        "errors_by_class": error_classes(stats, observation.reload, observation.backups),
        "backups": state_document(observation.backups),
        "reload": answer["reload"],
        "rollout": answer["rollout"],
        "interventions": answer["interventions"],
        "events": answer["events"],
    }


def print_status(report: dict[str, Any]) -> None:
    states = ", ".join(f"{count} {state}" for state, count in report["states"].items())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report["anomalies"].items())
    lines = [
        f"{report['sensors']} sensors: {states}" + (" (draining)" if report["draining"] else ""),
        f"pid {report['pid']}, since {report['started_at'][:19]}, seed {report['seed']}, {report['layout']} databases",
        (
            f"{report['scheduled']:,} readings settled, {report['asked_readings_per_second']:,g}/s asked for, "
            f"lag {report['lag']:.1f} s"
        ),
        f"anomalous: {kinds}",
        (
            f"{report['restarts']} restarts, {report['errors']} errors, {report['retries']} retries, "
            f"{report['commits']:,} commits of {report['commit_ms']:.1f} ms"
        ),
    ]
    if any(report["errors_by_class"].values()):
        lines.append(f"errors by class: {format_error_classes(report['errors_by_class'])}")
    if report["renewals"]:
        found = f"{report['renewals']} times a worker found its database damaged, deleted or replaced"
        lines.append(f"{found}; it was begun anew, see `fleet logs`")
    if report["backups"]:
        lines.extend(describe_backups(report["backups"]))
    if report["url"]:
        lines.append(f"dashboard: {report['url']}")
    lines.extend(f"{bad['sensor_id']}: {bad['state']}: {bad['reason']}" for bad in report["unwell"][:20])
    if report["rollout"]:
        lines.append(describe_rollout(report["rollout"]))
    lines.extend(report["interventions"]["injections"])
    for count, what in (
        (report["interventions"]["paused"], "paused"),
        (report["interventions"]["probabilities"], OWN_PROBABILITY_TEXT),
    ):
        if count:
            lines.append(f"{count} sensor{'s are' if count != 1 else ' is'} {what}")
    lines.extend(f"not reloaded: {problem}" for problem in report["reload"]["problems"][:20])
    lines.extend(f"needs a restart: {difference}" for difference in report["reload"]["needs_restart"][:20])
    if report["events"]:
        lines.append("last events:")
        lines.extend(
            f"  {local_time(event['time'])} {event['worker']}: {event['text']}" for event in report["events"][-5:]
        )
    click.echo("\n".join(lines))


def describe_backups(account: dict[str, Any]) -> list[str]:
    last = f", the last at {local_time(account['last_at'])}" if account["last_at"] else ""
    failed = f", {account['failed']} backups failed" if account["failed"] else ""
    head = f"{account['made']} backups made in {account['folder']}{last}, {account['keep']} of each kept{failed}"
    return [head, *(f"no backup: {reason}" for _, reason in account["failures"])]


def local_time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%H:%M:%S}"

"""`fleet status`: how the fleet of a data directory is, from its scoreboard and its roster."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fleet.commands.operator import ask_fleet, describe_rollout
from fleet.datadir.backup_status import read_backup_status
from fleet.datadir.directory import DataDirectory
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.monitoring.error_classes import error_classes, format_error_classes
from fleet.monitoring.stats import fleet_stats, unhealthy_sensors
from fleet.runtime.commands import Answer
from fleet.runtime.planner import target_rate
from worker.scoreboard import Scoreboard

OWN_PROBABILITY_TEXT = "with an anomaly probability of their own"


def show(data: Path, *, as_json: bool) -> int:
    """Print it. The exit code is 0 if every sensor is well, 1 otherwise. UserError if no fleet runs there."""
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
    roster = Roster.read(directory.roster)
    rows = Scoreboard(directory.scoreboard, writable=False).snapshot()[[member.row for member in roster.members]]
    total = fleet_stats(rows)
    names = [member.sensor_id for member in roster.members]
    bad = [
        {"sensor_id": sensor, "state": state, "reason": reason}
        for sensor, state, reason in unhealthy_sensors(rows, names)
    ]
    return {
        "pid": answer["pid"],
        "draining": answer["draining"],
        "started_at": roster.started_at,
        "seed": roster.seed,
        "layout": roster.layout,
        "url": roster.url,
        "asked_readings_per_second": target_rate(roster.members),
        **asdict(total),
        "healthy": total.healthy,
        "unwell": bad,
        "errors_by_class": error_classes(total, answer.get("reload", {}), read_backup_status(directory.run)),
        "backups": read_backup_status(directory.run),
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

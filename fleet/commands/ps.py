"""`fleet ps`: the fleets that run on this machine, with their folders and dashboards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps(as_json: bool) -> int:
    """List the fleets of this user that run on this machine; for root, those of all users."""
    fleets = sorted(running_fleets(), key=lambda each: str(each["data"]))
    if as_json:
        click.echo(json.dumps(fleets, indent=2))
    elif not fleets:
        click.echo("no fleet is running; `fleet up` starts one")
    else:
        rows = [("PID", "SENSORS", "SINCE", "DATA", "DASHBOARD")]
        rows += [
            (
                str(each["pid"]),
                str(each["sensors"]),
                str(each["started_at"])[:19],
                shorten_path(str(each["data"])),
                str(each["url"] or "-"),
            )
            for each in fleets
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def running_fleets() -> Iterator[dict[str, Any]]:
    """Yield the fleets whose processes this user may examine. A fleet's process holds the lock of its directory open."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if not any("python" in Path(word).name or "fleet" in word for word in (process.info["cmdline"] or ())[:2]):
            continue
        try:
            paths = [Path(file.path) for file in process.open_files()]
        except (psutil.Error, OSError):  # ended by now, or of another user
            continue
        for path in paths:
            if path.parts[-2:] == ("run", "lock") and (found := describe_fleet(path.parent.parent, process.pid)):
                yield found


def describe_fleet(data: Path, pid: int) -> dict[str, Any] | None:
    """Describe the fleet on a directory, None if it is not held by that process."""
    from fleet.datadir.directory import DataDirectory
    from fleet.datadir.roster import Roster
    from fleet.errors import UserError

    directory = DataDirectory(data)
    try:
        if directory.holder() != pid:
            return None
        roster = Roster.read(directory.roster)
    except (OSError, UserError):  # it only starts, or is damaged
        return {"pid": pid, "data": str(data), "sensors": 0, "started_at": "starting", "url": None}
    return {
        "pid": pid,
        "data": str(data),
        "sensors": len(roster.members),
        "started_at": roster.started_at,
        "url": roster.url,
    }


def shorten_path(path: str) -> str:
    """Return a path relative to the working directory if it is below that."""
    return os.path.relpath(path) if path.startswith(f"{os.getcwd()}{os.sep}") else path  # noqa: PTH109

"""The examples at the end of each command's help."""

from __future__ import annotations

from collections.abc import Iterable

import click

EXAMPLES = {
    "backfill": (
        "fleet backfill --from 2026-01-01 --to 2026-02-01 --rate 1/min --out january",
        "fleet backfill --from 30d --rate 1/min --out history --format parquet",
        "fleet backfill --from 7d --rate 1/10s --to postgresql://db/metrics",
    ),
    "collect": (
        "fleet collect --data data/demo --to sqlite:///data/central.db --once",
        "fleet collect --data data/demo --to http://127.0.0.1:8090 --interval 5s",
    ),
    "config check": ("fleet config check fleet.yaml",),
    "config init": ("fleet config init chaos-test", "fleet config init fleet my-fleet.yaml"),
    "config list": ("fleet config list",),
    "config schema": ("fleet config schema > fleet.schema.json",),
    "config show": ("fleet config show fleet.yaml --origins", "fleet config show --replicas 5"),
    "docs": ("fleet docs --llm",),
    "down": ("fleet down --data data/demo",),
    "export": (
        "fleet export data/demo -o demo --format parquet",
        "fleet export data/demo -o minutes --every 1m --layout wide",
    ),
    "identities mint": ("fleet identities mint 20 --out sensors --seed 42",),
    "inject": (
        "fleet inject spike --share 10% --for 30s",
        "fleet inject trend --city Shanghai --channel temperature",
        "fleet inject missing_data --all --id outage",
        "fleet inject --cancel outage",
    ),
    "logs": ("fleet logs --data data/demo", "fleet logs -f SENSOR_000001"),
    "pause": ("fleet pause --share 10%", "fleet pause --all"),
    "plot": (
        "fleet plot SENSOR_000001 --last 1h -o plot.png",
        "fleet plot --channel temperature --data data/demo",
    ),
    "ps": ("fleet ps", "fleet ps --json"),
    "receive": ("fleet receive --port 9000 --to data/central.db",),
    "report": ("fleet report data/demo -o report.html",),
    "restart": ("fleet restart SENSOR_000001",),
    "resume": ("fleet resume", "fleet resume --city Shanghai"),
    "rollout": (
        "fleet rollout --firmware 3.0.0-beta --share 20%",
        "fleet rollout --firmware 2.1 --share 100% --step 10% --every 5m",
    ),
    "scale": ("fleet scale 30 --data data/demo",),
    "status": ("fleet status --data data/demo", "fleet status --json"),
    "stream": (
        "fleet stream -rate 50000 -d 10s",
        "fleet stream -o - --kind bme280 --sensors 5 -rate 10 | jq .temperature",
    ),
    "top": ("fleet top --data data/demo",),
    "up": (
        "fleet up --replicas 20 --rate 5 --data data/demo",
        "fleet up --replicas 20 --seed 42 --for 1m --data data/demo",
        "fleet up -c fleet.yaml --detach",
    ),
    "verify": (
        "fleet verify --complete --data data/demo",
        "fleet verify --data data/demo --against sqlite:///data/central.db",
    ),
}
"""Command lines by the name of their command, without `fleet`."""


def add_examples(commands: Iterable[click.Command], group: str = "") -> None:
    """Set the epilog of each command, and of those in groups, to its examples."""
    for command in commands:
        name = f"{group}{command.name}"
        if isinstance(command, click.Group):
            add_examples(command.commands.values(), f"{name} ")
        elif name in EXAMPLES:
            command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[name])

"""`fleet collect`: its flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet.commands.options import DurationParam, IntegerParam, PathParam

TARGET_FORMS = "http(s)://..., sqlite:///FILE, postgresql://... or parquet:DIR"


@click.command()
@click.option(
    "--data-dir",
    "--data",
    type=PathParam(),
    metavar="DIR",
    default=Path("data"),
    show_default=True,
    help="Folder whose databases are swept, those in folders below too.",
)
@click.option("--to", "--api-url", "target", metavar="TARGET", required=True, help=f"Where to: {TARGET_FORMS}.")
@click.option(
    "--batch-size", type=IntegerParam(1, 100_000), default=1000, show_default=True, help="Readings at a time."
)
@click.option("--once", is_flag=True, help="One sweep; without it, sweep after sweep until stopped.")
@click.option(
    "--interval", type=DurationParam(), default="10s", show_default=True, help="How long to rest between two sweeps."
)
@click.option("--max-runtime", type=DurationParam(), metavar="TIME", help="Stop after so long.")
@click.option("--workers", type=IntegerParam(1, 64), default=4, show_default=True, help="Databases at the same time.")
@click.option(
    "--cursor", is_flag=True, help="Leave `synced` alone, and keep apart how far each database was collected."
)
@click.option(
    "--state", type=PathParam(), metavar="DIR", help="The collector's own records. Default: .collector in --data-dir."
)
@click.option("--retry-dead-letters", is_flag=True, help="Try again what the target refused.")
@click.option("--gzip", is_flag=True, help="Compress what is sent over HTTP.")
@click.option(
    "--health-port", type=IntegerParam(0, 65535), metavar="P", help="Serve /health and /metrics on 127.0.0.1."
)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
def collect(target: str, data_dir: Path, once: bool, interval: float, max_runtime: float | None, **flags: Any) -> int:
    """Deliver every reading exactly once to a central place, also while the fleet writes.

    Secrets for http(s) targets come from the environment: COLLECT_TOKEN, COLLECT_HEADERS.
    """
    from fleet.commands.collect_sweeps import CollectOptions, collect_readings

    flags["retry_dead"] = flags.pop("retry_dead_letters")
    return collect_readings(
        CollectOptions(data_dir, target, interval=None if once else interval, max_runtime=max_runtime, **flags)
    )

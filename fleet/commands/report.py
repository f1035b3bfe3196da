"""`fleet report`: one page about a data directory, to be sent around."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from fleet.commands.console import program_version
from fleet.commands.options import PathParam
from fleet.commands.verify import pluralize, progress_bar, result
from fleet.errors import UserError


@click.command()
@click.argument("data", type=PathParam(), default=Path("data"), metavar="[DATA]")
@click.option(
    "-o", "output", type=PathParam(), metavar="FILE", default=Path("report.html"), show_default=True, help="Where to."
)
@click.option(
    "--no-verify", is_flag=True, help="Do not compute every reading again, which a large fleet takes time for."
)
def report(data: Path, output: Path, no_verify: bool) -> int:
    """Write a page about a data directory: what ran and for how long, shares of anomalies, the verdict of a verification,
    the configuration, plots.

    DATA defaults to data. The page is one file that needs no network. Secrets are removed.
    """
    from fleet.report.content import now_utc, read_report
    from fleet.report.page import render

    if not data.is_dir():
        raise UserError(f"DATA: {data} is not a directory")
    plots = find_spec("matplotlib") is not None
    with progress_bar("verifying") as on_progress:
        content = read_report(data, now_utc(), program_version(), verified=not no_verify, on_progress=on_progress)
    page = render(content, plots=plots)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"-o: {output}: cannot be written: {error.strerror}") from error
    verdict = "not verified" if content.verdict is None else result(content.verdict)
    sensors, readings = len(content.histories), content.whole.scheduled
    click.echo(f"{output}: {pluralize(sensors, 'sensor')}, {pluralize(readings, 'reading')}: {verdict}")
    if not plots:
        click.echo("fleet report: without plots, which need an extra: pip install 'sensor-fleet[plot]'", err=True)
    return 0

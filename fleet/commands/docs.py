"""`fleet docs`: documentation that is made from the program itself."""

from __future__ import annotations

import click


@click.command()
@click.option("--llm", is_flag=True, required=True, help="For language models: everything on one page.")
def docs(llm: bool) -> int:  # noqa: ARG001 - it is the only format
    """Print documentation that is made from the program itself."""
    from fleet.commands.llm_page import llm_docs

    click.echo(llm_docs(), nl=False)
    return 0

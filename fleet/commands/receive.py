"""`fleet receive`: the receiving end of a sweep, well behaved or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from fleet.commands.options import IntegerParam, PathParam, ShareParam
from fleet.errors import UserError

TOKEN_VARIABLE = "RECEIVE_TOKEN"

BYTES_PER_MEGABYTE = 1_000_000


@click.command()
@click.option(
    "--to", "central", type=PathParam(), metavar="FILE", default=Path("central.db"), show_default=True,
    help="The central database; made if it is not there.",
)  # fmt: skip
@click.option("--host", metavar="H", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=IntegerParam(0, 65535),
    metavar="P",
    default=8090,
    show_default=True,
    help="Port; 0 takes any free one.",
)
@click.option(
    "--max-body", type=IntegerParam(1, 1024), metavar="MB", default=32, show_default=True,
    help="Limit of a request, also after it is decompressed.",
)  # fmt: skip
@click.option(
    "--fail-rate", type=ShareParam(), metavar="P", help="Misbehave: answer 503 to so many requests, such as 20%."
)
@click.option(
    "--drop-ack", type=ShareParam(), metavar="P", help="Misbehave: take so many, but close without an answer."
)
@click.option("--delay", metavar="TIME", help="Misbehave: wait before each, 200ms, or 0-200ms at random.")
@click.option(
    "--misbehave-seed",
    type=IntegerParam(0, 2**63 - 1),
    metavar="S",
    help="The same seed misbehaves at the same requests.",
)
def receive(central: Path, host: str, port: int, max_body: int, **misbehaviour: Any) -> int:
    """Take the batches that collectors POST, each reading once, into a central SQLite database.

    POST /api/readings/batch; /health, /metrics and / tell how it is. RECEIVE_TOKEN in the environment is the token that
    senders must have then (Authorization: Bearer). It ends on SIGTERM and Ctrl-C.
    """
    from fleet.delivery.receiver import server
    from fleet.delivery.receiver.app import ReceiverConfig
    from fleet.delivery.receiver.faults import DelayRange, FaultConfig, parse_delay

    delay = misbehaviour["delay"]
    faults = FaultConfig(
        misbehaviour["fail_rate"] or 0.0,
        misbehaviour["drop_ack"] or 0.0,
        DelayRange() if delay is None else parse_delay(delay, "--delay"),
        misbehaviour["misbehave_seed"],
    )
    config = ReceiverConfig(max_body * BYTES_PER_MEGABYTE, token_from_environment(), faults)
    return server.receive(server.ReceiverAddress(central, host, port), config, say, warn)


def token_from_environment() -> str | None:
    from fleet.delivery.targets.http.credentials import BEARER_TOKEN

    given = os.environ.get(TOKEN_VARIABLE)
    if given is None:
        return None
    if not given.strip():
        raise UserError(f"{TOKEN_VARIABLE}: is empty; unset it to ask for no token")
    if not BEARER_TOKEN.fullmatch(given.strip()):
        raise UserError(f"{TOKEN_VARIABLE}: wanted the token alone, without spaces, in ASCII")
    return given.strip()


def say(line: str) -> None:
    click.echo(line)


def warn(line: str) -> None:
    click.echo(f"warning: {line}", err=True)

"""`fleet receive`: a central database for what collectors POST, or for what a broker has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fleet.commands.options import IntegerParam, PathParam, ShareParam
from fleet.errors import UserError

TOKEN_VARIABLE = "RECEIVE_TOKEN"

BYTES_PER_MEGABYTE = 1_000_000


@click.command()
@click.option(
    "--to", "central", type=PathParam(), metavar="FILE", default=Path("central.db"), show_default=True,
    help="The central database; created if it does not exist.",
)  # fmt: skip
@click.option(
    "--from", "broker", metavar="URL",
    help="Subscribe to a broker instead: mqtt(s)://HOST/TOPIC or kafka://HOST/TOPIC.",
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
    help="Largest body of a request, also after decompression.",
)  # fmt: skip
@click.option(
    "--fail-rate", type=ShareParam(), metavar="P", help="Fault: answer 503 to this share of the requests, such as 20%."
)
@click.option(
    "--drop-ack",
    type=ShareParam(),
    metavar="P",
    help="Fault: store this share of the batches, but close without an answer.",
)
@click.option("--delay", metavar="TIME", help="Fault: wait before each request, 200ms, or 0-200ms at random.")
@click.option(
    "--misbehave-seed",
    type=IntegerParam(0, 2**63 - 1),
    metavar="S",
    help="The same seed gives the faults to the same requests.",
)
def receive(central: Path, broker: str | None, host: str, port: int, max_body: int, **fault_options: Any) -> int:
    """Store the batches that collectors POST in a central SQLite database, each reading once.

    POST /api/readings/batch; /health, /metrics and / report its state. If RECEIVE_TOKEN is set in the environment, senders
    must present that token (Authorization: Bearer). With --from, the messages that a fleet has published to a broker are
    stored instead. It ends on SIGTERM and Ctrl-C.
    """
    if broker is not None:
        from fleet.delivery.receiver.subscriber import receive_from

        check_no_http_options()
        return receive_from(broker, central, click.echo, warn)
    from fleet.delivery.receiver import server
    from fleet.delivery.receiver.app import ReceiverConfig
    from fleet.delivery.receiver.faults import DelayRange, FaultConfig, parse_delay

    delay = fault_options["delay"]
    faults = FaultConfig(
        fault_options["fail_rate"] or 0.0,
        fault_options["drop_ack"] or 0.0,
        DelayRange() if delay is None else parse_delay(delay, "--delay"),
        fault_options["misbehave_seed"],
    )
    config = ReceiverConfig(max_body * BYTES_PER_MEGABYTE, token_from_environment(), faults)
    return server.receive(server.ReceiverAddress(central, host, port), config, click.echo, warn)


def check_no_http_options() -> None:
    """UserError if an option is given that only the HTTP server has."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is not ParameterSource.DEFAULT
        if given and parameter.name not in ("broker", "central"):
            raise UserError(f"{parameter.opts[0]}: is for the HTTP server, and not allowed with --from")


def token_from_environment() -> str | None:
    """Return the token that senders must present, None if RECEIVE_TOKEN is not set. UserError if it is not a token."""
    from fleet.delivery.targets.http.credentials import BEARER_TOKEN

    value = os.environ.get(TOKEN_VARIABLE)
    if value is None:
        return None
    token = value.strip()
    if not token:
        raise UserError(f"{TOKEN_VARIABLE}: is empty; unset it to ask for no token")
    if not BEARER_TOKEN.fullmatch(token):
        raise UserError(f"{TOKEN_VARIABLE}: wanted the token alone, without spaces, in ASCII")
    return token


def warn(line: str) -> None:
    click.echo(f"warning: {line}", err=True)

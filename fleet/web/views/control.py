"""Views that change the fleet, for clients that have the token, and the events and injections that result.

To add a command: its name in `HTTP_COMMANDS`. The body is passed on as it is; `fleet.runtime.commands` validates it.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any, NoReturn

from flask import Blueprint, Response, request

from fleet.datadir import token
from fleet.datadir.events import MAX_EVENTS
from fleet.datadir.interventions import MAX_SENSORS_LISTED, InjectionRecord, read_interventions
from fleet.errors import UserError
from fleet.monitoring.observation import FleetUnavailable
from fleet.monitoring.sensors import Document
from fleet.runtime.control_client import ANSWER_TIMEOUT_SECONDS, CommandRefused, send_command
from fleet.strict_json import is_nested_deeper
from fleet.web.connections import MAX_BODY_BYTES
from fleet.web.context import fleet_context, observe
from fleet.web.responses import integer_argument, json_response, optional_integer_argument
from worker.clock import elapsed_ns
from worker.schedule import format_time

HTTP_COMMANDS = ("scale", "restart", "pause", "resume", "inject", "cancel", "rollout", "probability")

MAX_EVENT_ID = 1_000_000_000_000
MAX_BODY_DEPTH = 5
RESERVED_KEYS = {"command", "by"}

blueprint = Blueprint("control", __name__)


class ControlDenied(Exception):
    """The refusal of a command, with the HTTP status of the answer. `str(error)` is the reason, one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@blueprint.get("/api/control")
def availability() -> Response:
    """Whether control is possible and where the token is; never the token itself."""
    run_directory = fleet_context().run_directory
    path = run_directory / "token"
    file = str(path.absolute())
    document: Document = {"possible": True, "authorized": False, "token_file": file}
    try:
        token.read_token(path)
        if not (run_directory / "control.sock").exists():
            raise token.TokenUnavailable("no fleet is running here")
    except token.TokenUnavailable as error:
        return json_response({**document, "possible": False, "how": "", "reason": str(error)})
    try:
        check_token()
        document["authorized"] = True
    except ControlDenied:
        pass
    return json_response({**document, "how": f"the token is in {file}: cat {file}"})


@blueprint.get("/api/events")
def events() -> Response:
    """Commands and incidents, oldest first; ?after= (an event's id) ?limit=."""
    after = optional_integer_argument("after", 0, MAX_EVENT_ID)
    limit = integer_argument("limit", 100, 1, MAX_EVENTS)
    known = fleet_context().events.read()
    selected = known[-limit:] if after is None else [event for event in known if event["id"] > after][:limit]
    return json_response({"events": selected, "last": known[-1]["id"] if known else 0})


@blueprint.get("/api/injections")
def injections() -> Response:
    """Injections that run or are planned, and the last ones that are over, newest first; ?sensor= (its id)."""
    sensor_id = request.args.get("sensor")
    interventions = read_interventions(fleet_context().run_directory / "interventions.json")
    now_us = interventions.clock.now_us(elapsed_ns())
    entries = [
        injection_entry(injection, now_us)
        for injection in reversed(interventions.injections)
        if sensor_id is None or sensor_id in injection.sensors
    ]
    try:
        members = observe().index
    except FleetUnavailable:
        members = {}
    shares = [share for sensor, share in interventions.probabilities.items() if sensor in members]
    probability_range = [min(shares), max(shares)] if shares else None
    return json_response(
        {"injections": entries, **interventions.counts(members), "probability_range": probability_range}
    )


def injection_entry(injection: InjectionRecord, now_us: int) -> Document:
    return {
        "id": injection.id,
        "type": injection.type,
        "state": injection.state(now_us),
        "channel": injection.channel,
        "size": injection.size,
        "sensors": injection.count,
        "ids": list(injection.sensors[:MAX_SENSORS_LISTED]),
        "from": format_time(injection.from_us),
        "until": format_time(injection.end_us),
    }


def run_command(command: str) -> Response:
    """Send a command through the control socket, and answer with the fleet's answer."""
    check_token()
    parameters = read_body()
    context = fleet_context()
    if not context.command_slots.acquire(blocking=False):
        raise ControlDenied(503, "too many commands wait for an answer; try again")
    try:
        answer = send_command(
            context.run_directory / "control.sock",
            ANSWER_TIMEOUT_SECONDS,
            **parameters,
            command=command,
            by=f"http {request.remote_addr}",
        )
    except CommandRefused as error:
        raise ControlDenied(400 if error.invalid else 409, error.reason) from error
    except UserError as error:
        raise ControlDenied(503, str(error)) from error
    finally:
        context.command_slots.release()
    return json_response(answer)


for _command in HTTP_COMMANDS:
    blueprint.add_url_rule(f"/api/{_command}", _command, partial(run_command, _command), methods=["POST"])


def check_token() -> None:
    """Raise ControlDenied unless the request has the token."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        raise ControlDenied(401, "control needs the header `Authorization: Bearer` with the token; see /api/control")
    try:
        expected = token.read_token(fleet_context().run_directory / "token")
    except token.TokenUnavailable as error:
        raise ControlDenied(403, f"control is not possible: {error}") from error
    if not token.tokens_equal(credentials.strip().encode(errors="replace"), expected):
        raise ControlDenied(403, "the token is wrong; see /api/control")


def read_body() -> dict[str, Any]:
    """Return the JSON object in the request's body. Raises ControlDenied."""
    if request.mimetype != "application/json":
        raise ControlDenied(415, "Content-Type: allowed is application/json")
    length = request.content_length
    if length is None or "Transfer-Encoding" in request.headers:
        raise ControlDenied(411, "Content-Length: is missing, and a body of unknown length is refused")
    if length > MAX_BODY_BYTES:
        raise ControlDenied(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
    try:
        body = json.loads(request.get_data(cache=False), parse_constant=reject_constant, parse_float=parse_number)
    except RecursionError:
        raise ControlDenied(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise ControlDenied(400, f"the body is not JSON: {error}") from None
    if is_nested_deeper(body, MAX_BODY_DEPTH):
        raise ControlDenied(400, "the body is nested too deeply")
    if not isinstance(body, dict):
        raise ControlDenied(400, "the body is not a JSON object")
    for key in RESERVED_KEYS & body.keys():
        raise ControlDenied(400, f"{key}: is set by the server and not allowed in the body")
    return body


def reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def parse_number(text: str) -> int | float:
    """Return a number of JSON, which makes no difference between 1 and 1.0. Raises ValueError if it is too large."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return int(number) if number.is_integer() else number


@blueprint.app_errorhandler(ControlDenied)
def handle_control_denied(error: ControlDenied) -> Response:
    response = json_response({"error": str(error)}, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response

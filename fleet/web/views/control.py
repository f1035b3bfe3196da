"""Control over HTTP: whoever has the token may change the fleet, by commands that go through its control socket.

To add a command: one line in `HTTP_COMMANDS`. What it may say is `fleet.runtime.commands`; nothing of that is known here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from flask import Response, request

from fleet.datadir import token
from fleet.datadir.events import MAX_EVENTS, read_events
from fleet.datadir.interventions import MAX_SENSORS_LISTED, read_interventions
from fleet.errors import UserError
from fleet.monitoring.observation import FileVersion, FleetUnavailable, Observer, file_version
from fleet.runtime.control_client import ANSWER_TIMEOUT_SECONDS, CommandRefused, send_command
from fleet.strict_json import is_nested_deeper
from fleet.web.connections import MAX_BODY_BYTES
from fleet.web.responses import encode_json, integer_argument, json_response
from worker.clock import elapsed_ns
from worker.schedule import format_time

HTTP_COMMANDS = ("scale", "restart", "pause", "resume", "inject", "cancel", "rollout", "probability")

MAX_WAITING_COMMANDS = 2
"""Commands that may wait for an answer: each holds a thread, and there are to be some for those who only look."""

MAX_EVENT_ID = 1_000_000_000_000
MAX_BODY_DEPTH = 5
RESERVED_KEYS = {"command", "by"}


class ControlDenied(Exception):
    """A request for control that goes no further. `str(error)` is the reason, one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Control:
    """The views of control, and of what came of it."""

    def __init__(self, observer: Observer) -> None:
        self._run_directory, self._observer = observer.run_directory, observer
        self._waiting_slots = threading.BoundedSemaphore(MAX_WAITING_COMMANDS)
        self._events: tuple[FileVersion, list[dict[str, Any]]] | None = None

    def routes(self) -> dict[str, Callable[..., Response]]:
        return {"/api/control": self.availability, "/api/events": self.events, "/api/injections": self.injections}

    def command_routes(self) -> dict[str, Callable[..., Response]]:
        return {f"/api/{command}": self._command_view(command) for command in HTTP_COMMANDS}

    def availability(self) -> Response:
        """Whether control is possible, and how the token is come by; never the token."""
        file = str((self._run_directory / "token").absolute())
        document: dict[str, Any] = {"possible": True, "authorized": False, "token_file": file}
        try:
            token.read_token(self._run_directory / "token")
            if not (self._run_directory / "control.sock").exists():
                raise token.TokenUnavailable("no fleet is running here")
        except token.TokenUnavailable as error:
            return json_response(encode_json({**document, "possible": False, "how": "", "reason": str(error)}))
        try:
            self._check_token()
            document["authorized"] = True
        except ControlDenied:
            pass
        return json_response(encode_json({**document, "how": f"the token is in {file}: cat {file}"}))

    def events(self) -> Response:
        """What was done and what happened; ?after= ?limit=."""
        after = integer_argument("after", None, 0, MAX_EVENT_ID)
        limit = integer_argument("limit", 100, 1, MAX_EVENTS) or 100
        found = self._read_events()
        some = found[-limit:] if after is None else [event for event in found if event["id"] > after][:limit]
        return json_response(encode_json({"events": some, "last": found[-1]["id"] if found else 0}))

    def injections(self) -> Response:
        """Those that run or will, and the last ones that are over, newest first; ?sensor= those that concern it."""
        sensor = request.args.get("sensor")
        interventions = read_interventions(self._run_directory / "interventions.json")
        now = interventions.now_us(elapsed_ns())
        listed = [
            {
                "id": each.id,
                "type": each.type,
                "state": each.state(now),
                "channel": each.channel,
                "size": each.size,
                "sensors": each.count,
                "ids": list(each.sensors[:MAX_SENSORS_LISTED]),
                "from": format_time(each.from_us),
                "until": format_time(each.end_us),
            }
            for each in reversed(interventions.injections)
            if sensor is None or sensor in each.sensors
        ]
        try:
            there = self._observer.observe().index
        except FleetUnavailable:
            there = {}
        return json_response(encode_json({"injections": listed, **interventions.counts(there)}))

    def _command_view(self, command: str) -> Callable[..., Response]:
        def act() -> Response:
            self._check_token()
            told = read_body()
            if not self._waiting_slots.acquire(blocking=False):
                raise ControlDenied(503, "too many commands wait for an answer; try again")
            try:
                found = send_command(
                    self._run_directory / "control.sock",
                    ANSWER_TIMEOUT_SECONDS,
                    **told,
                    command=command,
                    by=f"http {request.remote_addr}",
                )
            except CommandRefused as error:
                raise ControlDenied(400 if error.invalid else 409, error.reason) from error
            except UserError as error:
                raise ControlDenied(503, str(error)) from error
            finally:
                self._waiting_slots.release()
            return json_response(encode_json(found))

        return act

    def _check_token(self) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise ControlDenied(
                401, "control needs the header `Authorization: Bearer` with the token; see /api/control"
            )
        try:
            known = token.read_token(self._run_directory / "token")
        except token.TokenUnavailable as error:
            raise ControlDenied(403, f"control is not possible: {error}") from error
        if not token.tokens_equal(given.strip().encode(errors="replace"), known):
            raise ControlDenied(403, "the token is wrong; see /api/control")

    def _read_events(self) -> list[dict[str, Any]]:
        path = self._run_directory / "events.jsonl"
        try:
            found = file_version(path)
        except OSError:
            return []
        if self._events is None or self._events[0] != found:
            self._events = (found, read_events(path))
        return self._events[1]


def read_body() -> dict[str, Any]:
    """The JSON object that a request has as its body. ControlDenied where it has none."""
    if request.mimetype != "application/json":
        raise ControlDenied(415, "Content-Type: allowed is application/json")
    length = request.content_length
    if length is None or "Transfer-Encoding" in request.headers:
        raise ControlDenied(411, "Content-Length: a body of unknown length is not read")
    if length > MAX_BODY_BYTES:
        raise ControlDenied(413, f"the body may have {MAX_BODY_BYTES} bytes")
    try:
        told = json.loads(request.get_data(cache=False), parse_constant=reject_constant)
    except RecursionError:
        raise ControlDenied(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise ControlDenied(400, f"the body is not JSON: {error}") from None
    if is_nested_deeper(told, MAX_BODY_DEPTH):
        raise ControlDenied(400, "the body is nested too deeply")
    if not isinstance(told, dict):
        raise ControlDenied(400, "the body is not a JSON object")
    for key in RESERVED_KEYS & told.keys():
        raise ControlDenied(400, f"{key}: is not for the body")
    return told


def reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def handle_control_denied(error: ControlDenied) -> Response:
    response = json_response(encode_json({"error": str(error)}), error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response

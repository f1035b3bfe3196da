"""Control over HTTP: whoever has the token may change the fleet, by commands that go through its control socket.

To add a command: one line in `COMMANDS`. What it may say is `fleet.control.commands`; nothing of that is known here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from flask import Response, request

from fleet.control.call import PATIENCE, Refused, call
from fleet.documents import deeper
from fleet.errors import UserError
from fleet.storage import token
from fleet.storage.event_log import KEPT, read_events
from fleet.storage.interventions import FIRST, read_interventions
from fleet.web.answers import answer, encoded, whole
from fleet.web.connections import BODY_BYTES
from fleet.web.observation import NoFleet, Observer, Stamp, stamp
from worker.clock import elapsed_ns
from worker.schedule import text

COMMANDS = ("scale", "restart", "pause", "resume", "inject", "cancel", "rollout", "probability")

AT_ONCE = 2
"""Commands that may wait for an answer: each holds a thread, and there are to be some for those who only look."""

LARGEST = 1_000_000_000_000
DEEPEST = 5
OURS = {"command", "by"}


class Denied(Exception):
    """A request for control that goes no further. `str(error)` is the reason, one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Control:
    """The views of control, and of what came of it."""

    def __init__(self, observer: Observer) -> None:
        self._run, self._observer = observer.run_directory, observer
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._events: tuple[Stamp, list[dict[str, Any]]] | None = None

    def routes(self) -> dict[str, Callable[..., Response]]:
        return {"/api/control": self.possible, "/api/events": self.events, "/api/injections": self.injections}

    def actions(self) -> dict[str, Callable[..., Response]]:
        return {f"/api/{command}": self._action(command) for command in COMMANDS}

    def possible(self) -> Response:
        """Whether control is possible, and how the token is come by; never the token."""
        file = str((self._run / "token").absolute())
        document: dict[str, Any] = {"possible": True, "authorized": False, "token_file": file}
        try:
            token.read(self._run / "token")
            if not (self._run / "control.sock").exists():
                raise token.NoToken("no fleet is running here")
        except token.NoToken as error:
            return answer(encoded({**document, "possible": False, "how": "", "reason": str(error)}))
        try:
            self._check_token()
            document["authorized"] = True
        except Denied:
            pass
        return answer(encoded({**document, "how": f"the token is in {file}: cat {file}"}))

    def events(self) -> Response:
        """What was done and what happened; ?after= ?limit=."""
        after = whole("after", None, 0, LARGEST)
        limit = whole("limit", 100, 1, KEPT) or 100
        found = self._read_events()
        some = found[-limit:] if after is None else [event for event in found if event["id"] > after][:limit]
        return answer(encoded({"events": some, "last": found[-1]["id"] if found else 0}))

    def injections(self) -> Response:
        """Those that run or will, and the last ones that are over, newest first; ?sensor= those that concern it."""
        sensor = request.args.get("sensor")
        laid = read_interventions(self._run / "interventions.json")
        now = laid.now_us(elapsed_ns())
        listed = [
            {
                "id": each.id,
                "type": each.type,
                "state": each.state(now),
                "channel": each.channel,
                "size": each.size,
                "sensors": each.count,
                "ids": list(each.sensors[:FIRST]),
                "from": text(each.from_us),
                "until": text(each.end_us),
            }
            for each in reversed(laid.injections)
            if sensor is None or sensor in each.sensors
        ]
        try:
            there = self._observer.observe().index
        except NoFleet:
            there = {}
        return answer(encoded({"injections": listed, **laid.counts(there)}))

    def _action(self, command: str) -> Callable[..., Response]:
        def act() -> Response:
            self._check_token()
            told = read_body()
            if not self._turns.acquire(blocking=False):
                raise Denied(503, "too many commands wait for an answer; try again")
            try:
                found = call(
                    self._run / "control.sock", PATIENCE, **told, command=command, by=f"http {request.remote_addr}"
                )
            except Refused as error:
                raise Denied(400 if error.invalid else 409, error.reason) from error
            except UserError as error:
                raise Denied(503, str(error)) from error
            finally:
                self._turns.release()
            return answer(encoded(found))

        return act

    def _check_token(self) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Denied(401, "control needs the header `Authorization: Bearer` with the token; see /api/control")
        try:
            known = token.read(self._run / "token")
        except token.NoToken as error:
            raise Denied(403, f"control is not possible: {error}") from error
        if not token.right(given.strip().encode(errors="replace"), known):
            raise Denied(403, "the token is wrong; see /api/control")

    def _read_events(self) -> list[dict[str, Any]]:
        path = self._run / "events.jsonl"
        try:
            found = stamp(path)
        except OSError:
            return []
        if self._events is None or self._events[0] != found:
            self._events = (found, read_events(path))
        return self._events[1]


def read_body() -> dict[str, Any]:
    """The JSON object that a request has as its body. Denied where it has none."""
    if request.mimetype != "application/json":
        raise Denied(415, "Content-Type: allowed is application/json")
    length = request.content_length
    if length is None or "Transfer-Encoding" in request.headers:
        raise Denied(411, "Content-Length: a body of unknown length is not read")
    if length > BODY_BYTES:
        raise Denied(413, f"the body may have {BODY_BYTES} bytes")
    try:
        told = json.loads(request.get_data(cache=False), parse_constant=no_number)
    except RecursionError:
        raise Denied(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Denied(400, f"the body is not JSON: {error}") from None
    if deeper(told, DEEPEST):
        raise Denied(400, "the body is nested too deeply")
    if not isinstance(told, dict):
        raise Denied(400, "the body is not a JSON object")
    for key in OURS & told.keys():
        raise Denied(400, f"{key}: is not for the body")
    return told


def no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def denied(error: Denied) -> Response:
    response = answer(encoded({"error": str(error)}), error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response

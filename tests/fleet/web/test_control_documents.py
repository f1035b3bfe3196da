"""The documents about control: where the token is, events, injections."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fleet.datadir import token
from fleet.datadir.events import EventLog
from fleet.datadir.interventions import InjectionRecord, Interventions
from fleet.runtime.control_server import ControlServer
from tests.fleet.sites import ServerProcess
from tests.fleet.staged import sensor_name
from worker.spec import Pause

pytestmark = pytest.mark.process


def test_availability_of_control(site: ServerProcess) -> None:
    """The path of the token, and whether the token of the request is right; never the token itself."""
    file = str((site.run / "token").absolute())
    code, document, _ = site.ask("/api/control")
    assert (200, True, False, file) == (code, *(document[key] for key in ("possible", "authorized", "token_file")))
    assert site.token not in json.dumps(document)
    assert site.ask("/api/control", Authorization=f"Bearer {site.token}")[1]["authorized"]
    assert not site.ask("/api/control", Authorization="Bearer no")[1]["authorized"]
    (site.run / "token").chmod(0o644)
    assert "may be read by others" in site.ask("/api/control")[1]["reason"]
    assert 403 == site.post("/api/scale", {"count": 7})[0]
    (site.run / "token").unlink()
    assert not site.ask("/api/control")[1]["possible"]
    assert 403 == site.post("/api/scale", {"count": 7})[0]
    assert [] == site.commands


def test_no_fleet_is_a_503(site: ServerProcess) -> None:
    site.control.close()
    code, document = site.post("/api/scale", {"count": 7})
    assert (503, f"{site.staged.data}: no fleet is running here") == (code, document["error"])
    site.control = ControlServer(site.run / "control.sock", site.loop, site.handle)


def test_events_after_an_id(site: ServerProcess) -> None:
    """Oldest first; without `after` the last ones; a broken line is left out."""
    events = EventLog(site.run / "events.jsonl")
    for number in range(5):
        events.add(1e9 + number, "note", f"<b>{number}", sensors=("A",))
    with (site.run / "events.jsonl").open("a") as file:
        file.write('{"id": 6')

    def listed(query: str) -> tuple[list[int], int]:
        document = site.ask(f"/api/events{query}")[1]
        return [event["id"] for event in document["events"]], document["last"]

    assert ([1, 2, 3, 4, 5], 5) == listed("")
    assert ([4, 5], 5) == listed("?limit=2") == listed("?after=3")
    assert ([2], 5) == listed("?after=1&limit=1")
    assert ([], 5) == listed("?after=99")
    assert 400 == site.ask("/api/events?after=-1")[0]
    first = site.ask("/api/events?limit=1&after=0")[1]["events"][0]
    assert {
        "id": 1,
        "time": "2001-09-09T01:46:40.000Z",
        "kind": "note",
        "who": "supervisor",
        "what": "<b>0",
        "effect": "",
        "sensors": ["A"],
    } == first


def test_injections_are_listed(site: ServerProcess) -> None:
    """The numbers of paused sensors count members of the fleet only; a sensor that has left stays paused when it returns."""
    spike = InjectionRecord("a", "spike", None, 2.0, (sensor_name(0),), 1, 0, 10, "{}")
    pauses = {sensor: (Pause(0),) for sensor in (sensor_name(1), sensor_name(2), "GONE")}
    noise = InjectionRecord("b", "noise", None, None, tuple(map(sensor_name, range(3, 40))), 37, 0, 10, "{}")
    interventions = Interventions((noise, spike), pauses, {sensor_name(0): 0.5, "GONE": 0.5})
    interventions.write(site.run / "interventions.json")

    document = site.ask("/api/injections")[1]
    assert (2, 1, 2) == (document["paused"], document["probabilities"], len(document["injections"]))
    for sensor, known in ((sensor_name(0), ["a"]), (sensor_name(35), ["b"]), (sensor_name(1), [])):
        found = site.ask(f"/api/injections?sensor={sensor}")[1]["injections"]
        assert known == [injection["id"] for injection in found]
    assert {"id": "a", "state": "over", "until": "1970-01-01T00:00:00.000010+00:00"}.items() <= document["injections"][
        0
    ].items()


def test_the_token_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600, long, kept over starts, and replaced if it is readable by others or too short."""
    path = tmp_path / "token"
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        token.ensure_token(path)
    finally:
        os.umask(before)
    first = token.read_token(path)
    token.ensure_token(path)
    assert (0o600, first, True) == (path.stat().st_mode & 0o777, token.read_token(path), len(first) >= 43)
    path.chmod(0o640)
    token.ensure_token(path)
    assert (0o600, True) == (path.stat().st_mode & 0o777, token.read_token(path) != first)
    path.write_text("short")
    with pytest.raises(token.TokenUnavailable, match="long enough"):
        token.read_token(path)

"""What is told of control over HTTP: how it is come by, what was done, what is under way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fleet.control.control_socket import ControlSocket
from fleet.storage import token
from fleet.storage.event_log import EventLog
from fleet.storage.interventions import Injected, Interventions
from tests.fleet.sites import Site
from tests.fleet.staged import name
from worker.spec import Pause


def test_how_control_is_come_by(site: Site) -> None:
    """Where the token is, and whether the one that was sent along is right; never the token."""
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
    assert [] == site.done


def test_nobody_there_is_a_503(site: Site) -> None:
    site.control.close()
    code, document = site.post("/api/scale", {"count": 7})
    assert (503, f"{site.staged.data}: no fleet is running here") == (code, document["error"])
    site.control = ControlSocket(site.run / "control.sock", site.loop, site.handle)


def test_events_are_read_on_from_where_one_was(site: Site) -> None:
    """Oldest first; without a place the last ones; a line that is broken is left out."""
    events = EventLog(site.run / "events.jsonl")
    for number in range(5):
        events.add(1e9 + number, "note", f"<b>{number}", sensors=("A",))
    with (site.run / "events.jsonl").open("a") as file:
        file.write('{"id": 6')

    def told(query: str) -> tuple[list[int], int]:
        document = site.ask(f"/api/events{query}")[1]
        return [event["id"] for event in document["events"]], document["last"]

    assert ([1, 2, 3, 4, 5], 5) == told("")
    assert ([4, 5], 5) == told("?limit=2") == told("?after=3")
    assert ([2], 5) == told("?after=1&limit=1")
    assert ([], 5) == told("?after=99")
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


def test_injections_are_listed(site: Site) -> None:
    """With how many of those who are in the fleet are paused: some have left it, and are paused when they come back."""
    spike = Injected("a", "spike", None, 2.0, (name(0),), 1, 0, 10, "{}")
    pauses = {sensor: (Pause(0),) for sensor in (name(1), name(2), "GONE")}
    noise = Injected("b", "noise", None, None, tuple(map(name, range(3, 40))), 37, 0, 10, "{}")
    laid = Interventions((noise, spike), pauses, {name(0): 0.5, "GONE": 0.5})
    laid.write(site.run / "interventions.json")

    document = site.ask("/api/injections")[1]
    assert (2, 1, 2) == (document["paused"], document["probabilities"], len(document["injections"]))
    for sensor, known in ((name(0), ["a"]), (name(35), ["b"]), (name(1), [])):
        found = site.ask(f"/api/injections?sensor={sensor}")[1]["injections"]
        assert known == [injection["id"] for injection in found]
    assert {"id": "a", "state": "over", "until": "1970-01-01T00:00:00.000010+00:00"}.items() <= document["injections"][
        0
    ].items()


def test_the_token_is_for_its_owner(tmp_path: Path) -> None:
    """0600, long, kept over starts, and made anew where it is none that could be right."""
    path = tmp_path / "token"
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        token.mint(path)
    finally:
        os.umask(before)
    first = token.read(path)
    token.mint(path)
    assert (0o600, first, True) == (path.stat().st_mode & 0o777, token.read(path), len(first) >= 43)
    path.chmod(0o640)
    token.mint(path)
    assert (0o600, True) == (path.stat().st_mode & 0o777, token.read(path) != first)
    path.write_text("short")
    with pytest.raises(token.NoToken, match="long enough"):
        token.read(path)

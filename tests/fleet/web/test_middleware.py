"""Documents are served under the paths of `monitoring.endpoints`, and under their usual ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.config.sections import RESERVED_PATHS, Endpoints
from fleet.monitoring.observation import Observer
from fleet.web.app import create_app
from tests.fleet.staged import StagedFleet, sensor_name
from tests.process.running_fleet import FleetProcess

pytestmark = pytest.mark.claim("000.configuration-file.10")

NAMES = Endpoints(health="/up", metrics="/a/metrics", status="/STATUS", samples="/rows.json", db_stats="/~db")
USUAL = Endpoints().model_dump()


@pytest.mark.parametrize("document", USUAL)
@pytest.mark.parametrize("above", ["", f"/workers/{sensor_name(1)}"])
def test_a_document_has_both_names(document: str, above: str, tmp_path: Path) -> None:
    """For the fleet and for a sensor."""
    staged = StagedFleet(tmp_path / "data")
    for number in range(3):
        staged.write(number, 10)
    client = create_app(staged.run, Observer(staged.run, tick=3600), NAMES.renamed()).test_client()

    usual, further = client.get(above + USUAL[document]), client.get(above + getattr(NAMES, document))

    assert (200, 200) == (usual.status_code, further.status_code), further.data
    assert json.loads(usual.data).keys() == json.loads(further.data).keys()


def test_only_configured_paths_are_added(tmp_path: Path) -> None:
    staged = StagedFleet(tmp_path / "data")
    client = create_app(staged.run, Observer(staged.run), Endpoints(health="/up").renamed()).test_client()

    assert 404 == client.get("/a/metrics").status_code
    assert 404 == client.get("/workers/none/up").status_code
    assert 404 == client.get(f"/workers/{sensor_name(1)}/up/up").status_code


def test_no_other_path_of_the_server_can_be_taken() -> None:
    """The config reserves the first part of every path except those of the five documents."""
    served = {rule.rule.split("/")[1] for rule in create_app(Path()).url_map.iter_rules()}

    assert served - {"", *(path[1:] for path in USUAL.values())} <= set(RESERVED_PATHS)


@pytest.mark.process
def test_a_fleet_serves_them(tmp_path: Path) -> None:
    """From the file to the socket."""
    config = tmp_path / "fleet.yaml"
    config.write_text("monitoring: {endpoints: {health: /alive, db_stats: /db}}")
    running = FleetProcess(tmp_path / "data", tmp_path / "output", "-c", config, "--host", "127.0.0.1")
    try:
        running.ready()
        answers = [running.get(path) for path in ("/alive", "/healthz", "/db", f"/workers/{running.sensors[0]}/db")]
    finally:
        running.end()

    assert [200] * 4 == [status for status, _ in answers]
    assert {"healthy"} == {document["status"] for _, document in answers[:2]}

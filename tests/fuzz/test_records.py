"""What a fleet keeps of itself, damaged: `fleet.json` is refused in one line, or gives a plan that holds together;
a roster is refused, or can be shown."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config.config import Config
from fleet.datadir.directory import DataDirectory
from fleet.datadir.manifest import FleetManifest, read_manifest, write_manifest
from fleet.errors import UserError
from fleet.runtime.planner import Planner
from tests.fleet.staged import StagedFleet, client_of, sensor_name
from tests.fuzz.bounds import assert_line, examples, processor_time_limit
from tests.fuzz.json_texts import mutated
from worker.spec import Layout

pytestmark = pytest.mark.thorough

MOMENT = 1_767_225_600_000_000
SENSORS = (("A", "A"), ("B", "B"), ("C", "C"))
LAYOUTS: tuple[tuple[Layout, int, tuple[tuple[str, str], ...]], ...] = (
    ("own", 1, SENSORS),
    ("packed", 2, (("A", "p"), ("B", "p"), ("C", "q"))),
)
RECORDS = tuple(asdict(FleetManifest(7, layout, size, MOMENT, MOMENT, 5, sensors)) for layout, size, sensors in LAYOUTS)
PATHS = (
    *("/", "/healthz", "/statusz", "/metricz", "/samplez", "/db_stats", "/grid", "/workers"),
    *(f"/workers/{sensor_name(0)}{rest}" for rest in ("", "/healthz", "/statusz", "/metricz", "/samplez", "/db_stats")),
)


@examples(150)
@given(text=mutated(RECORDS, ("sensors", "seed", "layout", "runs")))
def test_an_odd_record(tmp_path: Path, text: str) -> None:
    """A record that is accepted is the same when it is written and read, and names no sensor twice; the next run goes
    on from it, or is refused because the config is another."""
    path = tmp_path / "fleet.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with processor_time_limit():
        try:
            record = read_manifest(path)
        except UserError as error:
            assert_line(str(error), f"{path}:")
            return
        assert record is not None
        write_manifest(path, record)
        assert read_manifest(path) == record
        plan_from(record, tmp_path)


def plan_from(record: FleetManifest, data: Path) -> None:
    replicas: dict[str, Any] = {"count": 2, "prefix": "X"}
    if record.layout == "shared":
        replicas["database"] = "shared"
    elif record.layout == "packed":
        replicas["sensors_per_worker"] = record.sensors_per_worker
    simulation = {"start": "2026-01-01T00:00:00Z"}
    config = Config.model_validate({"replicas": replicas, "simulation": simulation})
    try:
        plan = Planner(config, DataDirectory(data), None).initial_plan()
    except UserError as error:
        assert_line(str(error), f"{data}")
        return
    names = [worker.name for worker in plan.workers]
    assert len(set(names)) == len(names)
    assert 2 == len({member.row for member in plan.members})
    assert plan.run.number < 1 << 38  # << 24 is the first incarnation, a whole number of 64 bits
    for left in (data / "identities").glob("*"):
        left.unlink()


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> StagedFleet:
    staged = StagedFleet(tmp_path_factory.mktemp("roster") / "data", 2)
    staged.write(0, 3, "spike")
    return staged


@examples(60)
@given(data=st.data())
def test_an_odd_roster(staged: StagedFleet, data: st.DataObject) -> None:
    """Every page is either shown or says in JSON that the roster cannot be read; none is a bug."""
    path = staged.run / "roster.json"
    original = json.loads(json.dumps(asdict(staged.roster()), default=str))
    path.write_bytes(
        data.draw(mutated((original,), ("members", "identity", "rate", "row"))).encode(errors="surrogatepass")
    )
    client = client_of(staged)
    with processor_time_limit():
        for page in PATHS:
            response = client.get(page)
            assert response.status_code in (200, 404, 503), response.data
            if page != "/":
                json.loads(response.data)

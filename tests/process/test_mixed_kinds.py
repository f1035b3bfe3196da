"""A fleet of several kinds of sensors, one of them the user's own: all columns are everywhere, and every change is found."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from fleet.verify.verification import verify
from tests.process.conftest import Up
from tests.process.delivery.receiver_process import BATCH, receiving
from tests.process.evidence import assert_complete, databases, read_records
from tests.process.mixed_kinds import (
    OWN_COLUMNS,
    OWN_KIND,
    Kinds,
    damage,
    filled_columns,
    further_columns,
    run_sql,
)
from tests.process.running_fleet import FleetProcess, fleet, wait_for
from tests.servers.postgres import PostgresServer

LAYOUTS = {"own": (), "shared": ("--shared-db",), "packed": ("--sensors-per-worker", 4)}


Finished = Callable[[str], Path]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The data directory of a fleet of a layout that has ended, for tests that leave it as it is."""

    @cache
    def data_of(layout: str) -> Path:
        folder = tmp_path_factory.mktemp(layout)
        kinds = Kinds.written(folder).arguments
        running = FleetProcess(
            folder / "data", folder / "output", *kinds, *LAYOUTS[layout], "--rate", 60, "--for", "1s"
        )
        try:
            assert 0 == running.wait(), running.output
        finally:
            running.end()
        return folder / "data"

    return data_of


@pytest.fixture
def kinds(tmp_path: Path) -> Kinds:
    return Kinds.written(tmp_path)


def verified(data: Path, *arguments: object) -> dict[str, object]:
    told = fleet("verify", "--data", data, "--complete", "--json", *arguments)
    assert told.returncode in (0, 1), told.stderr
    found: dict[str, object] = json.loads(told.stdout)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_column_is_there_and_every_change_is_found(layout: str, finished: Finished, tmp_path: Path) -> None:
    """All layouts have the same columns; a digit, a text, a NULL and a value too many are each found by verify."""
    data = finished(layout)
    assert_complete(data, 8, 60)
    filled = filled_columns(data)
    assert 3 == sum(OWN_COLUMNS - {"select"} <= found for found in filled.values())
    assert any(OWN_COLUMNS == found for found in filled.values())
    assert 1 == sum(not found for found in filled.values())  # the environmental one
    pipelines = [found for sensor, found in filled.items() if sensor.startswith("SNS-")]
    constant = {"type", "unit", "pipeline_id", "mile_post", "status", "quality_score", "alert_level"}
    assert all(constant <= found for found in pipelines)
    assert 4 == len(pipelines)
    assert {"ok": True, "findings": []}.items() <= verified(data).items()
    if layout == "own":
        return  # the others have all columns in one database
    copy = shutil.copytree(data, tmp_path / "copy")
    path = max(databases(copy), key=lambda path: len(further_columns(path)))
    damaged = damage(path)
    assert 2 * len(further_columns(path)) <= len(damaged)
    details = {(each.sensor_id, each.first_seq): each.detail for each in verify(copy).findings}
    assert damaged.keys() == details.keys()
    assert {} == {row: column for row, column in damaged.items() if column not in details[row]}


def test_a_fleet_of_kinds_shows_them(kinds: Kinds, up: Up, tmp_path: Path) -> None:
    """Samples and metrics have every channel and attribute of each sensor under its own name."""
    running = up(*kinds.arguments).ready()
    filled = wait_for(lambda: filled_columns(tmp_path / "data"), "readings")
    samples = running.get("/samplez?limit=400")
    with urllib.request.urlopen(running.url + "/metrics?per_sensor=1", timeout=10) as answer:
        metrics = answer.read().decode()
    assert 200 == samples[0]
    shown = json.dumps(samples[1])
    assert all(f'"{name}"' in shown for found in filled.values() for name in found)
    for channel in ("pm25", "group", "temperature"):
        assert f'"{channel}"' in metrics, metrics[:3000]


def test_it_goes_on_after_deaths_restarts_and_growth(kinds: Kinds, up: Up, tmp_path: Path) -> None:
    """A killed worker, another start, more sensors: no gap, and no epoch but the first ones and those of starts."""
    data = tmp_path / "data"
    running: FleetProcess = up(*kinds.arguments, "--sensors-per-worker", 4).ready()
    victim = running.sensors[0]
    worker = running.worker(victim)
    worker.kill()
    running.wait_for_replacement(victim, worker)
    assert 0 == fleet("scale", 12, "--data", data).returncode
    wait_for(lambda: len(running.sensors) == 12, "twelve sensors")
    wait_for(lambda: len(filled_columns(data)) == 12, "readings of twelve sensors")
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait()
    before = assert_complete(data, 12)
    assert all(1 == len(seen.epochs) for seen in before.values())

    assert 0 == up("--data", data, *kinds.arguments[:2], "--resume", "catch_up", "--for", "2s").wait()
    after = assert_complete(data, 12)
    assert all(1 == len(seen.epochs) for seen in after.values())
    assert verified(data)["ok"]


def test_an_edited_kind_is_another_epoch(kinds: Kinds, up: Up, tmp_path: Path) -> None:
    """Another mean applies while the fleet runs; another channel, whose column is new, with the next start."""
    running = up(*kinds.arguments, "--shared-db").ready()
    data, own = running.data, tmp_path / "my_air.yaml"
    own.write_text(OWN_KIND.replace("mean: 22", "mean: 25"))
    wait_for(lambda: sum(len(of.epochs) for of in read_records(data).values()) == 11, "three more epochs")
    own.write_text(OWN_KIND.replace("pm25: {unit", "pm10: {unit").replace("channel: pm25", "channel: pm10"))
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait()
    seen = assert_complete(data, 8)
    assert [1, 1, 1, 1, 1, 2, 2, 2] == sorted(len(of.epochs) for of in seen.values())

    assert 0 == up("--data", data, *kinds.arguments, "--shared-db", "--resume", "catch_up", "--for", "2s").wait()
    (path,) = databases(data)
    assert {"pm25", "pm10"} <= set(further_columns(path))
    assert 3 == sum("pm10" in found for found in filled_columns(data).values())
    assert_complete(data, 8)
    assert verified(data)["ok"]


@pytest.mark.parametrize("target", ["sqlite", "parquet", "http", "postgres"])
def test_all_columns_arrive(target: str, finished: Finished, tmp_path: Path) -> None:
    """Into every target; and a digit that changes there is found, also in a column named like an SQL keyword."""
    data = shutil.copytree(finished("shared"), tmp_path / "data")
    central = tmp_path / "central.db"
    changed = """UPDATE sensor_readings SET "group" = "group" + 0.25 WHERE id = (
        SELECT min(id) FROM sensor_readings WHERE "group" IS NOT NULL)"""
    if target == "http":
        with receiving(central) as receiver:
            deliver(data, f"http://127.0.0.1:{receiver.port}{BATCH}")
        against = f"sqlite:///{central}"
        assert compared(data, against) == {}
        run_sql(central, changed)
        assert compared(data, against) == {"delivered altered": 1}
    elif target == "sqlite":
        deliver(data, f"sqlite:///{central}")
        assert compared(data, f"sqlite:///{central}") == {}
        damaged = damage(central, {*OWN_COLUMNS, "status", "mile_post"})
        assert 8 * 3 == len(damaged)
        assert compared(data, f"sqlite:///{central}") == {"delivered altered": len(damaged)}
    elif target == "parquet":
        deliver(data, f"parquet:{tmp_path}/lake")
        assert compared(data, f"parquet:{tmp_path}/lake") == {}
    else:
        with PostgresServer.started() as server:
            deliver(data, server.url())
            assert compared(data, server.url()) == {}
            server.execute(changed)
            assert compared(data, server.url()) == {"delivered altered": 1}


def deliver(data: Path, target: str) -> None:
    told = fleet("collect", "--data", data, "--to", target, "--once")
    assert (0, "") == (told.returncode, told.stderr)


def compared(data: Path, target: str) -> object:
    """The counts of findings of a comparison in which every reading has arrived."""
    found = verified(data, "--against", target)
    against = found["against"]
    assert isinstance(against, dict)
    assert found["readings"] == against["arrived"]
    return against["counts"]

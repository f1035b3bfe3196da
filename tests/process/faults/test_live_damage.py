"""Databases and logs that are cut or overwritten while a fleet runs: nothing is lost silently."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.faults.conftest import Up, Write
from tests.process.running_fleet import fleet, wait_for


def cut_log(database: Path, kept: float) -> None:
    log = database.with_name(database.name + "-wal")
    os.truncate(log, int(log.stat().st_size * kept))


def overwrite_header(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(b"\xee" * 100)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "log emptied": lambda database: cut_log(database, 0),
    "log cut to half": lambda database: cut_log(database, 0.5),
    "header": overwrite_header,
}


@pytest.mark.parametrize("layout", ["own", "shared"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_young_fleet_computes_again_what_was_cut(
    up: Up, quick: Write, tmp_path: Path, layout: str, damage: Callable[[Path], None]
) -> None:
    """The damaged database is kept aside, the new one is complete, and the exit code is 0."""
    data = tmp_path / "data"
    name = "sensor_data.db" if layout == "shared" else "S_000002.db"
    running = up("-c", quick(database=layout), "--no-http", "--for", "8s").ready()
    wait_for(lambda: running.row("S_000002")["commits"] > 10, "some commits")
    damage(data / name)
    wait_for(lambda: f"{name} was damaged" in running.output, "it is reported")

    assert 0 == running.wait()
    assert (data / f"{name}.quarantined-1").exists()
    verdict = fleet("verify", "--complete", "--data", data)
    assert 0 == verdict.returncode, verdict.stdout


def test_the_exit_code_says_that_readings_are_only_in_the_file_put_aside(up: Up, quick: Write, tmp_path: Path) -> None:
    """An older fleet cannot compute all of them again: it goes on with the present time."""
    config = quick()
    config.write_text(
        config.read_text().replace("readings_per_second: 20", "readings_per_second: 20, longest_pause_seconds: 1")
    )
    running = up("-c", config, "--no-http").ready()
    wait_for(lambda: running.row("S_000002")["next_seq"] > 40, "it is older than two seconds")
    cut_log(tmp_path / "data" / "S_000002.db", 0)
    wait_for(lambda: "S_000002.db was damaged" in running.output, "it is reported")
    running.interrupt()

    assert 1 == running.wait()
    assert "error: S_000002.db was damaged, deleted or replaced, and begun again without its earlier" in running.output

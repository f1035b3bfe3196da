"""The commands of an operator to a running fleet, from another terminal."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from fleet.runtime.control_client import send_command
from tests.process.conftest import LIVELY, Up
from tests.process.evidence import assert_complete
from tests.process.running_fleet import DEFAULT_TIMEOUT_SECONDS, ENVIRONMENT, alive, command, fleet, session, wait_for


def refusal(*arguments: object) -> str:
    """Return the one line of a command that must fail with exit code 1."""
    refused = fleet(*arguments)
    assert (1, "") == (refused.returncode, refused.stdout)
    (line,) = refused.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "arguments", [["status"], ["status", "--json"], ["down"], ["scale", "3"], ["restart", "X"], ["logs"], ["logs", "X"]]
)
def test_where_no_fleet_is_there_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    """Each command prints one line, also where there is no directory, and creates nothing."""
    data = tmp_path / "nothing"

    line = refusal(*arguments, "--data", data)

    assert line.startswith(f"fleet: {data}: no fleet ")
    assert not data.exists()


def test_status_tells_of_a_healthy_fleet(up: Up, lively: Path, tmp_path: Path) -> None:
    """The exit code is 0; the JSON has the counts, the target rate and the URL."""
    data = tmp_path / "data"
    running = up("-c", lively, "--seed", 5).ready()

    shown = fleet("status", "--data", data)
    assert (0, "") == (shown.returncode, shown.stderr)
    assert "3 sensors: 3 healthy" in shown.stdout
    assert f"pid {running.pid}" in shown.stdout
    assert running.url in shown.stdout

    report = json.loads(fleet("status", "--data", data, "--json").stdout)
    assert (running.pid, 5, "own", 3, 60.0) == tuple(
        report[name] for name in ("pid", "seed", "layout", "sensors", "asked_readings_per_second")
    )
    assert ({"healthy": 3}, [], False) == (report["states"], report["unwell"], report["draining"])
    assert 0 < report["readings"] <= report["scheduled"]
    assert 0 <= report["lag"] < 2


def test_a_fleet_that_stops_restarts_nobody(up: Up, lively: Path, tmp_path: Path) -> None:
    """`fleet restart` is refused while the fleet drains."""
    running = up("-c", lively).ready()
    sensor = running.sensors[0]
    worker = running.worker(sensor)
    worker.suspend()  # which the drain waits for
    try:
        send_command(running.data / "run" / "control.sock", DEFAULT_TIMEOUT_SECONDS, command="down")

        assert refusal("restart", sensor, "--data", running.data).endswith(": the fleet is stopping")
    finally:
        worker.resume()
    assert 0 == running.wait()


def test_down_drains(up: Up, lively: Path, tmp_path: Path) -> None:
    """It returns when the fleet has ended with exit code 0. A second call finds no fleet."""
    data = tmp_path / "data"
    running = up("-c", lively).ready()

    shown = fleet("down", "--data", data)

    assert (0, "") == (shown.returncode, shown.stderr)
    assert 0 == running.wait(2.0)
    assert_complete(data, 3)
    assert "no fleet is running here" in refusal("down", "--data", data)


def test_down_twice_at_once_kills_nobody(up: Up, lively: Path, tmp_path: Path) -> None:
    """A second `fleet down` waits like the first."""
    data = tmp_path / "data"
    running = up("-c", lively).ready()

    both = [
        subprocess.Popen(command("down", "--data", data), env=ENVIRONMENT, stderr=subprocess.PIPE) for _ in range(2)
    ]

    results = [(downing.communicate(timeout=DEFAULT_TIMEOUT_SECONDS)[1], downing.returncode) for downing in both]
    assert (b"", 0) in results
    assert all(code == 0 or b"no fleet is running" in line or b"ended before" in line for line, code in results)
    assert 0 == running.wait()
    assert_complete(data, 3)


@pytest.mark.parametrize("packing", [1, 2])
def test_scaling_up_and_down(packing: int, up: Up, tmp_path: Path) -> None:
    """New sensors keep to the fleet's grid of timestamps, removed ones are drained, returning ones continue, and the
    others are not disturbed. The data of all is complete."""
    data, config = tmp_path / "data", tmp_path / "lively.yaml"
    config.write_text(LIVELY.replace("{count: 3}", f"{{count: 3, sensors_per_worker: {packing}}}"))
    running = up("-c", config, "--start", "2026-01-01T00:00:00Z").ready()
    three = running.sensors
    stays = running.worker(three[0]).pid

    assert "scaled from 3 to 6 sensors\n" == fleet("scale", 6, "--data", data).stdout
    six = running.sensors
    assert three == six[:3]
    for sensor in six:
        running.worker(sensor)
    assert stays == running.worker(three[0]).pid
    assert "scaled from 6 to 2 sensors\n" == fleet("scale", 2, "--data", data).stdout
    assert three[:2] == running.sensors
    if packing == 1:  # else they come back while they still drain
        wait_for(lambda: len(running.processes()) == 5, "the removed workers end")
    assert "scaled from 2 to 5 sensors\n" == fleet("scale", 5, "--data", data).stdout
    for sensor in six[:5]:
        running.worker(sensor)
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait()

    found = assert_complete(data, 6)
    assert set(six) == set(found)
    for seen in found.values():
        assert all(int(timestamp[20:26]) % 50_000 == 0 for timestamp in seen.timestamps)
    assert [(0, "start")] == found[three[0]].epochs


def test_scaling_to_nonsense_is_refused(up: Up, lively: Path, tmp_path: Path) -> None:
    """It prints one line, and the fleet is unchanged."""
    data = tmp_path / "data"
    running = up("-c", lively).ready()

    assert "COUNT" in refusal("scale", 0, "--data", data)
    assert "more than this run has room for" in refusal("scale", 99_999, "--data", data)
    assert "COUNT" in refusal("scale", "many", "--data", data)
    assert 3 == len(running.sensors)
    running.interrupt()
    assert 0 == running.wait()


def test_restart(up: Up, lively: Path, tmp_path: Path) -> None:
    """The worker is drained and replaced; this is not counted as a crash, and its data has no hole."""
    data = tmp_path / "data"
    running = up("-c", lively).ready()
    sensor = running.sensors[1]
    old = running.worker(sensor)

    assert f"restarting {sensor}\n" == fleet("restart", sensor, "--data", data).stdout

    running.wait_for_replacement(sensor, old)
    assert not alive(old)
    assert 0 == running.row(sensor)["errors"]
    assert "there is no sensor NOBODY" in refusal("restart", "NOBODY", "--data", data)
    running.interrupt()
    assert 0 == running.wait()
    assert [(0, "start")] == assert_complete(data, 3)[sensor].epochs


def test_logs(up: Up, lively: Path, tmp_path: Path) -> None:
    """The log of the fleet, of one sensor, and new lines are shown, also after the fleet has ended."""
    data = tmp_path / "data"
    running = up("-c", lively).ready()
    victim, other = running.sensors[:2]
    follower = subprocess.Popen(
        command("logs", "-f", "--data", data), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    old = running.worker(victim)
    old.kill()
    running.wait_for_replacement(victim, old)

    assert f"{victim}: killed by SIGKILL" in fleet("logs", "--data", data).stdout
    assert "killed by SIGKILL" in fleet("logs", victim, "--data", data).stdout
    assert "SIGKILL" not in fleet("logs", other, "--data", data).stdout
    assert "no sensor" in refusal("logs", "NOBODY", "--data", data)
    assert follower.stdout is not None
    assert any("killed by SIGKILL" in line for line in iter(follower.stdout.readline, ""))
    follower.send_signal(signal.SIGINT)
    follower.stdout.close()
    assert 0 == follower.wait(DEFAULT_TIMEOUT_SECONDS)
    running.interrupt()
    assert 0 == running.wait()
    assert "draining" in fleet("logs", "--data", data).stdout


def test_a_detached_fleet(lively: Path, tmp_path: Path) -> None:
    """The command returns when every sensor has committed; status and down work afterwards."""
    data = tmp_path / "data"

    started = fleet("up", "-d", "-c", lively, "--data", data, "--port", 0)

    try:
        assert (0, "") == (started.returncode, started.stderr)
        assert "3 sensors run in the background" in started.stdout
        report = json.loads(fleet("status", "--data", data, "--json").stdout)
        assert str(report["pid"]) in started.stdout
        assert {"healthy": 3} == report["states"]
        assert report["readings"] > 0
        assert 5 == len(psutil.Process(report["pid"]).children(recursive=True))
        assert f"pid {report['pid']}" in refusal("up", "--data", data, "--no-http")
        assert 0 == fleet("down", "--data", data).returncode
        wait_for(lambda: not session(report["pid"]), "no process is left", 2.0)
        assert_complete(data, 3)
    finally:
        fleet("down", "--data", data, "--timeout", 5)


def test_a_detached_fleet_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error is printed in the terminal that started it."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "S_000001.db").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text("replicas: {count: 1, prefix: S}\nmonitoring: {port: 70000}\n")

    line = refusal("up", "-d", "-c", config, "--data", data)

    assert "70000" in line
    assert not (data / "run").exists()


def test_a_second_fleet_on_one_directory_is_refused(up: Up, lively: Path, tmp_path: Path) -> None:
    """The line names the pid of the first one, which is not disturbed."""
    data = tmp_path / "data"
    running = up("-c", lively).ready()

    line = refusal("up", "-c", lively, "--data", data, "--port", 0)

    assert f"pid {running.pid}" in line
    running.interrupt()
    assert 0 == running.wait()
    assert_complete(data, 3)


def test_a_healthy_fleet_leaves_its_start_changes_and_end(up: Up, lively: Path, tmp_path: Path) -> None:
    """In its log; and where it ran, its end and `fleet status` say what there is and what to do with it."""
    data = tmp_path / "data"
    running = up("-c", lively).ready()
    url = f"{running.url}/"
    assert [str(data), url] in [line.split()[-2:] for line in fleet("ps").stdout.splitlines()]
    assert 0 == fleet("scale", 4, "--data", data).returncode
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait()
    logged = fleet("logs", "--data", data).stdout

    for words in (
        f"3 sensors, 60 readings/s, a database each in {data}, seed",
        f"dashboard: {url}",
        "scaled from 3 to 4 sensors",
        "draining",
        "100.00% of the readings that were due",
    ):
        assert words in logged
    assert f"the readings are in {data}, 4 databases\n" in running.output
    assert f"continue: fleet up --data {data}\n" in running.output
    assert "errors:" not in running.output
    ended = fleet("status", "--data", data)
    assert 1 == ended.returncode
    assert "the last fleet here had 4 sensors, since " in ended.stdout
    assert f"`fleet up --data {data}` goes on, " in ended.stdout
    assert "no fleet is running here" in ended.stderr


def test_sensors_share_workers_by_a_flag(up: Up, tmp_path: Path) -> None:
    running = up("--replicas", 5, "--sensors-per-worker", 3, "--rate", 10, "--for", "0.3s", "--no-http")

    assert 0 == running.wait()
    assert ["pack_0000.db", "pack_0001.db"] == sorted(path.name for path in (tmp_path / "data").glob("*.db"))

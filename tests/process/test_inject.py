"""An operator reaches into a running fleet: injections, pauses, probabilities; all of it is on record and can be verified."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import UserError
from fleet.runtime.control_client import send_command
from tests.process.conftest import Up
from tests.process.evidence import assert_complete, open_database
from tests.process.running_fleet import FleetProcess, fleet, wait_for

pytestmark = pytest.mark.thorough

CONFIG = """
version: 2
replicas: {count: 4}
simulation: {readings_per_second: 20, seed: 7}
anomalies:
  probability: 0.2
  types:
    noise: {weight: 1, duration_readings: 3}
    spike: {enabled: false}
    trend: {enabled: false}
    missing_data: {enabled: false}
database: {batch_interval: 0.1}
supervision: {backoff_min_seconds: 0.2, drain_seconds: 10}
"""
DENVER = "Denver, CO, USA"

LABELLED = "SELECT seq, timestamp FROM sensor_readings WHERE anomaly_type = ? AND anomaly_flag = 1 ORDER BY seq"
IN_TIME = "SELECT seq FROM sensor_readings WHERE timestamp >= ? AND timestamp < ? ORDER BY seq"
EPISODES = (
    "SELECT type, channel, first_seq, last_seq, parameters FROM anomaly_episodes WHERE type = ? ORDER BY first_seq"
)
EPOCHS = "SELECT reason, first_seq, settings FROM epochs ORDER BY first_seq"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(CONFIG)
    return path


def in_denver(running: FleetProcess) -> list[str]:
    """Two of the sensors are moved there, by their files, while the fleet runs."""
    chosen = running.sensors[:2]
    for sensor in chosen:
        path = running.data / "identities" / f"{sensor}.json"
        identity = json.loads(path.read_text())
        identity["location"] = {**identity["location"], "city": "Denver", "address": DENVER}
        path.write_text(json.dumps(identity))
    return chosen


def ask(running: FleetProcess, *arguments: object, code: int = 0) -> str:
    done = fleet(*arguments, "--data", running.data)
    assert code == done.returncode, done.stderr
    return done.stdout if code == 0 else done.stderr


def tell(running: FleetProcess, command: str, **order: Any) -> dict[str, Any]:
    """Without a process for it."""
    return send_command(running.data / "run" / "control.sock", 30, command=command, **order)


def rows(running: FleetProcess, sensor: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with open_database(running.data / f"{sensor}.db") as connection:
        return connection.execute(query, values).fetchall()


def reasons(running: FleetProcess, sensor: str) -> list[str]:
    return [reason for reason, *_ in rows(running, sensor, EPOCHS)]


def span(answer: str) -> tuple[str, str]:
    """From when until when, as the command has said."""
    words = answer.split()
    return words[words.index("from") + 1], words[words.index("until") + 1]


def wait_for_reason(running: FleetProcess, sensor: str, reason: str) -> None:
    wait_for(lambda: reason in reasons(running, sensor), f"{reason} of {sensor}")


def verified(running: FleetProcess) -> None:
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == running.wait()
    verdict = fleet("verify", "--data", running.data)
    assert 0 == verdict.returncode, verdict.stdout
    assert_complete(running.data, 4)


def all_of_its_time(running: FleetProcess, sensor: str, kind: str, answer: str) -> list[int]:
    """The readings that are labelled are those of the time that the command has named, but for what was written while
    it was on its way."""
    labelled = [seq for seq, _ in rows(running, sensor, LABELLED, kind)]
    in_time = [seq for (seq,) in rows(running, sensor, IN_TIME, *span(answer))]
    assert labelled == in_time[-len(labelled) :]
    return labelled


def test_a_city_has_a_spike_for_a_while(config: Path, up: Up) -> None:
    """Only its sensors, for the time that was said, labelled; the same id again is not another one; a worker that is killed in
    the middle of it goes on with it."""
    config.write_text(CONFIG + "dynamic_reload: {check_interval: 0.2}\n")
    running = up("-c", config).ready()
    chosen = in_denver(running)
    wait_for(lambda: running.output.count(DENVER) == 2, "they are in Denver")

    spike = ("inject", "spike", "--city", "Denver", "--for", "3s", "--size", "4", "--channel", "pressure", "--id", "k")
    answer = ask(running, *spike)
    wait_for_reason(running, chosen[0], "injection k")
    old = running.worker(chosen[0])
    old.kill()
    again = ask(running, *spike)
    assert span(answer) == span(again)
    assert f"injection k exists already, nothing was changed: spike, 2 sensors: {', '.join(chosen)}" in again
    other = ask(running, "inject", "trend", "--city", "Denver", "--id", "k", code=1)
    assert "the injection k is another one: spike of size 4 in pressure, " in other
    for sensor in chosen:
        wait_for_reason(running, sensor, "injection k ends")
    wait_for(lambda: "injection k is over" in running.output, "it is over")
    verified(running)

    for sensor in chosen:
        seqs = all_of_its_time(running, sensor, "spike", answer)
        assert 40 < len(seqs) <= 60
        (episode,) = rows(running, sensor, EPISODES, "spike")
        assert ("spike", "pressure", seqs[0], seqs[-1], '{"factor":4.0}') == episode
    for sensor in running.sensors[2:]:
        assert ([], ["start"]) == (rows(running, sensor, LABELLED, "spike"), reasons(running, sensor))


def test_it_is_taken_back_and_outlasts_the_fleet(config: Path, up: Up) -> None:
    """One that is cancelled ends there; one that has begun goes on after a restart, and is known by its id."""
    running = up("-c", config, "--resume", "catch_up").ready()
    one, two, *_ = running.sensors
    answer = tell(running, "inject", type="missing_data", sensors=[one], seconds=600, id="long")
    wait_for_reason(running, one, "injection long")
    assert "injection long ends now\n" == ask(running, "inject", "--cancel", "long")
    assert "injection long had ended already\n" == ask(running, "inject", "--cancel", "long")
    wait_for_reason(running, one, "injection long ends")
    order = {"type": "noise", "sensors": [two], "seconds": 3600, "id": "on"}
    longer = tell(running, "inject", **order)
    wait_for_reason(running, two, "injection on")
    assert f"injection on: noise, {longer['from']} to {longer['until']}, 1 sensors\n" in ask(running, "status")
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == running.wait()

    later = up("-c", config, "--resume", "catch_up").ready()
    assert {**longer, "new": False} == tell(later, "inject", **order)
    assert tell(later, "cancel", id="on")["new"]
    wait_for_reason(later, two, "injection on ends")
    verified(later)
    ((_, _, first, last, _),) = rows(later, one, EPISODES, "missing_data")
    written = {seq for (seq,) in rows(later, one, IN_TIME, answer["from"], answer["until"])}
    assert (set(), True) == (written & set(range(first, last + 1)), last + 1 in written)
    assert ["start", "injection on", "injection on ends"] == reasons(later, two)


def test_what_cannot_be_is_one_line(config: Path, up: Up) -> None:
    """That says what there is; nothing follows from it."""
    running = up("-c", config).ready()
    cities = sorted(member.identity.location.split(",")[0] for member in running.roster.members)  # type: ignore[union-attr]
    sensor = running.sensors[0]
    for order, reason in (
        ({"city": "Atlantis"}, f"no sensor is in Atlantis; to choose from: {', '.join(cities)}"),
        ({"sensors": ["X"]}, "there is no sensor X in this fleet; there are "),
        ({"firmware": "0"}, "no sensor has the firmware 0; to choose from: "),
        ({"sensors": [sensor], "manufacturer": "Acme"}, "no sensor is made by Acme; to choose from: "),
        ({"channel": "charm"}, f"channel: {sensor} has no charm, but temperature, humidity, "),
        ({"size": 0}, "size: 0 is not between 0.001 and 1000, as spike has it"),
        ({"type": "missing_data", "size": 1}, "size: missing_data has none"),
        ({"type": "missing_data", "channel": "voltage"}, "channel: missing_data has none"),
        ({"at": "2020-01-01"}, "at: 2020-01-01T00:00:00.000000+00:00 is over; in the fleet it is 2"),
        ({"at": "soon"}, "at: soon is not a time such as"),
    ):
        with pytest.raises(UserError) as refused:
            tell(running, "inject", **{"type": "spike", **order})
        assert reason in str(refused.value)
    for arguments, reason in (
        (("--cancel", "nix"), "there is no injection nix; there are none"),
        (("bump",), "TYPE: 'bump' is not one of spike, trend, pattern, missing_data, noise"),
        (("spike", "--size", "big"), "--size: 'big' is not a number such as 2.5"),
    ):
        error = ask(running, "inject", *arguments, code=1)
        assert (1, True) == (error.count("\n"), reason in error), error
    assert 2 == fleet("inject", "--data", running.data).returncode
    assert {("start",)} == {tuple(reasons(running, each)) for each in running.sensors}


def test_what_cannot_be_kept_is_not_done(config: Path, up: Up) -> None:
    """As on a full disk; what is under way ends in time, and is over once that can be kept."""
    running = up("-c", config).ready()
    sensor = running.sensors[0]
    tell(running, "inject", type="spike", sensors=[sensor], seconds=0.5, id="k")
    (obstacle := running.data / "run" / "interventions.new").mkdir()
    with pytest.raises(UserError, match=r"interventions\.json: cannot be written: Is a directory"):
        tell(running, "pause")
    wait_for_reason(running, sensor, "injection k ends")
    seq = int(running.row(sensor)["next_seq"])
    wait_for(lambda: running.row(sensor)["next_seq"] > seq + 20, "it goes on")
    assert "injection k is over" not in running.output
    obstacle.rmdir()
    wait_for(lambda: "injection k is over" in running.output, "it is over")


def test_sensors_are_paused_and_resumed(config: Path, up: Up) -> None:
    """They write nothing, are well, stay so when their worker is killed, and go on later, as an epoch on record."""
    running = up("-c", config).ready()
    one, two, *others = running.sensors
    assert f"paused: 2 sensors: {one}, {two}\n" == ask(running, "pause", "--sensor", one, "--sensor", two)
    wait_for(lambda: {running.state(one), running.state(two)} == {"paused"}, "they are paused")
    assert "2 sensors are paused since 20" in ask(running, "status")
    assert 200 == running.get("/healthz")[0]
    assert {"healthy": 2, "paused": 2} == running.get("/statusz")[1]["runtime"]["by_state"]
    stood = [int(running.row(sensor)["next_seq"]) for sensor in (one, two)]
    before = int(running.row(one)["pid"])
    ask(running, "restart", one)
    wait_for(lambda: running.row(one)["pid"] not in (0, before) and running.state(one) == "paused", "paused again")
    count = int(running.row(others[0])["next_seq"])
    wait_for(lambda: running.row(others[0])["next_seq"] > count + 20, "the others go on")
    assert stood == [int(running.row(sensor)["next_seq"]) for sensor in (one, two)]
    assert f"resumed: 1 sensor: {one}\n" == ask(running, "resume", "--sensor", one)
    wait_for(lambda: running.row(one)["next_seq"] > stood[0] + 5, "it goes on")
    assert ["start", "skip"] == reasons(running, one)
    assert (200, "paused") == (running.get("/healthz")[0], running.state(two))
    verified(running)
    assert 0 < rows(running, one, EPOCHS)[1][1] == stood[0]


def test_a_run_ends_while_all_are_paused(config: Path, up: Up) -> None:
    """Nobody waits for readings that are not due."""
    running = up("-c", config, "--for", "10s").ready()
    tell(running, "pause")

    assert 0 == running.wait()
    assert {"done"} == {running.state(sensor) for sensor in running.sensors}
    proof = json.loads(fleet("verify", "--data", running.data, "--complete", "--json").stdout)
    assert (True, 4) == (proof["ok"], len(proof["paused"]))
    not_due = sum(int(re.findall("([0-9]+) readings not due", line)[0]) for line in proof["paused"])
    left_out = f"paused since {proof['paused'][0].split()[3][:-1]}, {not_due} readings not due"
    assert 4 * 10 * 20 == not_due + sum(int(running.row(sensor)["next_seq"]) for sensor in running.sensors)
    assert f"100.00% of the readings that were due; 4 {left_out}" in running.output
    assert f"4 sensors {left_out}" in fleet("status", "--data", running.data).stdout

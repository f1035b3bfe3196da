"""`fleet stream` in this process: its options, its file and its statistics."""

from __future__ import annotations

import json
import threading
from collections import Counter
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.catalogue.catalogue import load_catalogue
from fleet.cli import cli
from fleet.config.config import load_config
from fleet.errors import UserError
from fleet.identities.provisioning import generator_for, provision, resolved_identity
from fleet.streaming.sensors import stream_sensors
from fleet.streaming.stream import Pace, StreamReadings, StreamStats, StreamWriter

QUICK = ("--unthrottled", "--seed", "3", "--start", "2026-01-01T00:00:00Z")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stream(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ("stream", *arguments), standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.claim("003.command-line.1", "003.command-line.2", "003.command-line.3")
def test_the_flags_of_the_document() -> None:
    """`-rate 50000 -d 10s` are 500,000 records, in output.jsonl or the file that -o names."""
    stream(*QUICK, "-rate", "500", "-d", "2s")
    stream(*QUICK, "--rate", "500", "-d", "2s", "-o", "other.jsonl")

    lines = Path("output.jsonl").read_text().splitlines()
    assert 1000 == len(lines)
    assert Path("output.jsonl").read_bytes() == Path("other.jsonl").read_bytes()
    assert "2026-01-01T00:00:01.998000Z" == json.loads(lines[-1])["timestamp"]


@pytest.mark.claim("003.command-line.5")
@pytest.mark.parametrize("flag", ["-append", "--append"])
def test_a_file_is_appended_to_or_overwritten(flag: str) -> None:
    """A line that was cut stays one of its own."""
    stream(*QUICK, "-d", "1s", "-rate", "50")
    once = Path("output.jsonl").read_text()
    stream(*QUICK, "-d", "1s", "-rate", "50")
    assert once == Path("output.jsonl").read_text()
    stream(*QUICK, "-d", "1s", "-rate", "50", flag)
    assert once * 2 == Path("output.jsonl").read_text()

    Path("output.jsonl").write_text(once + '{"sensor_id":"SNS')
    stream(*QUICK, "-d", "1s", "-rate", "50", flag)

    assert once + '{"sensor_id":"SNS\n' + once == Path("output.jsonl").read_text()


@pytest.mark.claim("003.sample-output.1", "003.sample-output.2", "003.sample-output.3")
def test_the_record_of_the_document() -> None:
    """Its fields in their order; its units and its time in UTC."""
    printed = stream(*QUICK, "-o", "-", "-d", "1s", "-rate", "100").stdout
    records = [json.loads(line) for line in printed.splitlines()]

    expected = (
        "sensor_id timestamp type value unit location pipeline_id status quality_score alert_level".split()  # noqa: SIM905
    )
    assert {tuple(expected)} == {tuple(record) for record in records}
    assert {("lat", "lon", "mile_post")} == {tuple(record["location"]) for record in records}
    assert Counter({record["sensor_id"]: 1 for record in records}) == Counter(r["sensor_id"] for r in records)
    assert 100 == len(records)
    assert "2026-01-01T00:00:00.000000Z" == records[0]["timestamp"]


def test_the_final_block_counts() -> None:
    result = stream(*QUICK, "-d", "5s", "-rate", "2000")

    said = dict(line.split(maxsplit=1) for line in result.stderr.splitlines())
    text = Path("output.jsonl").read_text()
    abnormal = sum('"status":"normal"' not in line for line in text.splitlines())
    assert ["records", "seconds", "records/s", "bytes", "anomalies", "seed"] == list(said)
    assert ("10,000", f"{len(text):,}", "3") == (said["records"], said["bytes"], said["seed"])
    assert f"{abnormal} ({abnormal / 10_000:.1%})" == said["anomalies"]


def test_missing_readings_have_no_record() -> None:
    """The records of a kind other than pipeline are rows, and those that are missing are not counted."""
    result = stream(*QUICK, "--seed", "5", "--kind", "environmental", "--sensors", "3", "-d", "20m", "-rate", "30")

    seqs = Counter(json.loads(line)["seq"] for line in Path("output.jsonl").read_text().splitlines())
    said = dict(line.split(maxsplit=1) for line in result.stderr.splitlines())
    assert 30 * 1200 > seqs.total() == int(said["records"].replace(",", ""))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-rate", "0"), "--rate: '0' is not a number of records a second, above 0 and at most 1000000"),
        (("-rate", "x"), "--rate: 'x' is not a number of records a second"),
        (("-rate", "500000", "--sensors", "3"), "--rate: 500000 records a second of 3 sensors .* take --sensors 5"),
        (("-d", "10x"), "-d: '10x' is not a duration such as 30s"),
        (("-o", "missing/x.jsonl"), "-o: missing/x.jsonl cannot be written: No such file or directory"),
        (("-o", "."), "-o: . cannot be written: Is a directory"),
        (("--kind", "pipelin"), "--kind: "),
        (("--seed", "x"), "--seed: "),
        (("--start", "yesterday"), "--start: "),
        (("--sensors", "0"), "--sensors: '0' is not a whole number"),
    ],
)
def test_errors_are_a_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        stream(*arguments)

    assert "\n" not in str(refused.value)


def test_readings_are_due_at_their_times() -> None:
    """The first at once."""
    pace = Pace(Fraction(10), 100.0)

    assert [1, 1, 2, 11] == [pace.due(now) for now in (100.0, 100.0999, 100.1001, 101.0001)]
    assert 0.25 == pytest.approx(pace.seconds_until(5, 100.25))


def test_a_stream_that_is_stopped_ends_with_a_whole_line() -> None:
    """Its statistics are of what has been written."""
    sensors = stream_sensors(load_config(None, {}, {"sensor.type": "pipeline", "replicas.count": 10}), 3)
    stop, reported = threading.Event(), list[int]()

    def report(stats: StreamStats) -> None:
        reported.append(stats.records)
        if stats.records > 500:
            stop.set()

    output = BytesIO()
    writer = StreamWriter(StreamReadings(sensors, 3, Fraction(10_000), 0), output, None, stop, report, 0.1)
    stats = writer.run(Fraction(10_000), throttled=True)

    assert reported[-1] == stats.records
    assert stats.records == output.getvalue().count(b"\n") > 500
    assert output.getvalue().endswith(b"}\n")
    assert stats.written_bytes == len(output.getvalue())


def test_the_sensors_are_those_of_a_fleet(tmp_path: Path) -> None:
    """`fleet up` with the same seed has them in its identity files."""
    config = load_config(None, {}, {"sensor.type": "pipeline", "replicas.count": 20})
    catalogue = load_catalogue()
    stored, _ = provision(tmp_path / "identities", generator_for(config, catalogue, 3), 20)

    expected = [resolved_identity(config, catalogue, sensor) for sensor in stored]
    assert expected == [sensor.identity for sensor in stream_sensors(config, 3)]

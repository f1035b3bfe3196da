"""Line protocol: escapes, types and times of readings, episodes and epochs, and a file of it."""

from __future__ import annotations

import gzip
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.delivery.batch import Batch, TableRows
from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.history import EPISODE_COLUMNS
from fleet.delivery.target import BatchRejected, TargetMisconfigured
from fleet.delivery.targets.influx.file import InfluxFileTarget
from fleet.delivery.targets.influx.lines import LineFormat, history_lines, reading_lines
from fleet.delivery.targets.influx.parser import parse_points
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch, episodes, foreign_batch, with_values
from tests.fleet.delivery.swept import sweep_into
from tests.fleet.verify.damage import damage
from tests.worker.further import attributes, write_kinds

__all__ = ["attributes"]

PLAIN = LineFormat()

LAST_CO2 = "(SELECT max(id) FROM sensor_readings WHERE co2 > 0)"
EPISODE_TIME = "2026-01-01T00:00:00.000007+00:00"


def line(message: Batch, line_format: LineFormat = PLAIN) -> str:
    (found,) = reading_lines(message, line_format).lines
    return found


def test_a_reading_is_a_point() -> None:
    """Tags are in the order of their names, which servers take fastest; a whole float is no integer."""
    message = with_values(batch(1, 2), 1, temperature=20.0, humidity=-1e-7)

    expected = (
        r"sensor_readings,generation=generation-1,latitude=-4.32459,location=Kinshasa\,\ 🌍,sensor_id=KIN_1 "
        'temperature=20.0,humidity=-1e-07,status_code=0i,anomaly_flag=1i,anomaly_type="spike",seq=0i 1767261590000000000'
    )
    assert expected == line(message)
    assert line(message, LineFormat("a b,c", "ms")).startswith(r"a\ b\,c,generation")


@pytest.mark.parametrize("precision", ["ns", "us", "ms"])
def test_the_precision_of_times(precision: str) -> None:
    time = line(batch(1, 2), LineFormat(precision=precision)).rpartition(" ")[2]
    assert "1767261590000000000"[: {"ns": 19, "us": 16, "ms": 13}[precision]] == time


def test_what_no_line_can_hold_is_rejected() -> None:
    """The other readings go on."""
    message = with_values(batch(1, 7), 1, temperature=float("inf"))
    message = with_values(message, 2, location="C:\\")
    message = with_values(message, 3, location="two\nlines")
    message = with_values(message, 4, timestamp="yesterday")
    message = with_values(message, 5, status_code="ten")
    found = reading_lines(message, PLAIN)

    assert ([6], 1) == (list(found.ids), len(found.lines))
    expected = {
        1: "temperature is inf, for which line protocol has no number",
        2: r"location: 'C:\\' ends with a backslash, which no tag can",
        3: r"location: 'two\nlines' has a line break, which no tag can have",
        4: "timestamp: 'yesterday' is no time",
        5: "status_code: 'ten' is no whole number",
    }
    assert expected == found.rejected


def test_readings_of_a_wrong_clock_replace_none() -> None:
    """Two readings of a sensor with one time are two points: the wrong clock is marked in the nanoseconds."""
    time = "2026-01-01T00:00:00.000001+00:00"
    right = with_values(batch(5, 6), 5, timestamp=time)
    wrong = with_values(batch(6, 7), 6, timestamp=time, anomaly_type="wrong_zone")
    theirs = [line(foreign_batch(number, number + 1)).rpartition(" ")[2][-3:] for number in (1, 2)]

    assert ["001000", "001006"] == [line(each).rpartition(" ")[2][-6:] for each in (right, wrong)]
    assert ["002", "003"] == theirs


def test_a_precision_that_the_rate_does_not_fit_in() -> None:
    rows = [
        with_values(batch(number, number + 1), number, timestamp=f"2026-01-01T00:00:00.00{number}00+00:00").rows[0]
        for number in (12, 13)
    ]
    message = Batch(batch(1, 2).source, tuple(rows))
    assert 2 == len(reading_lines(message, LineFormat(precision="us")).lines)
    with pytest.raises(
        TargetMisconfigured, match="precision=ms is too coarse: two readings of KIN_1 have the same time"
    ):
        reading_lines(message, LineFormat(precision="ms"))


def test_episodes_are_points() -> None:
    table = TableRows(EPISODE_COLUMNS, (("KIN_1", "trend", None, 7, 9, EPISODE_TIME, EPISODE_TIME, '{"a": 1}'),))
    expected = (
        "anomaly_episodes,generation=generation-1,sensor_id=KIN_1,type=trend first_seq=7i,last_seq=9i,"
        f'start_time="{EPISODE_TIME}",end_time="{EPISODE_TIME}",parameters="{{\\"a\\": 1}}" 1767225600000007000'
    )
    assert [expected] == history_lines(replace(batch(1, 2), episodes=table), PLAIN)
    with pytest.raises(BatchRejected, match="start_time is 't7', which is no time"):
        history_lines(batch(1, 2, episodes=episodes((7, 9))), PLAIN)


HARD = (
    'say "no"',
    "a, b=c d",
    "back\\slash, \\\\two",
    "ends with \\",
    'line\nbreak "x"\n',
    "ß🌍",
    "i",
    "12i",
    "=",
    "#",
)


@pytest.mark.parametrize("text", HARD)
def test_any_text_comes_back(text: str) -> None:
    """In a field as it is, in a tag unless it ends with a backslash or has a line break."""
    message = with_values(batch(1, 2), 1, anomaly_type=text, location=text.replace("\n", " ").rstrip("\\"))
    (point,) = parse_points(f"{each}\n" for each in line(message).split("\n"))
    reading = dict(zip(message.source.columns, message.rows[0], strict=True))

    assert text == point.values["anomaly_type"]
    assert reading["location"] == point.values["location"]
    assert (reading["temperature"], 0, float, int) == (
        point.values["temperature"],
        point.values["seq"],
        type(point.values["temperature"]),
        type(point.values["seq"]),
    )


@pytest.mark.parametrize(
    "damaged", ["m x=1i 5", "m x 5\n", "m x=1 5x\n", 'm x="a\n\n', "m,a= x=1 5\n", "m x=1,,y=2 5\n"]
)
def test_a_damaged_line_is_reported(damaged: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no point"):
        list(parse_points(["m x=1i 5\n", *damaged.splitlines(keepends=True)]))


# A file


def file_target(path: Path) -> InfluxFileTarget:
    return InfluxFileTarget(path, PLAIN)


@pytest.mark.parametrize("name", ["out.lp", "out.lp.gz"])
def test_a_file_has_every_reading_once(name: str, tmp_path: Path) -> None:
    """Also those that were appended by a process that ended before it could remember them."""
    path = tmp_path / name
    with closing(file_target(path)) as opened:
        assert frozenset(range(1, 11)) == opened.deliver(batch(1, 11)).accepted
        before = path.read_bytes()
    with path.open("ab") as file:
        file.write(before[:50])
    with closing(file_target(path)) as opened:
        assert (10, 0) == (opened.cursor("generation-1"), opened.cursor("generation-2"))
        receipt = opened.deliver(with_values(batch(6, 15), 14, temperature=float("nan")))
        assert (5, {14}) == (receipt.duplicates, set(receipt.rejected))
        assert frozenset({14}) == opened.deliver(batch(14, 15)).accepted
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    assert list(range(14)) == [
        point.values["seq"] for point in parse_points(content.decode().splitlines(keepends=True))
    ]


def test_a_file_is_compared_with_the_databases(tmp_path: Path) -> None:
    """Of several kinds of sensor; what is altered is found."""
    data, path = tmp_path / "data", tmp_path / "out.lp"
    data.mkdir()
    write_kinds(data / "pack_0001.db", 120)
    with closing(open_target(f"influx:{path}", TargetOptions())) as opened:
        sweep_into(opened, data)
    options = ComparisonOptions(f"influx:{path}", complete=True)
    verdict = compare(data, options)
    assert (True, verdict.generated) == (verdict.ok, verdict.arrived)

    damage(data / "pack_0001.db", f"UPDATE sensor_readings SET co2 = co2 + 1 WHERE id = {LAST_CO2}")
    assert {"delivered altered": 1} == compare(data, options).counts


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("influx:", "names no file"),
        ("influx:no-folder/x.lp", "no-folder is no folder"),
        ("influx:x.lp?db=a", "'db' is no option of line protocol: allowed are precision, measurement"),
        ("influx:x.lp?precision=s", "precision is 's', allowed is ns or us or ms"),
        ("influx:x.lp?measurement=", "measurement is '', allowed is a name"),
        ("influx://user:secret@host/db", "env:NAME or file:PATH"),
        ("influx:///db", "names no server"),
        ("influx://host:port/db", "has no valid port"),
        ("influx://host/db?rp=x", "'rp' is no option"),
        ("influx://host/db?version=3", "version is '3', allowed is 1 or 2"),
        ("influx://host/db?version=2", "version 2 needs a bucket and an organisation"),
        ("influx://host/db?org=a", "org is an option of version 2: add version=2"),
    ],
)
def test_what_cannot_be_delivered_to(url: str, reason: str) -> None:
    with pytest.raises(UserError) as raised:
        open_target(url, TargetOptions())
    assert reason in str(raised.value)
    assert "secret" not in str(raised.value)

"""`fleet report` writes one page with what a data directory has, without secrets."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli import cli
from fleet.history.stored import read_histories
from fleet.report.content import format_span, read_report
from fleet.report.page import format_percent, render
from fleet.report.redaction import without_secrets
from fleet.report.shares import GROUPINGS, group_by, labelled_parts
from tests.fleet.mixed import mixed_with_readings
from tests.fleet.verify.damage import damage
from tests.worker.further import TURBINE_IDENTITY, kinds_writer
from tests.worker.samples import ANOMALIES, IDENTITY, settings
from tests.worker.stores import SensorWriter, select
from worker.spec import AnomalySpec, Settings

NOW = datetime(2026, 2, 1, tzinfo=UTC)
CLOCK = AnomalySpec("clock_jump", 0.1, 50, "readings")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sensors of three kinds in a database that they share."""
    folder = tmp_path_factory.mktemp("reported")
    writer = kinds_writer(folder / "pack.db")
    writer.deliver(3000)
    writer.sink.close()
    return folder


def report(data: Path, output: Path, *words: object) -> Result:
    return CliRunner().invoke(cli, ["report", str(data), "-o", str(output), *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize(
    "sensor_settings",
    [settings(*ANOMALIES, CLOCK), replace(settings(*ANOMALIES, CLOCK), overlap="channels")],
    ids=["alone", "overlapping"],
)
def test_the_shares_are_those_of_the_rows(sensor_settings: Settings, tmp_path: Path) -> None:
    """A scheduled reading without a row is one of missing_data; also where the firmware changes in between."""
    writer = SensorWriter(tmp_path / "one.db", sensor_settings)
    writer.deliver(2000)
    writer.sensor.change(replace(writer.sensor.spec, identity=replace(IDENTITY, firmware_version="2.0")))
    writer.deliver(4999)
    writer.sink.close()
    (history,) = read_histories(tmp_path)
    parts, _ = labelled_parts(history)
    groups = {group.name: group for group in group_by(parts, dict(GROUPINGS)["Firmware"])}

    assert {"1.4": 2001, "2.0": 2999} == {name: group.scheduled for name, group in groups.items()}
    for firmware, group in groups.items():
        rows = select(
            tmp_path / "one.db", "SELECT anomaly_type FROM sensor_readings WHERE firmware_version = ?", firmware
        )
        expected = Counter(kind for (kind,) in rows if kind)
        expected["missing_data"] = group.scheduled - len(rows)
        assert expected == group.anomalous


def test_the_page_is_complete_and_alone(data: Path, tmp_path: Path) -> None:
    """It says what is there and what a verification found, and needs nothing from elsewhere."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    shown = report(data, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")

    assert shown.exit_code == 0
    assert re.fullmatch(rf"{tmp_path}/report.html: 3 sensors, 9,003 readings: no differences, [\d.]+ s\n", shown.output)
    for words in ("verified: no differences", "SensorTech", "Chicago", "co2 in ppm", "50 min", "missing data", "9,003"):
        assert words in text
    assert text.count("<svg") > 4
    assert set() == set(re.findall(r"https?://(?!www\.w3\.org/)[^\"' <]*", text))
    assert not re.search(r"<script|<link|<img|url\((?!#)", text)
    assert set() == set(re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", text))


def test_the_page_has_the_findings(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    (path / "pack.db").write_bytes((data / "pack.db").read_bytes())
    damage(path / "pack.db", "UPDATE sensor_readings SET power = power + 1 WHERE seq = 17")
    text = render(read_report(path, NOW, "1"), plots=False)

    assert "1 finding</span>" in text
    assert "altered readings" in text
    assert f"{TURBINE_IDENTITY.sensor_id} 17</th>" in text
    assert "Nothing is lost" not in text
    assert "sensor-fleet[plot]" in text


def test_the_last_run_is_in_it(tmp_path: Path) -> None:
    """Counters, targets and events; the config of that name is gone."""
    mixed_with_readings(tmp_path)
    (tmp_path / "run" / "events.jsonl").write_text(
        '{"id":1,"time":"2026-01-01T00:00:00.000Z","kind":"restart","who":"supervisor",'
        '"what":"to http://me:hunter2@host/x <b>","effect":"","sensors":[]}\n'
    )
    content = read_report(tmp_path, NOW, "1", verified=False)
    text = render(content, plots=False)

    assert content.last_run is not None
    assert content.last_run.stats.readings == sum(history.end for history in content.histories)
    assert "not verified" in text
    assert "1 restart" in text
    assert "http://***@host/x &lt;b&gt;" in text
    assert "hunter2" not in text
    assert {"environmental monitoring", "pipeline", "people counter"} == {kind.kind for kind in content.kinds}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to: postgresql://me:pass@host/db", "to: postgresql://***@host/db"),
        ("to: mqtt://pass@host", "to: mqtt://***@host"),
        ("to: https://host/x?token=abc&y=1", "to: https://host/x?***"),
        ("  api_key: abc", "  api_key: ***"),
        ("PGPASSWORD=abc def", "PGPASSWORD=***"),
        ("- access_token: 'abc'\n  rate: 1", "- access_token: ***\n  rate: 1"),
        ("to: env:TARGET\nrate: 1/min", "to: env:TARGET\nrate: 1/min"),
        ("secrets:\n  a: 1", "secrets:\n  a: 1"),
    ],
)
def test_secrets_are_removed(text: str, shown: str) -> None:
    assert shown == without_secrets(text)


def test_numbers_are_short() -> None:
    assert ["0 %", "0.12 %", "12.3 %", "100 %"] == [format_percent(share) for share in (0, 0.0012, 0.123, 1)]
    assert ["31 d 4 h", "1 h", "1 min 1 s", "0 s"] == [format_span(s) for s in (31.17 * 86400, 3600, 61, 0)]


def test_a_directory_without_readings_is_an_error_in_one_line(tmp_path: Path) -> None:
    for place, message in ((tmp_path, "there is no database of a fleet"), (tmp_path / "x", "is not a directory")):
        shown = CliRunner().invoke(cli, ["report", str(place)])
        assert message in str(shown.exception)
        assert "\n" not in str(shown.exception)

"""`fleet plot` draws into files and in the terminal, and names what is wrong in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli import cli
from fleet.errors import UserError
from fleet.plots.palette import colours
from tests.worker.further import AIR_IDENTITY, TURBINE_IDENTITY, kinds_writer
from worker.readings.anomalies import ANOMALY_TYPES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sensors of three kinds in a database that they share."""
    folder = tmp_path_factory.mktemp("plotted")
    writer = kinds_writer(folder / "pack.db")
    writer.deliver(3000)
    writer.sink.close()
    return folder


def plot(data: Path, *words: object) -> Result:
    return CliRunner().invoke(cli, ["plot", "--data", str(data), *map(str, words)], catch_exceptions=False)


def test_each_type_of_anomaly_has_a_colour() -> None:
    assert set(ANOMALY_TYPES) <= set(colours())


def test_a_page_has_all_in_it(data: Path, tmp_path: Path) -> None:
    """The names and units of channels, the names of anomalies; nothing from the network, and the colours of a theme."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    shown = plot(data, AIR_IDENTITY.sensor_id, "-o", tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")

    assert shown.exit_code == 0
    assert f"{tmp_path}/x.html: {AIR_IDENTITY.sensor_id}\n" == shown.output
    for word in (AIR_IDENTITY.sensor_id, "co2", "ppm", "temperature", "°C", "missing data (", "spike ("):
        assert word in text
    assert set() == set(re.findall(r"https?://(?!www\.w3\.org/)[^\"' ]*", text))
    assert "<script" not in text
    assert "var(--spike)" in text
    svg = text[text.index("<svg") :]
    assert set() == set(re.findall(r"#[0-9a-f]{6}\b", svg))


@pytest.mark.parametrize(("name", "begins"), [("x.png", b"\x89PNG"), ("x.svg", b"<?xml")])
def test_the_same_plot_has_the_same_bytes(name: str, begins: bytes, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    written = []
    for _ in range(2):
        assert plot(data, "--channel", "temperature", "--last", "10m", "-o", tmp_path / name).exit_code == 0
        written.append((tmp_path / name).read_bytes())

    assert written[0].startswith(begins)
    assert written[0] == written[1]


def test_the_terminal_has_eighty_columns(data: Path) -> None:
    """Every line fits; each channel has its name and unit, its extremes, and its line; anomalies have letters."""
    shown = plot(data, TURBINE_IDENTITY.sensor_id, "--terminal")
    lines = shown.output.splitlines()

    assert shown.exit_code == 0
    assert max(map(len, lines)) <= 80
    assert "power kW" in lines
    assert len([line for line in lines if re.search("[\u2801-\u28ff]", line)]) >= 6
    assert re.search(r"^a spike \d+ +b missing data \d+", lines[-1])
    assert re.search(r"^ +[ab ]*a[ab ]*$", lines[1])
    assert any(re.search(r" 2026-01-01 00:00:00 +00:50:00$", line) for line in lines)


def test_a_plot_without_names_has_a_sensor_of_each_kind(data: Path, tmp_path: Path) -> None:
    shown = plot(data, "--channel", "temperature")

    assert AIR_IDENTITY.sensor_id in shown.output
    assert "of 3 sensors" in shown.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("UNKNOWN",), "SENSOR: there is no reading of UNKNOWN in "),
        (("--channel", "warmth"), "--channel: warmth is none of "),
        (("--from", "2027-01-01"), "there is no reading in that range: those of "),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "--to: is not after --from"),
        (("--from", "soon"), "--from: 'soon' is not a time such as 2026-01-01"),
        (("-o", "x.gif"), "-o: x.gif does not end in .png, .svg or .html"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: tuple[str, ...], message: str, data: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        cli.main(["plot", "--data", str(data), *words], standalone_mode=False)


def test_without_matplotlib_the_terminal_still_has_plots() -> None:
    """The message for a file names the extra."""
    script = "import sys; sys.modules['matplotlib'] = None; import fleet.plots.terminal; import fleet.plots.figure"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert ended.stderr.splitlines()[-1].startswith(
        "fleet.errors.UserError: a plot in a file needs an extra: pip install 'sensor-fleet[plot]' ("
    )

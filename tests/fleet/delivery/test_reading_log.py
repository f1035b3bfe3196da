"""The lines of single readings, as document 004 prints them."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet.delivery.batch import Value
from fleet.delivery.reading_log import LoggedTarget, reading_line
from fleet.delivery.target import HoldingTarget, TargetUnavailable
from fleet.delivery.targets.registry import TargetOptions, open_target
from tests.fleet.delivery.samples import batch
from tests.fleet.delivery.targets.test_http_each import BME280, target
from tests.servers.single_readings import reading_server

NOW = datetime(2025, 11, 14, 10, 30, 1, tzinfo=UTC)


def test_the_line_of_a_reading() -> None:
    reading: dict[str, Value] = {
        "timestamp": "2025-11-14T10:30:00.000000+00:00",
        "temperature": 23.45,
        "humidity": 45.67,
        "pressure": 101325.0,
        "anomaly_type": None,
    }
    for pressure in (101325.0, 1013.25):  # in pascals, and in hectopascals
        line = reading_line(1, {**reading, "pressure": pressure}, accepted=True)
        assert "✓ #0001 | 10:30:00 | T:23.45°C | H:45.67% | P:1013.25hPa" == line
    lacking = {**reading, "humidity": None, "anomaly_type": "spike", "weather_event_type": "storm"}
    expected = "✗ #12345 | 10:30:00 | T:23.45°C | P:1013.25hPa [Weather: storm] [Anomaly: spike]"
    assert expected == reading_line(12345, lacking, accepted=False)


@pytest.mark.claim("004.client.2")
def test_statistics() -> None:
    """Every 100 readings, and at the end; a delivery that failed is counted, and its readings are printed when they arrive."""
    lines: list[str] = []
    with reading_server() as server, closing(target(server.url, BME280, attempts=1)) as opened:
        logged = LoggedTarget(opened, lines.append, lambda: NOW)
        logged.deliver(batch(1, 100))
        server.stop()
        with pytest.raises(TargetUnavailable):
            logged.deliver(batch(100, 102))
        server.start()
        logged.deliver(batch(100, 102))
    error = f"{server.url}: no connection: Connection refused (tried once)"
    assert [f"✗ {error}", "✓ #0100"] == [lines[99], lines[100][:7]]
    assert "\nStats: 100 sent, 1 failed\nLast success: 2025-11-14T10:30:01+00:00\nLast error: " in lines[101]
    assert "✓ #0101" == lines[102][:7]
    assert ["Final stats: 101 sent, 1 failed", "Last success: 2025-11-14T10:30:01+00:00", f"Last error: {error}"] == (
        logged.statistics("Final stats")
    )


def test_what_the_target_holds_is_written(tmp_path: Path) -> None:
    """By the collector, which sees the target only through its log."""
    folder = tmp_path / "batches"
    with closing(LoggedTarget(open_target(f"batches:{folder}", TargetOptions()), print, lambda: NOW)) as logged:
        logged.deliver(batch(1, 3))
        assert isinstance(logged, HoldingTarget)
        logged.write_held(everything=True)

    assert 1 == len(list(folder.glob("batch_*.json")))

"""A scoreboard that a power failure has damaged: every page is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.staged import client_of, sensor_name, staged_with_readings

PAGES = (
    *("/", "/healthz", "/statusz", "/metricz", "/metrics", "/samplez", "/workers", "/grid"),
    *(f"/workers/{sensor_name(1)}{rest}" for rest in ("", "/healthz", "/statusz", "/metricz", "/samplez")),
)


@pytest.mark.parametrize("value", [1 << 62, -(1 << 62), -7, 10_413_792_000_000_000])
@pytest.mark.parametrize("field", ["state", "anomaly", "timestamp_us", "committed_at_us"])
def test_fields_that_are_looked_up_or_shown_as_a_time(field: str, value: int, tmp_path: Path) -> None:
    """Times are those of readings, in microseconds since 1970: the last one is in the year 2300."""
    staged = staged_with_readings(tmp_path / "data")
    staged.scoreboard.rows[field] = value
    client = client_of(staged)

    codes = {page: client.get(page).status_code for page in PAGES}

    assert {} == {page: code for page, code in codes.items() if code not in (200, 503)}

"""A page that is left open while one fleet ends and another begins at the same address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.window import Window
from tests.process.running_fleet import FleetProcess

pytestmark = pytest.mark.browser


@contextmanager
def fleet(folder: Path, *arguments: object) -> Iterator[FleetProcess]:
    folder.mkdir()
    running = FleetProcess(folder / "data", folder / "output", "--replicas", 3, *arguments)
    try:
        yield running.ready()
    finally:
        running.end()


def test_the_page_becomes_that_of_the_other_fleet(tmp_path: Path, window: Window) -> None:
    """It has the seed and columns of the other fleet, no sensor is picked, and the controls are locked again. Three sensors
    have room for sparklines."""
    with fleet(tmp_path / "one", "--seed", 11) as first:
        page, port = window.open(first.url), first.url.rpartition(":")[2]
        window.until("document.querySelector('#grid').dataset.sparklines === 'true'")
        page.fill("#token", (first.data / "run" / "token").read_text().strip())
        page.click("#unlock")
        page.wait_for_selector('#lock[data-state="open"]')
        page.click("#grid", modifiers=["Control"], position={"x": 20, "y": 20})
        window.until("document.querySelector('#meant').textContent === 'means 1 sensor'")
    window.expected = ("ERR_", "Failed to load resource")
    config = tmp_path / "two.yaml"
    config.write_text("version: 2\nsensor: {type: temperature_vibration}\n")
    with fleet(tmp_path / "two", "-c", config, "--seed", 12, "--port", port) as second:
        page.wait_for_selector("#facts:has-text('seed 12 ')")  # lives through the page being another
        page.wait_for_selector("#link.live")

        assert second.sensors == page.locator("#rows .row:not([hidden]) .cell.id").all_inner_texts()
        headers = page.locator('#table [data-sort^="channel:"]').all_inner_texts()
        assert ["Temperature °C", "Vibration mm/s²", "Voltage V"] == [" ".join(text.split()) for text in headers]
        assert page.locator("#table .head > *").count() == page.locator("#rows .row").first.locator("> *").count()
        assert "means 3 sensors" == page.text_content("#meant")
        window.until("document.querySelector('#lock').dataset.state === 'locked'")

"""A fleet of sensors of different kinds in a real browser: other channels, other units, attributes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.served import served
from tests.browser.window import Window
from tests.fleet.mixed import PIPELINE, mixed_sensor, mixed_with_readings

pytestmark = pytest.mark.browser

HEADINGS = "[...document.querySelectorAll('#table .head .cell:not([hidden]) span')].map((node) => node.textContent)"
LISTED = "[...document.querySelectorAll('#rows .row:not([hidden]) .id a')].map((node) => node.textContent).join()"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    staged = mixed_with_readings(Path(tmp_path_factory.mktemp("mixed"), "data"), 6, 120)
    with served(staged) as address:
        yield address


def test_the_table_shows_the_channels_of_a_kind(address: str, window: Window) -> None:
    """Of all kinds the first channel of each sensor, with its unit; of one kind its channels. The address keeps it."""
    page = window.open(address)
    window.until(f"{HEADINGS}.includes('First channel')")
    window.until("document.querySelectorAll('#rows .row:not([hidden]) .main').length === 6")
    mains = page.locator("#rows .row:not([hidden]) .main").all_inner_texts()

    assert ["°C", "gpm", "persons"] == [text.split()[-1] for text in mains[:3]]
    assert [] == [text for text in mains if not text[0].isdigit()]
    page.select_option("#kind", "pipeline")
    window.until(f"{LISTED} === '{mixed_sensor(1)},{mixed_sensor(4)}'")
    headings = page.evaluate(HEADINGS)
    names = [each.name.capitalize().replace("_", " ") for each in PIPELINE.channels]
    assert names == headings[headings.index("Firmware") + 1 :][: len(names)]
    assert "fahrenheit" in page.inner_text('#table .head [data-sort="channel:temperature (fahrenheit)"]')
    page = window.open(page.url)
    window.until(f"{LISTED} === '{mixed_sensor(1)},{mixed_sensor(4)}'")
    page.click('#table .head [data-sort="channel:leak_rate"]')
    window.until("document.querySelector('#table .head [aria-sort=descending] span').textContent === 'Leak rate'")
    assert "Compare 2" == page.text_content("#compare")


def test_readings_are_grouped_by_channel_and_unit(address: str, window: Window) -> None:
    page = window.open(address)
    window.until("document.querySelectorAll('#readings-rows tr').length === 11")
    rows = page.locator("#readings-rows th").all_inner_texts()

    assert ["temperature °C", "temperature fahrenheit"] == [row for row in rows if row.startswith("temperature")]
    page.select_option("#readings-of", "temperature (fahrenheit)")
    window.until("document.querySelectorAll('#readings-rows tr').length === 2")
    page.select_option("#measure", "channel:people")
    window.until("document.querySelector('#legend').textContent.includes('persons')")


def test_the_page_of_a_sensor_with_many_channels(address: str, window: Window) -> None:
    """A chart for each, the attributes of the sensor, and those of its readings."""
    page = window.open(f"{address}/sensors/{mixed_sensor(1)}")
    window.until("[...document.querySelectorAll('.channel .value')].every((node) => /\\d/.test(node.textContent))")

    assert 8 == page.locator("figure.channel").count()
    assert "PIPE-NORTH-7" in page.inner_text(".facts-list")
    window.until("document.querySelectorAll('#latest tr').length > 5")
    head = page.inner_text("#latest-head")
    assert all(label in head for label in ("Line pressure psi", "Ph level", "Status", "Alert level", "Anomaly"))
    assert "Pipeline id" not in head  # it is the sensor's, not the reading's
    assert re.search("OK|ALERT", page.inner_text("#latest"))


def test_the_page_of_a_sensor_with_one_channel(address: str, window: Window) -> None:
    page = window.open(f"{address}/sensors/{mixed_sensor(2)}")
    window.until("/\\d/.test(document.querySelector('.channel .value').textContent)")

    assert 1 == page.locator("figure.channel").count()
    assert "persons" == page.text_content("#channel-people .unit")


def test_sensors_of_different_kinds_are_compared(address: str, window: Window) -> None:
    """Temperatures in different units have a chart each."""
    page = window.open(f"{address}/compare?sensors={mixed_sensor(0)},{mixed_sensor(1)}")
    window.until("document.querySelectorAll('figure.channel').length === 10")
    units = page.locator('figure.channel[data-channel="temperature"] .unit').all_inner_texts()

    assert ["°C", "fahrenheit"] == units
    window.until("id => document.querySelector('[data-channel=humidity] canvas').dataset.lines === id", mixed_sensor(0))

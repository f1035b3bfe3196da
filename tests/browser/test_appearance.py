"""Every page in each size of screen, light and dark, with few and many sensors: nothing is cut, covered or hard to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser.appearance import check_appearance, note_canvas_texts
from tests.browser.served import served
from tests.browser.window import Window
from tests.fleet.mixed import mixed_sensor, mixed_with_readings
from tests.fleet.staged import StagedFleet
from tests.process.running_fleet import FleetProcess
from worker.readings.anomalies import ANOMALY_TYPES

pytestmark = pytest.mark.browser


def test_the_pages_of_a_fleet(running: FleetProcess, window: Window) -> None:
    """The overview with its controls locked, and by colours of a measure; a sensor in its episodes; sensors compared, and
    the page without any; a sensor that is not there."""
    note_canvas_texts(window)
    page = window.open(running.url)
    window.until("document.querySelectorAll('#events .event').length > 0")
    window.until("document.querySelector('#rows').classList.contains('live')")
    page.click('[data-sort="temperature"], [data-sort="channel:temperature"]')
    check_appearance(page)
    page.select_option("#measure", "channel:temperature")
    check_appearance(page)
    page = window.open(f"{running.url}/sensors/{running.sensors[2]}")
    window.until("document.querySelectorAll('#latest tr').length > 5")
    window.until("document.querySelectorAll('#epochs tr').length > 0")
    check_appearance(page)
    page = window.open(f"{running.url}/compare?sensors={','.join(running.sensors[:6])}")
    window.until("[...document.querySelectorAll('#compared .pill')].every((pill) => pill.textContent)")
    check_appearance(page)
    page = window.open(f"{running.url}/compare")
    check_appearance(page)
    window.expected = ("404",)
    page.goto(f"{running.url}/sensors/UNKNOWN_1")
    check_appearance(page)


@pytest.mark.parametrize("sensors", [12, 1000])
def test_an_overview_of_few_and_of_many_sensors(tmp_path: Path, window: Window, sensors: int) -> None:
    """One in each state that a worker writes, and one in each type of anomaly if there are enough."""
    staged = StagedFleet(tmp_path / "data", sensors, "shared")
    states = ("starting", "restarting", "unready", "failed", "paused")
    for number, state in enumerate(states):
        staged.set(number, state, "waits for the disk")
    for kind in range(min(len(ANOMALY_TYPES), sensors - len(states))):
        staged.set(len(states) + kind, anomaly=kind)
    note_canvas_texts(window)
    window.expected = ("503",)  # there are no databases, of which sparklines begin
    with served(staged) as address:
        page = window.open(address)
        window.until("document.querySelector('#rows').classList.contains('live')")
        page.click('[data-sort="anomaly"]')
        check_appearance(page)
        window.page.goto("about:blank")


def test_names_on_the_map_lie_on_no_sensor(tmp_path: Path, window: Window) -> None:
    """Sixty sensors in twenty cities that are close to each other."""
    staged = StagedFleet(tmp_path / "data", 60, "shared")
    staged.members = tuple(
        replace(
            member,
            identity=replace(
                member.identity,
                location=f"Town of Number {number % 20}",
                latitude=40.0 + number % 5 * 3,
                longitude=number % 4 * 4.0,
            ),
        )
        for number, member in enumerate(staged.members)
    )
    staged.write_roster()
    note_canvas_texts(window)
    with served(staged) as address:
        page = window.open(address)
        window.until("(document.querySelector('#world').dataset.places ?? '').length > 0")
        check_appearance(page)
        window.page.goto("about:blank")


def test_the_pages_of_sensors_of_different_kinds(tmp_path: Path, window: Window) -> None:
    staged = mixed_with_readings(tmp_path / "data", 6, 280)
    note_canvas_texts(window)
    with served(staged) as address:
        page = window.open(address)
        window.until("document.querySelector('#rows').classList.contains('live')")
        check_appearance(page)
        page = window.open(f"{address}/sensors/{mixed_sensor(1)}")
        window.until("document.querySelectorAll('#latest tr').length > 5")
        window.until("document.querySelectorAll('#episodes .pill').length > 0")
        check_appearance(page)
        page = window.open(f"{address}/compare?sensors={mixed_sensor(0)},{mixed_sensor(1)}")
        check_appearance(page)
        window.page.goto("about:blank")


@pytest.mark.parametrize("width", [1181, 390], ids=["narrow", "phone"])
def test_columns_beyond_the_edge_have_values(running: FleetProcess, window: Window, width: int) -> None:
    """The rows are as wide as the headings: whoever scrolls to a heading finds values below it."""
    window.page.set_viewport_size({"width": width, "height": 844})
    page = window.open(running.url)
    window.until("document.querySelector('#rows').classList.contains('live')")
    right = "(selector) => document.querySelector(selector).getBoundingClientRect().right"

    assert page.evaluate(right, "#table .head") == page.evaluate(right, "#rows")
    assert page.evaluate(right, "#rows") > width

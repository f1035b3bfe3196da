"""The page that compares sensors in a real browser, and the ways from the table to it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.browser.window import Window
from tests.process.running_fleet import FleetProcess

pytestmark = pytest.mark.browser

LINES = "[...document.querySelectorAll('figure.channel canvas')].map((canvas) => canvas.dataset.lines)"


def compared(window: Window) -> list[str]:
    return [node.get_attribute("data-sensor") or "" for node in window.page.locator("#compared [data-sensor]").all()]


def test_sensors_are_ticked_and_compared(running: FleetProcess, window: Window) -> None:
    """Two to six: each channel has one chart with a line for each of them, made of points by the server. The address has the
    sensors and the range."""
    page = window.open(running.url)
    window.until("document.querySelector('#rows').classList.contains('live')")
    assert page.is_disabled("#compare")
    page.click('[data-sort="id"]')
    first, second, third = sorted(running.sensors)[:3]
    for sensor in (first, second, third):
        page.check(f'#rows input[value="{sensor}"]')
    assert ("Compare 3", "means 3 sensors") == (page.text_content("#compare"), page.text_content("#meant"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.click("#compare")
    page.wait_for_url(f"**/compare?sensors={first},{second},{third}")
    expected = f"{first} {second} {third}"
    window.until(f"expected => {LINES}.length === 5 && {LINES}.every((lines) => lines === expected)", expected)
    series = [url for url in asked if "/series?" in url]
    assert series
    assert all("points=" in url for url in series)
    tones = page.locator("#compared li").evaluate_all(
        "nodes => nodes.map((node) => getComputedStyle(node, '::before').backgroundColor)"
    )
    assert 3 == len(set(tones))
    page.click('[data-seconds="900"]')
    page.click(f'[aria-label="Remove {second}"]')
    page.wait_for_url(f"**/compare?sensors={first},{third}&seconds=900")

    assert [first, third] == compared(window)
    page.wait_for_selector('[data-seconds="900"][aria-pressed="true"]')
    window.until("/^[0-9:]{8} to [0-9:]{8} UTC: .* of 15 min/.test(document.querySelector('#range').textContent)")


def test_a_filter_that_leaves_a_few_compares_those(running: FleetProcess, window: Window) -> None:
    page = window.open(f"{running.url}/?filter={running.sensors[3]}")
    window.until("document.querySelector('#table-count').textContent === '1 of 50'")
    assert page.is_disabled("#compare")
    (place, _), *_ = [
        (place, count)
        for place, count in Counter(member.identity.location for member in running.roster.members).items()
        if 2 <= count <= 6
    ]
    assert place
    expected = [member.sensor_id for member in running.roster.members if member.identity.location == place]
    page.fill("#filter", place)
    window.until("count => document.querySelector('#compare').textContent === `Compare ${count}`", len(expected))
    page.click("#compare")
    page.wait_for_url("**/compare?*")

    assert expected == compared(window)


def test_the_sensors_of_a_place(running: FleetProcess, window: Window) -> None:
    """By a click on the place in the table, at most six; others are added by id or by place."""
    page = window.open(running.url)
    members = running.roster.members
    (place, count), *_ = Counter(member.identity.location for member in members).most_common()
    assert place
    page.fill("#filter", place)
    page.locator("#rows .row:not([hidden]) .cell.place a").first.click()
    page.wait_for_url("**/compare?place=*")
    expected = [member.sensor_id for member in members if member.identity.location == place][:6]
    assert expected == compared(window)
    assert (f"of {count} sensors" in (page.text_content("#remark") or "")) == (count > 6)
    page.wait_for_selector("#link.live")
    page.click(f'[aria-label="Remove {expected[0]}"]')
    page.wait_for_url(f"**/compare?sensors={','.join(expected[1:])}")
    page.fill("#add-name", "nowhere")
    page.click("#add button")
    window.until("document.querySelector('#remark').textContent === 'There is no sensor and no place nowhere.'")
    another = next(member.sensor_id for member in members if member.identity.location != place)
    page.fill("#add-name", another.lower())
    page.click("#add button")
    page.wait_for_url(f"**/compare?sensors=*{another}")

    assert [*expected[1:], another] == compared(window)


def test_a_sensor_that_is_not_there_does_not_stop_the_others(running: FleetProcess, window: Window) -> None:
    page = window.open(f"{running.url}/compare?sensors=UNKNOWN,{running.sensors[0]}")
    window.until(f"expected => {LINES}.every((lines) => lines === expected)", running.sensors[0])

    assert "no sensor UNKNOWN in this fleet" == page.text_content("#remark")
    assert "2 to 6 sensors are compared" in page.inner_text("main")
    page.goto(f"{running.url}/compare")
    page.wait_for_selector("#link.live")
    assert [] == compared(window)

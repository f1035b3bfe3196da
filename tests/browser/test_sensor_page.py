"""The page of a sensor and the controls in a real browser, with a real fleet."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from fleet.runtime.control_client import send_command
from tests.browser.window import Window
from tests.process.running_fleet import FleetProcess, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Route

pytestmark = pytest.mark.browser


# Counts lines on a canvas that run back: from a point to one further left. Short paths, such as marks, are left out.
COUNT_LINES_BACK = """
window.linesBack = 0;
const path = { x: -Infinity, points: 0, back: 0 };
const { beginPath, moveTo, lineTo, stroke } = CanvasRenderingContext2D.prototype;
Object.assign(CanvasRenderingContext2D.prototype, {
  beginPath() { Object.assign(path, { x: -Infinity, points: 0, back: 0 }); beginPath.call(this); },
  moveTo(x, y) { path.x = x; moveTo.call(this, x, y); },
  lineTo(x, y) {
    if (x < path.x) path.back += 1;
    Object.assign(path, { x, points: path.points + 1 });
    lineTo.call(this, x, y);
  },
  stroke() { if (path.points > 8) window.linesBack += path.back; stroke.call(this); },
});
"""


def token(running: FleetProcess) -> str:
    return (running.data / "run" / "token").read_text().strip()


def unlock(running: FleetProcess, window: Window) -> None:
    window.page.fill("#token", token(running))
    window.page.click("#unlock")
    window.page.wait_for_selector('#lock[data-state="open"]')


def test_the_page_of_a_sensor(running: FleetProcess, window: Window) -> None:
    """Its channels with what they measure, its identity, its epochs, its database, its log."""
    sensor = running.sensors[2]
    page = window.open(f"{running.url}/sensors/{sensor}")
    window.until("[...document.querySelectorAll('.channel .value')].every((node) => /\\d/.test(node.textContent))")

    assert 5 == page.locator("figure.channel").count()
    assert "mm/s²" == page.text_content("#channel-vibration .unit")
    window.until("document.querySelectorAll('#epochs tr').length > 0")
    assert "start" in page.inner_text("#epochs")
    window.until("/\\d/.test(document.querySelector('[data-figure=records]').textContent)")
    assert "log" in page.inner_text(".log").lower()


def test_answers_that_are_held_back_add_nothing_twice(running: FleetProcess, window: Window) -> None:
    """The range is changed several times while no answer arrives, and updates go on: then all answers arrive, the newest
    first. No line runs back, and the range is the one that was chosen last."""
    window.page.add_init_script(COUNT_LINES_BACK)
    page = window.open(f"{running.url}/sensors/{running.sensors[3]}")
    window.until("document.querySelector('#channel-voltage canvas').dataset.episodes !== undefined")
    held: list[Route] = []
    released = False

    def hold(route: Route) -> None:
        if released:
            route.continue_()
        else:
            held.append(route)

    page.route("**/series?*", hold)
    for seconds in (60, 900, 60, 60):
        page.click(f'[data-seconds="{seconds}"]')
    page.wait_for_timeout(2500)  # two updates
    released = True
    for route in reversed(held):
        route.continue_()
    page.wait_for_timeout(2500)

    assert len(held) >= 3
    assert 0 == page.evaluate("window.linesBack")
    assert "60" == page.get_attribute('[data-seconds][aria-pressed="true"]', "data-seconds")


def test_the_range_is_said_and_kept_in_the_address(running: FleetProcess, window: Window) -> None:
    """From when to when, and how much of what was chosen that is; the address leads to the same range and scale."""
    page = window.open(f"{running.url}/sensors/{running.sensors[4]}")
    page.click('[data-seconds="900"]')
    page.click("#all-values")
    window.until("/^[0-9:]{8} to [0-9:]{8} UTC: .* of 15 min/.test(document.querySelector('#range').textContent)")
    assert page.url.endswith("?seconds=900&scale=all")
    page.reload()

    for chosen in ('[data-seconds="900"]', "#all-values"):
        page.wait_for_selector(f'{chosen}[aria-pressed="true"]')
    page.click('[data-seconds="300"]')
    page.click("#all-values")
    assert "?" not in page.url


def test_an_axis_is_not_scaled_to_spikes(running: FleetProcess, window: Window) -> None:
    """It covers the usual values, or with the switch all of them; all as well if they are not far apart."""
    page = window.open(f"{running.url}/sensors/{running.sensors[4]}")
    axis = "async ([values, all]) => (await import('/static/channelchart.js')).axisRange(values, values, [], all)"
    values = [20 + number % 5 for number in range(200)]
    spiked = [*values, 900, None]

    assert [pytest.approx(19.6), pytest.approx(24.4)] == page.evaluate(axis, [spiked, False])
    low, high = page.evaluate(axis, [spiked, True])
    assert (low < 20, high > 900) == (True, True)
    low, high = page.evaluate(axis, [[*values, 26], False])
    assert high > 26
    ticks = "async ([low, high]) => (await import('/static/format.js')).ticks(low, high, 4).map(({ text }) => text)"
    assert ["0.20", "0.40", "0.60", "0.80"] == [f"{float(text):.2f}" for text in page.evaluate(ticks, [0.1, 0.95])]
    assert ["90,000", "100,000", "110,000"] == page.evaluate(ticks, [82_000, 118_000])
    assert ["0.0", "0.5"] == page.evaluate(ticks, [-0.02, 0.95])
    assert ["-0.5", "0.0", "0.5"] == page.evaluate(ticks, [-0.6, 0.95])


def test_a_spike_is_injected_and_seen(running: FleetProcess, window: Window) -> None:
    """On the page as a shaded episode, under events, and in the database with its label."""
    sensor = running.sensors[11]
    page = window.open(f"{running.url}/sensors/{sensor}")
    unlock(running, window)
    page.select_option('[name="type"]', "spike")
    page.select_option('[name="channel"]', "humidity")
    page.fill('[name="size"]', "1.5")
    page.fill('[name="seconds"]', "3")
    page.click("text=Inject anomaly")
    page.wait_for_selector("#outcome.good")

    def found() -> list[dict[str, object]]:
        episodes = running.get(f"/workers/{sensor}/episodes?limit=50")[1]["episodes"]
        return [one for one in episodes if one["type"] == "spike" and one["parameters"].get("factor") == 1.5]

    page.wait_for_selector("#channel-humidity .struck:has-text('spike')")
    (episode, *_) = wait_for(found, "the spike is on record")
    assert "humidity" == episode["channel"]
    window.until("document.querySelector('#channel-humidity canvas').dataset.episodes.includes('spike')")
    window.until("document.querySelector('#episodes').textContent.includes('humidity')")
    window.until("document.querySelector('#events').textContent.includes('inject')")


def test_pause_and_resume(running: FleetProcess, window: Window) -> None:
    """It is seen on the page, and takes effect."""
    sensor = running.sensors[12]
    page = window.open(f"{running.url}/sensors/{sensor}")
    unlock(running, window)
    page.click('[data-action="pause"]')
    window.until("document.querySelector('#state').textContent === 'paused'")
    page.click('[data-action="resume"]')
    window.until("document.querySelector('#state').textContent === 'healthy'")


def test_an_injection_into_all_is_taken_back(running: FleetProcess, window: Window) -> None:
    """On the page of one that no list of the first twenty names: its events tell of it, and the page asks before it ends
    for all of them. After that it is no longer listed."""
    page = window.open(f"{running.url}/sensors/{running.sensors[30]}")
    unlock(running, window)
    send_command(running.data / "run" / "control.sock", 10, command="inject", type="noise", seconds=300.0, id="for-all")
    window.until("document.querySelector('#events').textContent.includes('for-all')")
    asked: list[str] = []

    def agree(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", agree)
    page.click('[data-injection="for-all"] button')
    window.until("document.querySelector('#outcome').textContent === 'noise in 50 sensors is taken back (for-all)'")
    assert ["Take back noise in all of its 50 sensors (for-all)?"] == asked
    window.until("document.querySelector('#injections').childElementCount === 0")


def test_without_the_token_nothing_happens(running: FleetProcess, window: Window) -> None:
    """The controls are there to be seen, locked, and the page tells where the token is. Whoever asks anyway is refused."""
    page = window.open(running.url)
    window.until("document.querySelector('#lock-how').textContent.includes('token')")

    assert page.is_disabled('[data-action="scale"] button')
    assert "run/token" in page.inner_text("#lock-how")
    window.expected = ("401", "403")
    page.fill("#token", "wrong")
    page.click("#unlock")
    window.until("document.querySelector('#lock-how').textContent.startsWith('That is not the token')")
    page.evaluate("document.querySelector('#actions').disabled = false")
    page.fill("#scale-count", "3")
    page.click('[data-action="scale"] button')
    page.wait_for_selector("#outcome.bad")

    assert 50 == len(running.sensors)
    assert {401, 403} == {refused(running, {}), refused(running, {"Authorization": "Bearer wrong"})}


def refused(running: FleetProcess, headers: dict[str, str]) -> int:
    body = json.dumps({"count": 3}).encode()
    asked = urllib.request.Request(
        running.url + "/api/scale", body, {"Content-Type": "application/json", **headers}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(asked, timeout=10)
    with answer.value:
        return answer.value.code


def test_the_token_of_a_link(running: FleetProcess, window: Window) -> None:
    """It unlocks the controls, goes to no server and is removed from the address, which keeps its other parts."""
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    page = window.open(f"{running.url}/?sort=-lag#token={token(running)}")
    page.wait_for_selector('#lock[data-state="open"]')

    assert f"{running.url}/?sort=-lag" == page.url
    assert [] == [url for url in asked if token(running) in url]
    window.expected = ("403",)
    page.goto("about:blank")
    page.goto(f"{running.url}/#token=wrong")
    window.until("document.querySelector('#lock-how').textContent.startsWith('That is not the token')")
    assert "wrong" not in page.url


def test_the_token_is_kept_for_this_tab_only(running: FleetProcess, window: Window) -> None:
    """A reload keeps it; it is in no cookie, no address and no storage that outlasts the tab."""
    page = window.open(running.url)
    unlock(running, window)
    page.reload()
    page.wait_for_selector('#lock[data-state="open"]')

    assert "" == page.evaluate("document.cookie")
    assert token(running) not in page.url + page.evaluate("JSON.stringify({ ...localStorage })")
    page.click("#unlock")
    page.wait_for_selector('#lock[data-state="locked"]')
    assert page.evaluate("sessionStorage.getItem('fleet-token')") is None

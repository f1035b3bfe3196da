"""The overview page in a real browser, with a real fleet of fifty sensors."""

from __future__ import annotations

import json
import time
from urllib.parse import urlsplit

import psutil
import pytest

from fleet.runtime.control_client import send_command
from tests.browser.window import Window
from tests.process.running_fleet import FleetProcess

pytestmark = pytest.mark.browser


def test_it_loads_quietly(running: FleetProcess, window: Window) -> None:
    """Nothing on the console, no request to anywhere else, a cell for each of the fifty, and every part says something."""
    page = window.open(running.url)

    assert {urlsplit(running.url).netloc} == window.hosts
    assert "50" == page.get_attribute("#grid", "data-cells")
    page.focus("#grid")
    names = []
    for _ in range(50):
        page.keyboard.press("ArrowRight")
        names.append((page.text_content("#pointed") or "").split()[0])
    assert running.sensors == names
    assert "of 50" == page.text_content("#tile-healthy .unit")
    assert "readings/s" == page.text_content("#tile-pace .unit")
    headers = page.inner_text("#table .head")
    assert all(unit in headers for unit in ("°C", "%", "Pa", "mm/s²", "V"))
    assert page.locator("#events .event").count() >= 1


def test_pointing_tells_and_clicking_opens(running: FleetProcess, window: Window) -> None:
    page = window.open(running.url)
    box = page.locator("#grid").bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    window.until("name => document.querySelector('#pointed').textContent.startsWith(name)", running.sensors[0])
    page.mouse.click(box["x"] + 20, box["y"] + 20)
    page.wait_for_url(f"**/sensors/{running.sensors[0]}")


def test_a_killed_worker_shows_and_clears(running: FleetProcess, window: Window) -> None:
    """Within five seconds, both."""
    page = window.open(running.url)
    sensor = running.sensors[7]
    page.fill("#filter", sensor)
    restarts = "document.querySelector('#rows .row:not([hidden]) .cell:nth-last-child(2)').textContent"
    window.until(f"{restarts} === '0'")
    old = running.worker(sensor)
    begun = time.monotonic()
    psutil.Process(old.pid).kill()
    window.until(f"{restarts} === '1' || document.querySelector('#rows .pill').textContent !== 'healthy'")
    running.wait_for_replacement(sensor, old)
    window.until(f"{restarts} === '1' && document.querySelector('#rows .pill').textContent === 'healthy'")
    window.until("document.querySelector('#verdict').textContent === 'healthy'")

    assert time.monotonic() - begun < 5
    window.until("sensor => document.querySelector('#events').textContent.includes(sensor)", sensor)


def test_filter_and_sort(running: FleetProcess, window: Window) -> None:
    """The table shows what matches, in the order asked for, and only rows that are in view exist."""
    page = window.open(running.url)
    window.until("document.querySelector('#rows').classList.contains('live')")

    assert page.locator("#rows .row").count() < 50
    page.click('[data-sort="id"]')
    first = "document.querySelector('#rows .row:not([hidden]) .cell.id').textContent"
    window.until(f"id => {first} === id", min(running.sensors))
    page.click('[data-sort="id"]')
    window.until(f"id => {first} === id", max(running.sensors))
    page.fill("#filter", running.sensors[3].lower())
    window.until("document.querySelector('#table-count').textContent === '1 of 50'")
    page.click(f"text={running.sensors[3]}")
    page.wait_for_url(f"**/sensors/{running.sensors[3]}")


def test_colours_by_a_measure(running: FleetProcess, window: Window) -> None:
    page = window.open(running.url)
    window.until("document.querySelector('#legend').textContent.includes('healthy')")
    page.select_option("#measure", "channel:temperature")

    window.until("document.querySelector('#legend').textContent.includes('°C')")


def test_nothing_moves_when_it_comes_alive(running: FleetProcess, window: Window) -> None:
    """No layout shift to speak of between the page as the server wrote it and the one that lives."""
    window.page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " window.shift += entry.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    page = window.open(running.url)
    window.until("document.querySelector('#rows').classList.contains('live')")
    window.until("document.querySelectorAll('#events .event').length > 0")

    assert page.evaluate("window.shift") < 0.02


def test_colours_are_light_or_dark(running: FleetProcess, window: Window) -> None:
    """As the system has it, or as the switch says, which is remembered."""
    window.page.emulate_media(color_scheme="dark")
    page = window.open(running.url)
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, part) => sum + +part, 0)"
    assert page.evaluate(brightness) < 150
    page.click("#theme")

    assert page.evaluate(brightness) > 600
    page.reload()
    assert page.evaluate(brightness) > 600


def test_the_server_goes_and_comes_back(running: FleetProcess, window: Window) -> None:
    """It says that it is not up to date, and goes on by itself once there is an answer."""
    page = window.open(running.url)
    http = running.helper_processes()["http"]
    window.expected = ("ERR_", "Failed to load resource")
    page.route("**/api/snapshot", lambda route: route.abort())
    window.until("document.querySelector('#link').textContent === 'lost'")
    assert "Not up to date since" in page.inner_text("#notice")
    http.kill()
    page.unroute("**/api/snapshot")
    window.until("document.querySelector('#link').textContent === 'live' && document.querySelector('#notice').hidden")

    window.until("document.querySelector('#verdict').textContent === 'healthy'")


def test_injections_are_listed_each_with_its_own_cancel(running: FleetProcess, window: Window) -> None:
    """The one that is clicked ends, not the newest. A probability that overrides the config is said."""
    socket = running.data / "run" / "control.sock"
    for id_ in ("older", "newer"):
        send_command(socket, 10, command="inject", type="noise", seconds=300.0, id=id_, sensors=running.sensors[20:22])
    send_command(socket, 10, command="probability", probability=0.2, sensors=running.sensors[20:22])
    page = window.open(f"{running.url}/#token={(running.data / 'run' / 'token').read_text().strip()}")
    page.wait_for_selector('[data-injection="newer"]')
    window.until("document.querySelector('#overrides').textContent.startsWith('0.2 is set for 2 sensors')")
    assert "set: 0.2" == page.get_attribute("#probability", "placeholder")
    page.wait_for_selector('#lock[data-state="open"]')
    page.click('[data-injection="older"] button')
    page.wait_for_selector('[data-injection="older"]', state="detached")

    assert page.locator('[data-injection="newer"]').count() == 1
    send_command(socket, 10, command="probability", probability=None)
    send_command(socket, 10, command="cancel", id="newer")
    page.wait_for_selector("#overrides", state="hidden")
    assert "by config" == page.get_attribute("#probability", "placeholder")
    page.wait_for_selector('[data-injection="newer"]', state="detached")


def test_a_probability_may_be_in_percent(running: FleetProcess, window: Window) -> None:
    """5% is 0.05; without a sign it is a share; an empty field removes it."""
    page = window.open(f"{running.url}/#token={(running.data / 'run' / 'token').read_text().strip()}")
    page.wait_for_selector('#lock[data-state="open"]')
    page.route("**/api/probability", lambda route: route.fulfill(json={"changed": 50}))
    sent = []
    for typed in ("5%", "0.5", ""):
        page.fill("#probability", typed)
        with page.expect_request("**/api/probability") as request:
            page.click('[data-action="probability"] button')
        sent.append(json.loads(request.value.post_data or "")["probability"])

    assert [0.05, 0.5, None] == sent


def test_the_address_has_what_is_shown(running: FleetProcess, window: Window) -> None:
    """Filter, order, colour, channel and selection: a reload, or another window, shows the same."""
    link = f"#token={(running.data / 'run' / 'token').read_text().strip()}"
    page = window.open(f"{running.url}/{link}")
    page.wait_for_selector('#lock[data-state="open"]')
    window.until("document.querySelector('#rows').classList.contains('live')")
    page.fill("#filter", running.sensors[3])
    page.click('[data-sort="lag"]')
    page.select_option("#measure", "channel:humidity")
    page.select_option("#readings-of", "pressure")
    page.click("#grid", modifiers=["Control"], position={"x": 20, "y": 20})
    page.select_option("#scope", "share")
    page.fill("#scope-value", "20%")
    window.until("document.querySelector('#meant').textContent === 'means about 10 sensors'")
    window.until("window.location.search.includes('which=20')")
    address = page.url
    window.renew()
    page = window.open(address + link)

    window.until("document.querySelector('#table-count').textContent === '1 of 50'")
    window.until("document.querySelector('#meant').textContent === 'means about 10 sensors'")
    assert running.sensors[3] == page.input_value("#filter")
    assert "descending" == page.get_attribute('[role="columnheader"]:has([data-sort="lag"])', "aria-sort")
    assert ("channel:humidity", "pressure") == (page.input_value("#measure"), page.input_value("#readings-of"))
    page.wait_for_selector('#lock[data-state="open"]')
    page.select_option("#scope", "picked")
    window.until("document.querySelector('#meant').textContent === 'means 1 sensor'")


def test_a_filter_that_matches_nothing_says_so(running: FleetProcess, window: Window) -> None:
    page = window.open(f"{running.url}/?filter=nowhere-at-all")
    page.wait_for_selector("text=None of 50 sensors matches “nowhere-at-all”.")
    page.click("text=Show all")

    window.until("document.querySelector('#table-count').textContent === '50'")
    assert "?" not in page.url


def test_readings_over_the_fleet_and_by_city(running: FleetProcess, window: Window) -> None:
    """Percentiles of every channel; of one channel a row for each city, and together all sensors."""
    page = window.open(running.url)
    window.until("document.querySelector('#readings-rows tr td:nth-child(3)')?.textContent.match(/\\d/)")
    first = page.locator("#readings-rows tr").first.inner_text().split()

    assert ("temperature", "°C", "50") == tuple(first[:3])
    numbers = [float(text) for text in first[3:8]]
    assert numbers == sorted(numbers)
    page.select_option("#readings-of", "temperature")
    cities = {member.identity.location for member in running.roster.members}
    counts = page.locator("#readings-rows tr td:nth-child(2)").all_inner_texts()
    assert (len(cities), 50) == (len(counts), sum(map(int, counts)))


# The first position at which the map has something to click that is no sensor: the name of a city.
FIND_NAME = """
(() => {
  const canvas = document.querySelector('#world');
  const box = canvas.getBoundingClientRect();
  for (let y = 4; y < box.height; y += 6) for (let x = 4; x < box.width; x += 6) {
    const at = { clientX: box.left + x, clientY: box.top + y };
    canvas.dispatchEvent(new PointerEvent('pointermove', at));
    if (canvas.classList.contains('over') && !document.querySelector('#map-pointed').textContent) return [at.clientX, at.clientY];
  }
})()
"""


def test_cities_have_names_on_the_map_that_choose_them(running: FleetProcess, window: Window) -> None:
    page = window.open(running.url)
    window.until("(document.querySelector('#world').dataset.places ?? '').length > 0")
    cities = {member.identity.location for member in running.roster.members}

    assert set((page.get_attribute("#world", "data-places") or "").split(";")) <= cities
    page.locator("#world").scroll_into_view_if_needed()
    at = page.evaluate(FIND_NAME)
    page.mouse.click(*at)
    window.until("document.querySelector('#scope').value === 'city'")
    assert page.input_value("#scope-value") in cities
    window.until("/means [1-9]/.test(document.querySelector('#meant').textContent)")


@pytest.mark.parametrize("size", [(1440, 900), (1181, 800)], ids=["laptop", "narrow"])
def test_columns_beyond_the_edge_are_announced(running: FleetProcess, window: Window, size: tuple[int, int]) -> None:
    """At 1440 pixels all are there; where some are not, a button says how many. A heading with its arrow is not cut."""
    window.page.set_viewport_size({"width": size[0], "height": size[1]})
    page = window.open(running.url)
    window.until("document.querySelector('#rows').classList.contains('live')")
    beyond = page.evaluate(
        "(() => { const edge = document.querySelector('#table').getBoundingClientRect().right; return [...document"
        ".querySelectorAll('#table .head > *')].filter((cell) => cell.getBoundingClientRect().right > edge + 1).length })()"
    )

    assert (beyond == 0) == (size[0] == 1440)
    assert page.locator("#more-columns").is_visible() == (beyond > 0)
    if beyond:
        assert str(beyond) in page.inner_text("#more-columns")
    for name in page.locator("[data-sort]").evaluate_all("nodes => nodes.map((node) => node.dataset.sort)"):
        page.click(f'[data-sort="{name}"]')
        cut = "name => { const button = document.querySelector(`[data-sort='${name}']`); return button.scrollWidth > button.clientWidth || button.scrollHeight > button.clientHeight; }"
        assert not page.evaluate(cut, name), name


def test_ids_are_whole_or_not_shown(running: FleetProcess, window: Window) -> None:
    """A card is as wide as the longest id; where there is no room for that, cells have no text."""
    page = window.open(running.url)
    for width, expected in ((1440, "true"), (390, "false")):
        page.set_viewport_size({"width": width, "height": 900})
        window.until("expected => document.querySelector('#grid').dataset.cards === expected", expected)


def test_a_page_says_who_is_not_there(running: FleetProcess, window: Window) -> None:
    window.expected = ("404",)
    page = window.page
    page.goto(f"{running.url}/sensors/NOBODY")

    assert "No such sensor" in page.inner_text("main")

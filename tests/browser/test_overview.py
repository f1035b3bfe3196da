"""The overview page in a real browser, with a real fleet of fifty sensors."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import psutil
import pytest

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


@pytest.mark.parametrize("size", [(390, 844), (1920, 1080)], ids=["phone", "wide"])
def test_no_page_is_wider_than_the_screen(running: FleetProcess, window: Window, size: tuple[int, int]) -> None:
    window.page.set_viewport_size({"width": size[0], "height": size[1]})
    for path in ("/", f"/sensors/{running.sensors[0]}"):
        page = window.open(running.url + path)

        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path


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


def test_a_page_says_who_is_not_there(running: FleetProcess, window: Window) -> None:
    window.expected = ("404",)
    page = window.page
    page.goto(f"{running.url}/sensors/NOBODY")

    assert "No such sensor" in page.inner_text("main")

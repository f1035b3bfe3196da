"""The charts of a sensor over a week: ranges, zoom and moves by every means, the spike of one reading, and downloads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.appearance import check_appearance, note_canvas_texts
from tests.browser.served import served
from tests.browser.window import Window
from tests.fleet.staged import StagedFleet, sensor_name
from tests.fleet.verify.damage import select
from tests.worker.further import Writer
from tests.worker.samples import ANOMALIES, NEW_YEAR, settings
from worker.spec import Identity

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

WEEK_S = 604_800
SENSORS = (sensor_name(0), sensor_name(1))
CHART = 'figure[data-channel="temperature"] canvas'
SPIKE_SEQ = 5000

# How many pixels of a colour are in a part of a canvas: from one share of its width to another, in its upper part.
COUNT_PIXELS = """
([selector, tone, from, to]) => {
  const canvas = document.querySelector(selector);
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(tone).match(/#\\w+/)[0];
  probe.fillRect(0, 0, 1, 1);
  const wanted = probe.getImageData(0, 0, 1, 1).data;
  const [left, width] = [Math.round(from * canvas.width), Math.round((to - from) * canvas.width)];
  const { data } = canvas.getContext("2d").getImageData(left, 0, width, Math.round(canvas.height * 0.4));
  let count = 0;
  for (let at = 0; at < data.length; at += 4) count += [0, 1, 2].every((part) => Math.abs(data[at + part] - wanted[part]) < 40);
  return count;
}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two sensors with a week of readings, one a minute. One reading of the first is far above all others."""
    staged = StagedFleet(tmp_path_factory.mktemp("week") / "data", 2)
    for member, anomalies in zip(staged.members, ((), ANOMALIES), strict=True):
        writer = Writer(member.database, (Identity(member.sensor_id), settings(*anomalies, rate="1/60")))
        writer.deliver(WEEK_S)
        writer.sink.close()
    select(staged.members[0].database, f"UPDATE sensor_readings SET temperature = 90 WHERE seq = {SPIKE_SEQ}")
    with served(staged) as address:
        yield address


def opened(window: Window, address: str, query: str, sensor: int = 0) -> Page:
    page = window.open(f"{address}/sensors/{SENSORS[sensor]}{query}")
    wait_for_points(window)
    return page


def wait_for_points(window: Window) -> None:
    window.until(f"Number(document.querySelector({CHART!r}).dataset.points) > 0")


def range_of(page: Page) -> tuple[float, float]:
    """Return the range in the address, in hours after the first reading."""
    query = parse_qs(urlsplit(page.url).query)
    moments = page.evaluate("texts => texts.map((text) => Date.parse(text))", [query["from"][0], query["to"][0]])
    begin, end = (moment / 3_600_000 - NEW_YEAR / 3_600_000_000 for moment in moments)
    return begin, end


def wait_for_range(window: Window, begin: float, end: float) -> None:
    """Wait until the address has about that range, and the page says so."""
    window.until("location.search.includes('from=')")
    assert (begin, end) == pytest.approx(range_of(window.page), abs=1.5)
    window.until("/ UTC: /.test(document.querySelector('#range').textContent)")


def drag(page: Page, begin: float, end: float, key: str | None = None) -> None:
    """Drag the mouse between two shares of the width of a chart's area."""
    page.locator(CHART).scroll_into_view_if_needed()
    box = page.locator(CHART).bounding_box()
    assert box is not None
    left, width = box["x"] + 62, box["width"] - 66
    if key:
        page.keyboard.down(key)
    page.mouse.move(left + begin * width, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(left + (begin + end) / 2 * width, box["y"] + 60)
    page.mouse.move(left + end * width, box["y"] + 60)
    page.mouse.up()
    if key:
        page.keyboard.up(key)


def test_a_spike_of_one_reading_shows_in_a_week(address: str, window: Window) -> None:
    """At its place, and at no other."""
    window.expected = ("willReadFrequently",)  # the pixels are read several times
    page = opened(window, address, "?seconds=604800&scale=all")
    window.until("/: 7 d, 16 readings to a point/.test(document.querySelector('#range').textContent)")
    assert 600 < int(page.get_attribute(CHART, "data-points") or 0) < 1200
    place = SPIKE_SEQ * 60 / WEEK_S
    box = page.locator(CHART).bounding_box()
    assert box is not None
    share = (62 + place * (box["width"] - 66)) / box["width"]
    page.mouse.move(0, 0)

    window.until(f"place => ({COUNT_PIXELS.strip()})(place) > 5", [CHART, "--channel-1", share - 0.01, share + 0.01])
    assert 0 == page.evaluate(COUNT_PIXELS, [CHART, "--channel-1", 0.1, share - 0.02])
    assert 0 == page.evaluate(COUNT_PIXELS, [CHART, "--channel-1", share + 0.02, 1])


def test_a_range_is_chosen_by_mouse_and_keys(address: str, window: Window) -> None:
    """Drag, drag with Shift, wheel, keys and buttons; a link keeps it, and "Live" goes back."""
    page = opened(window, address, "?seconds=all")
    drag(page, 0.25, 0.5)
    wait_for_range(window, 42, 84)
    page.reload()
    wait_for_points(window)
    wait_for_range(window, 42, 84)
    assert "false" == page.get_attribute("#live", "aria-pressed")
    drag(page, 0.75, 0.25, "Shift")
    wait_for_range(window, 63, 105)
    for button, expected in (
        ("#earlier", (42, 84)),
        ("#later", (63, 105)),
        ("#zoom-in", (73.5, 94.5)),
        ("#zoom-out", (63, 105)),
    ):
        page.click(button)
        wait_for_range(window, *expected)
    page.focus(CHART)
    for key, expected in (("Shift+ArrowRight", (84, 126)), ("+", (94.5, 115.5)), ("-", (84, 126))):
        page.keyboard.press(key)
        wait_for_range(window, *expected)
    page.locator(CHART).hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, 200)
    page.keyboard.up("Control")
    window.until("new URLSearchParams(location.search).get('from') < '2026-01-04T00'")
    for _ in range(6):
        page.click("#earlier")
    assert 0 == pytest.approx(range_of(page)[0], abs=0.01)
    page.keyboard.press("Escape")
    page.click("#live")
    window.until("!location.search.includes('from=')")
    window.until("/: 4 min of 5 min/.test(document.querySelector('#range').textContent)")
    assert page.url.endswith(SENSORS[0])


def test_a_range_is_typed(address: str, window: Window) -> None:
    """In UTC; what is no time, or ends before it begins, changes nothing."""
    page = opened(window, address, "?seconds=86400")
    page.fill("#range-from", "2026-01-02 06:00")
    page.press("#range-from", "Tab")
    page.fill("#range-to", "2026-01-02T18:30:00Z")
    page.press("#range-to", "Enter")
    wait_for_range(window, 30, 42.5)
    window.until("document.querySelector('#range').textContent.includes(': 12 h 30 min')")
    for text in ("yesterday", "2026-01-01", "2026-02-31x"):
        page.fill("#range-to", text)
        page.press("#range-to", "Enter")
        assert page.evaluate("document.querySelector('#range-to').validationMessage")
        wait_for_range(window, 30, 42.5)


def test_a_range_is_moved_by_fingers(address: str, window: Window) -> None:
    """One finger moves, two zoom."""
    window.renew(has_touch=True, viewport={"width": 390, "height": 844})
    page = opened(window, address, "?from=2026-01-03T00:00:00Z&to=2026-01-05T00:00:00Z")
    page.locator(CHART).scroll_into_view_if_needed()
    box = page.locator(CHART).bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *shares: float) -> None:
        points = [{"x": box["x"] + share * box["width"], "y": box["y"] + 60} for share in shares]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.4)
    for share in (0.5, 0.6, 0.7, 0.8):
        touch("touchMove", share)
    touch("touchEnd")
    begin, end = range_of(page)
    assert 48 == pytest.approx(end - begin, abs=0.1)
    assert 20 < begin < 36
    touch("touchStart", 0.45, 0.55)
    for spread in (0.1, 0.15, 0.2):
        touch("touchMove", 0.5 - spread, 0.5 + spread)
    touch("touchEnd")
    begin, end = range_of(page)
    assert 8 < end - begin < 24


def test_what_is_shown_is_downloaded(address: str, window: Window, tmp_path: Path) -> None:
    page = opened(window, address, "?from=2026-01-03T00:00:00Z&to=2026-01-03T01:00:00Z", 1)
    with page.expect_download() as download:
        page.click("#csv")
    file = tmp_path / "readings.csv"
    download.value.save_as(file)
    head, *rows = file.read_text().splitlines()

    assert f"{SENSORS[1]}.csv" == download.value.suggested_filename
    assert head.startswith("timestamp,sensor_id,seq,temperature,")
    assert 30 < len(rows) <= 61
    assert {"2026-01-03T00", "2026-01-03T01"} >= {row[:13] for row in rows}


def test_a_range_of_several_sensors(address: str, window: Window) -> None:
    """They are compared over a week, and zoomed together."""
    page = window.open(f"{address}/compare?sensors={','.join(SENSORS)}&seconds=604800")
    window.until("document.querySelector('#range').textContent.includes(': 7 d, 16 readings to a point')")
    window.until(f"document.querySelector({CHART!r}).dataset.lines === '{' '.join(SENSORS)}'")
    drag(page, 0.5, 0.75)
    wait_for_range(window, 84, 126)
    assert page.url.startswith(f"{address}/compare?sensors=")
    note_canvas_texts(window)
    page.reload()
    window.until(f"document.querySelector({CHART!r}).dataset.lines === '{' '.join(SENSORS)}'")
    check_appearance(page)


def test_the_look_of_a_week(address: str, window: Window) -> None:
    """Of a sensor with many anomalies, whose episodes all have their marks."""
    note_canvas_texts(window)
    page = opened(window, address, "?seconds=604800", 1)
    label = page.get_attribute(CHART, "aria-label") or ""
    assert int(re.findall(r"(\d+) anomalies", label)[0]) > 100
    check_appearance(page)

"""The targets of a delivery on the overview page, in a real browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fleet.datadir.delivery_status import TargetStatus
from tests.browser.appearance import check_appearance
from tests.browser.served import served
from tests.browser.window import Window
from tests.fleet.staged import StagedFleet

pytestmark = pytest.mark.browser

URL = "http://server.example.com/a/long/path/of/a/server/for/readings/batch"
ROWS = "[...document.querySelectorAll('#delivery-rows tr')].map((row) => row.innerText.replace(/\\s+/g, ' ').trim())"


def test_the_targets_are_shown_and_kept_up_to_date(tmp_path: Path, window: Window) -> None:
    """Without a wide table on a narrow screen; a target that has had an error still shows it."""
    staged = StagedFleet(tmp_path / "data", 6)
    for number in range(6):
        staged.write(number, 5)
    error, now = f"{URL}: no connection: Connection refused (tried 6 times in 2 s)", time.time()
    down = TargetStatus(
        URL,
        retries=1234,
        backlog=56_789,
        backlog_since=now - 600,
        error=error,
        failing_since=now - 600,
        last_error=error,
    )
    staged.deliver(TargetStatus("jsonl:/srv/readings.jsonl.gz", 56_789, rate=99.5), down, written=-600)
    with served(staged) as address:
        page = window.open(address)
        window.until(f"{ROWS}[1]?.endsWith('56,789 10 min 1,234 0')")
        assert page.evaluate(ROWS)[0] == "jsonl:/srv/readings.jsonl.gz delivers 56,789 99.5 0 – 0 0"
        assert "no connection: Connection refused (tried 6 times in 2 s) failing 0 0" in page.evaluate(ROWS)[1]
        assert ("degraded", f"{URL} does not get its readings") == (
            page.inner_text("#verdict"),
            page.inner_text("#pointed"),
        )
        check_appearance(page)
        well = TargetStatus(URL, 56_789, retries=1234, last_error=error, last_error_at=3661.0)
        staged.deliver(well, written=-600)
        window.until(f"{ROWS}.length === 1 && {ROWS}[0].includes('last error at 01:01:01: no connection')")
        window.until("document.querySelector('#delivery-note').textContent === '1 target, all have everything'")
        staged.deliver(well, down, written=-600)
        window.until(f"{ROWS}[1]?.endsWith('1,234 0')")
        check_appearance(page)

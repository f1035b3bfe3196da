"""A fleet of fifty sensors, and a real browser that shows its dashboard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.browser.window import Window
from tests.conftest import children, is_running
from tests.process.running_fleet import FleetProcess

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

# Some anomalies, and a short delay before a dead worker is replaced.
CONFIG = """
version: 2
replicas: {count: 50}
simulation: {readings_per_second: 2}
anomalies: {probability: 0.05}
supervision: {backoff_min_seconds: 0.5}
"""


@pytest.fixture(scope="package", autouse=True)
def _no_child_is_left() -> Iterator[None]:
    """All tests here share a fleet and a browser, which start processes at any time: none outlives the last test."""
    before = children()
    yield
    left = [process for process in children() - before if is_running(process)]
    _, left = psutil.wait_procs(left, timeout=5.0) if left else ([], [])
    for process in left:
        process.kill()
    assert [] == left


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcess]:
    folder = tmp_path_factory.mktemp("browser")
    config = folder / "fleet.yaml"
    config.write_text(CONFIG)
    running = FleetProcess(folder / "data", folder / "output", "-c", config, "--seed", 5)
    try:
        yield running.ready()
    finally:
        running.end()


@pytest.fixture(scope="package")
def windows() -> Iterator[Window]:
    pytest.importorskip("playwright", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path")
    window = Window(Path(CHROMIUM))
    try:
        yield window
    finally:
        window.close()


@pytest.fixture
def window(windows: Window) -> Iterator[Window]:
    """A tab of its own for each test, which must not have complained at the end."""
    windows.renew()
    yield windows
    assert [] == windows.complaints

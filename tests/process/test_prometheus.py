"""A real Prometheus scrapes a real fleet with the files of deploy/prometheus."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import lively, up
from tests.process.running_fleet import FleetProcess, fleet, wait_for
from tests.servers.prometheus import Prometheus

__all__ = ["lively", "up"]

SUMS = "^fleet_.*(_total|_bucket|_count|_sum)$"
P99 = "histogram_quantile(0.99, rate(fleet_commit_seconds_bucket[{window}s]))"

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: apt-get install prometheus)"
    ),
]


@pytest.fixture
def running(up: object, lively: Path, tmp_path: Path) -> FleetProcess:
    """Four lively sensors."""
    assert callable(up)
    started: FleetProcess = up("-c", lively, "--replicas", 4)
    return started.ready()


@pytest.fixture
def prometheus(running: FleetProcess, tmp_path: Path) -> Iterator[Prometheus]:
    scraping = Prometheus(tmp_path / "prometheus", running.url.removeprefix("http://"))
    yield scraping.ready()
    scraping.end()


def disturb(running: FleetProcess) -> None:
    """A worker dies, and one leaves the fleet."""
    victim = running.sensors[0]
    worker = running.worker(victim)
    worker.kill()
    running.wait_for_replacement(victim, worker)
    assert 0 == fleet("scale", 3, "--data", running.data).returncode


def assert_scraped(prometheus: Prometheus, seconds: int) -> None:
    """For so many seconds at least: always up, the series are there, quantiles are numbers, no counter fell."""
    window = f"[{seconds + 5}s]"
    assert [1, 1] == prometheus.values(f"min_over_time(up{window})")
    assert all(count >= 0.8 * seconds for count in prometheus.values(f"count_over_time(up{window})"))
    p99 = prometheus.value(P99.format(window=seconds))
    assert p99 is not None
    assert 0 < p99 < 5
    assert (
        0 < (prometheus.value(f"histogram_quantile(0.5, rate(fleet_lag_seconds_bucket[{seconds}s]))") or math.nan) < 5
    )
    assert 1 == len(prometheus.values("fleet_sensors{state='healthy'}"))
    assert (prometheus.value(f"rate(fleet_readings_total[{seconds}s])") or 0) > 10
    assert 1 == prometheus.value("fleet_restarts_total")
    assert 3 == len(prometheus.values("fleet_sensor_readings_total"))
    sums = [name for name in prometheus.get("label/__name__/values") if re.search(SUMS, name)]
    assert len(sums) > 10
    assert {} == {name: falls for name in sums if any(falls := prometheus.values(f"resets({name}{window})"))}
    targets = prometheus.get("targets")["activeTargets"]
    assert ["", ""] == [target["lastError"] for target in targets]


@pytest.mark.claim("001.simulator.6")
def test_it_scrapes(running: FleetProcess, prometheus: Prometheus) -> None:
    """Every second for some seconds, through the death of a worker and a scaling down."""
    disturb(running)
    wait_for(lambda: (prometheus.value("count_over_time(up{job='fleet'}[1m])") or 0) >= 8, "eight scrapes", 60)
    seen = "fleet_restarts_total == 1 and ignoring (state) fleet_sensors{state='healthy'} == 3"
    wait_for(lambda: prometheus.values(seen), "what was done is seen")

    assert_scraped(prometheus, 6)
    assert_rules_work(prometheus)


@pytest.mark.slow
def test_it_scrapes_for_a_minute(running: FleetProcess, prometheus: Prometheus) -> None:
    """And no alert fires for a fleet that is well."""
    disturb(running)
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 60, "a minute has passed", 90)

    assert_scraped(prometheus, 60)
    assert_rules_work(prometheus)
    assert [] == prometheus.values("ALERTS{alertstate='firing'}")
    assert (prometheus.value("fleet:readings:rate5m{job='fleet'}") or 0) > 10
    assert 0.2 < (prometheus.value("fleet:anomalous_readings:ratio_rate5m") or 0) < 0.6


def assert_rules_work(prometheus: Prometheus) -> None:
    """Each was evaluated without an error."""
    wait_for(
        lambda: all(rule["health"] == "ok" for rule in rules(prometheus)),
        "every rule was evaluated",
    )
    assert 18 == len(rules(prometheus))


def rules(prometheus: Prometheus) -> list[dict[str, str]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

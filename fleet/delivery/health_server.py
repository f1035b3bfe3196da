"""The HTTP server of a collector: /health for a process manager, /metrics for Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flask import Flask, Response, jsonify
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector as MetricCollector

from fleet.delivery.stats import CollectorStats
from fleet.errors import UserError
from fleet.runtime.http_port import BindError, bind_http
from fleet.web.server import DRAIN_SECONDS, FleetServer

HOST = "127.0.0.1"
MAX_REASONS = 20


class CollectorMetrics(MetricCollector):
    """The stats as Prometheus metrics."""

    def __init__(self, stats: CollectorStats) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        stats, whole = self._stats, self._stats.totals()
        for name, meaning, value in (
            ("found", "Readings that were to be delivered when they were seen.", whole.found),
            ("delivered", "Readings that the target has for sure.", whole.delivered),
            ("duplicate", "Readings among the delivered ones that the target had already.", whole.duplicates),
            ("dead", "Readings that the target will never take.", whole.dead),
        ):
            yield CounterMetricFamily(f"fleet_collector_{name}_readings", meaning, value)
        yield CounterMetricFamily("fleet_collector_episodes", "Episodes that went along.", whole.episodes)
        yield CounterMetricFamily("fleet_collector_sweeps", "Sweeps that have ended.", stats.sweeps)
        failures = CounterMetricFamily(
            "fleet_collector_failures", "Visits to a database that failed, by what failed.", labels=["what"]
        )
        for kind in ("database", "target"):
            failures.add_metric([kind], stats.errors[kind])
        yield failures
        yield GaugeMetricFamily("fleet_collector_databases", "Databases that were seen.", len(stats.databases))
        yield GaugeMetricFamily(
            "fleet_collector_failing_databases", "Databases that something stands in the way of.", len(stats.failing())
        )
        yield GaugeMetricFamily(
            "fleet_collector_last_delivery_timestamp_seconds", "When something was delivered last.", whole.last_us / 1e6
        )


def create_app(stats: CollectorStats) -> Flask:
    app = Flask("fleet.delivery", static_folder=None)
    registry = CollectorRegistry()
    registry.register(CollectorMetrics(stats))
    begun = time.time()

    def health() -> tuple[Response, int]:
        """200, or 503 with the reasons if the last sweep of a database failed."""
        failing, whole = stats.failing(), stats.totals()
        document = {
            "status": "unhealthy" if failing else "healthy",
            "reasons": [f"{database.name}: {database.error}" for database in failing[:MAX_REASONS]],
            "collector": {
                "running": True,
                "sweeps": stats.sweeps,
                "databases": len(stats.databases),
                "total_synced": whole.delivered,
                "dead_letters": whole.dead,
                "uptime_seconds": round(time.time() - begun, 1),
            },
        }
        return jsonify(document), 503 if failing else 200

    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    app.add_url_rule("/health", view_func=health)
    app.add_url_rule("/metrics", view_func=metrics)
    return app


@contextmanager
def serve_health(stats: CollectorStats, port: int) -> Iterator[str]:
    """Serve the stats on the loopback address; yields the URL. UserError if the port is not available."""
    try:
        listener, url = bind_http(HOST, port, "take another, or 0 for any free one")
    except BindError as error:
        raise UserError(f"--health-port: {error}") from error
    with listener:
        server = FleetServer(listener, create_app(stats))
        thread = threading.Thread(target=server.start, name="health", daemon=True)
        thread.start()
        try:
            yield url
        finally:
            ending = threading.Thread(target=server.stop, name="health-stop", daemon=True)
            ending.start()
            ending.join(2 * DRAIN_SECONDS)

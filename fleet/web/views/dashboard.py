"""The dashboard: the pages for people, and the documents that keep them alive.

To add a document: a function in `fleet.web.documents.snapshot`, `fleet.monitoring.history` or `fleet.web.documents.records`, and a line in `routes`.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

from fleet.errors import UserError
from fleet.monitoring.memory import MemoryGauge
from fleet.monitoring.observation import FleetUnavailable, Observation, Observer
from fleet.monitoring.sensors import Document
from fleet.web.documents import pages, records, snapshot
from fleet.web.responses import (
    SensorNotFound,
    cached_response,
    encode_json,
    gzipped_response,
    integer_argument,
    json_response,
)

MAX_SERIES_SECONDS = 3600
MAX_SEQ = 1_000_000_000
MAX_LOG_LINES = 200


class Dashboard:
    """The pages of one fleet, and what they ask for. `memory` is shared with whoever else tells of it."""

    def __init__(self, observer: Observer, memory: MemoryGauge) -> None:
        self._observer, self._memory = observer, memory
        self._data_directory = observer.run_directory.parent

    def routes(self) -> dict[str, Callable[..., Response]]:
        return {
            "/": self.overview,
            "/sensors/<sensor_id>": self.sensor,
            "/api/snapshot": self.snapshot,
            "/api/sensors": self.sensors,
            "/api/history": self.history,
            "/workers/<sensor_id>/series": self.series,
            "/workers/<sensor_id>/epochs": self.epochs,
            "/workers/<sensor_id>/log": self.log,
        }

    def overview(self) -> Response:
        """The fleet on one page."""
        try:
            observation = self._observer.observe()
        except FleetUnavailable as error:
            return Response(pages.no_fleet_page(str(error)), 503, mimetype="text/html")
        body = observation.body_cache.get(
            "/", lambda: pages.overview_page(observation).encode(errors="backslashreplace")
        )
        return Response(body, mimetype="text/html")

    def sensor(self, sensor_id: str) -> Response:
        """A sensor's page."""
        try:
            observation = self._observer.observe()
        except FleetUnavailable as error:
            return Response(pages.no_fleet_page(str(error)), 503, mimetype="text/html")
        if sensor_id not in observation.index:
            return Response(pages.no_sensor_page(sensor_id), 404, mimetype="text/html")
        page = pages.sensor_page(observation, observation.index[sensor_id])
        return Response(page.encode(errors="backslashreplace"), mimetype="text/html")

    def snapshot(self) -> Response:
        """All sensors as they are now, by column."""
        observation = self._observer.observe()

        def build() -> Document:
            observation.history.memory = self._memory.read(observation).bytes
            return snapshot.snapshot(observation)

        return cached_response(observation, "/api/snapshot", f"{observation.now_ns:x}", build)

    def sensors(self) -> Response:
        """Who the sensors are, by column; changes only when the roster does."""
        observation = self._observer.observe()
        tag = snapshot.roster_tag(observation)
        return cached_response(observation, "/api/sensors", tag, lambda: snapshot.roster_document(observation))

    def history(self) -> Response:
        """The figures of the last ten minutes, once a second."""
        observation = self._observer.observe()
        return cached_response(observation, "/api/history", f"{observation.now_ns:x}", observation.history.recent)

    def series(self, sensor_id: str) -> Response:
        """A sensor's last readings and what they would be without anomalies; ?seconds= (60), ?after= (a seq)."""
        observation = self._observe(sensor_id)
        seconds = integer_argument("seconds", 60, 1, MAX_SERIES_SECONDS) or 60
        after = integer_argument("after", None, 0, MAX_SEQ)
        return gzipped_response(records.sensor_series(observation, sensor_id, seconds, -1 if after is None else after))

    def epochs(self, sensor_id: str) -> Response:
        """A sensor's last epochs, newest first."""
        return gzipped_response(records.sensor_epochs(self._observe(sensor_id), sensor_id))

    def log(self, sensor_id: str) -> Response:
        """The last lines of the log that are about a sensor's worker; ?lines= (40)."""
        lines = integer_argument("lines", 40, 1, MAX_LOG_LINES) or 40
        try:
            return gzipped_response(
                records.sensor_log(self._observe(sensor_id), sensor_id, lines, self._data_directory)
            )
        except UserError as error:  # what says where the log is cannot be read
            return json_response(encode_json({"error": str(error)}), 503)

    def _observe(self, sensor_id: str) -> Observation:
        observation = self._observer.observe()
        if sensor_id not in observation.index:
            raise SensorNotFound(sensor_id)
        return observation

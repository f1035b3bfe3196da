"""The dashboard: the pages for people, and the documents that keep them alive.

To add a document: a function in `fleet.web.snapshot`, `fleet.web.history` or `fleet.web.records`, and a line in `routes`.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

from fleet.errors import UserError
from fleet.web import pages, records, snapshot
from fleet.web.answers import NoSensor, answer, encoded, kept, packed, whole
from fleet.web.memory import MemoryGauge
from fleet.web.observation import NoFleet, Observation, Observer
from fleet.web.sensors import Document

LONGEST = 3600
LARGEST = 1_000_000_000
MOST_LINES = 200


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
        except NoFleet as error:
            return Response(pages.nothing(str(error)), 503, mimetype="text/html")
        body = observation.bodies.get("/", lambda: pages.overview(observation).encode(errors="backslashreplace"))
        return Response(body, mimetype="text/html")

    def sensor(self, sensor_id: str) -> Response:
        """A sensor's page."""
        try:
            observation = self._observer.observe()
        except NoFleet as error:
            return Response(pages.nothing(str(error)), 503, mimetype="text/html")
        if sensor_id not in observation.index:
            return Response(pages.nobody(sensor_id), 404, mimetype="text/html")
        page = pages.sensor(observation, observation.index[sensor_id])
        return Response(page.encode(errors="backslashreplace"), mimetype="text/html")

    def snapshot(self) -> Response:
        """All sensors as they are now, by column."""
        observation = self._observer.observe()

        def build() -> Document:
            observation.history.memory = self._memory.read(observation).bytes
            return snapshot.snapshot(observation)

        return kept(observation, "/api/snapshot", f"{observation.now_ns:x}", build)

    def sensors(self) -> Response:
        """Who the sensors are, by column; changes only when the roster does."""
        observation = self._observer.observe()
        tag = snapshot.roster_tag(observation)
        return kept(observation, "/api/sensors", tag, lambda: snapshot.roster(observation))

    def history(self) -> Response:
        """The figures of the last ten minutes, once a second."""
        observation = self._observer.observe()
        return kept(observation, "/api/history", f"{observation.now_ns:x}", observation.history.last)

    def series(self, sensor_id: str) -> Response:
        """A sensor's last readings and what they would be without anomalies; ?seconds= (60), ?after= (a seq)."""
        observation = self._seen(sensor_id)
        seconds = whole("seconds", 60, 1, LONGEST) or 60
        after = whole("after", None, 0, LARGEST)
        return packed(records.sensor_series(observation, sensor_id, seconds, -1 if after is None else after))

    def epochs(self, sensor_id: str) -> Response:
        """A sensor's last epochs, newest first."""
        return packed(records.sensor_epochs(self._seen(sensor_id), sensor_id))

    def log(self, sensor_id: str) -> Response:
        """The last lines of the log that are about a sensor's worker; ?lines= (40)."""
        lines = whole("lines", 40, 1, MOST_LINES) or 40
        try:
            return packed(records.sensor_log(self._seen(sensor_id), sensor_id, lines, self._data_directory))
        except UserError as error:  # what says where the log is cannot be read
            return answer(encoded({"error": str(error)}), 503)

    def _seen(self, sensor_id: str) -> Observation:
        observation = self._observer.observe()
        if sensor_id not in observation.index:
            raise NoSensor(sensor_id)
        return observation

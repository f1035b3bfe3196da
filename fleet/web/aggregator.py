"""The fleet over HTTP: what its files say, as JSON (and, in `fleet.web.dashboard`, on pages). A pure reader; no process is asked anything.

To add a document: a function of an observation in `fleet.web.reports` (or `fleet.web.records`), and one line in `routes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from fleet.storage.readings import Unreadable
from fleet.web import records, reports, sensors
from fleet.web.answers import NoSensor, answer, choice, encoded, whole
from fleet.web.control import Control, Denied, denied
from fleet.web.dashboard import Dashboard
from fleet.web.doorman import Doorman
from fleet.web.endpoint_names import Renamed
from fleet.web.health import SHOWN
from fleet.web.memory import MemoryGauge
from fleet.web.monitoring import Monitoring
from fleet.web.observation import NoFleet, Observation, Observer
from fleet.web.sensors import Document
from fleet.web.shortcut import Shortcut

MOST_ROWS = 1000
LARGEST = 1_000_000_000

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def create_app(
    run_directory: Path,
    observer: Observer | None = None,
    renamed: Mapping[str, str] = {},
    allowed_hosts: Collection[str] = (),
) -> Flask:
    """The WSGI application for the fleet whose roster and board are in `run_directory`. `renamed` maps further paths
    of documents to their usual ones; `allowed_hosts` are names that it may be asked by."""
    app = Flask("fleet.web", static_folder="static", template_folder="templates")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    observer, memory = observer or Observer(run_directory), MemoryGauge()
    control = Control(observer)
    views = Aggregator(observer, memory).routes() | Dashboard(observer, memory).routes() | control.routes()
    views |= Monitoring(observer, memory).routes()
    for path, view in views.items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET"])
    for path, view in control.actions().items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["POST"])
    app.register_error_handler(Denied, denied)
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(NoFleet, no_fleet)
    app.register_error_handler(NoSensor, no_sensor)
    app.register_error_handler(Unreadable, unreadable)
    app.after_request(with_headers)
    app.wsgi_app = Shortcut(app.wsgi_app, observer, "/api/snapshot")  # type: ignore[method-assign]
    if renamed:
        app.wsgi_app = Renamed(app.wsgi_app, renamed)  # type: ignore[method-assign]  # Flask's documented way
    app.wsgi_app = Doorman(app.wsgi_app, allowed_hosts)  # type: ignore[method-assign]
    return app


class Aggregator:
    """The views of one fleet. What the board says of the whole fleet is encoded once for each observation; what is in
    databases is looked up for each request, because a locked one must keep nobody else waiting."""

    def __init__(self, observer: Observer, memory: MemoryGauge | None = None) -> None:
        self._observer = observer
        self._memory = memory or MemoryGauge()
        self._data_directory = observer.run_directory.parent

    def routes(self) -> dict[str, Callable[..., Response]]:
        return {
            "/livez": livez,
            "/healthz": self.healthz,
            "/statusz": self.statusz,
            "/metricz": self.metricz,
            "/samplez": self.samplez,
            "/db_stats": self.db_stats,
            "/grid": self.grid,
            "/workers": self.workers,
            "/workers/<sensor_id>": self.sensor,
            "/workers/<sensor_id>/healthz": self.healthz,
            "/workers/<sensor_id>/statusz": self.sensor_statusz,
            "/workers/<sensor_id>/metricz": self.sensor_metricz,
            "/workers/<sensor_id>/samplez": self.sensor_samplez,
            "/workers/<sensor_id>/db_stats": self.sensor_db_stats,
            "/workers/<sensor_id>/episodes": self.sensor_episodes,
        }

    def healthz(self, sensor_id: str | None = None) -> Response:
        """Whether everything is as it should be: 200, or 503 with the reasons."""
        document = reports.healthz(self._seen(sensor_id), sensor_id)
        return answer(encoded(document), 200 if document["status"] == "healthy" else 503)

    def statusz(self) -> Response:
        """Configuration, counts of this run, who is in an anomaly now, how the databases stand."""
        return self._once(reports.statusz)

    def metricz(self) -> Response:
        """Readings, anomalies by type, errors, restarts, lag, writes to the databases, memory."""

        def build(observation: Observation) -> Document:
            return reports.metricz(observation, self._memory.read(observation))

        return self._once(build)

    def grid(self) -> Response:
        """Every sensor in one letter, for the grid of the page."""
        return self._once(reports.grid)

    def workers(self) -> Response:
        """Every sensor with its process, its state and its last reading; ?state= ?offset= ?limit=."""
        state = choice("state", SHOWN)
        offset = whole("offset", 0, 0, LARGEST)
        limit = whole("limit", None, 1, LARGEST)
        return self._once(lambda seen: reports.workers(seen, state, offset or 0, limit), (state, offset, limit))

    def samplez(self) -> Response:
        """The last readings, newest first; ?limit=, 10 if it is left out."""
        limit = rows_asked_for()
        return answer(encoded(records.fleet_samples(self._seen(None), limit)))

    def db_stats(self) -> Response:
        """Records and sizes of the databases, their tables, the disk."""
        return answer(encoded(records.fleet_db_stats(self._seen(None), self._data_directory)))

    def sensor(self, sensor_id: str) -> Response:
        """One sensor: its entry in the list, its identity, its channels, where its database and log are."""
        observation = self._seen(sensor_id)
        return answer(encoded(sensors.sensor(observation, observation.index[sensor_id])))

    def sensor_statusz(self, sensor_id: str) -> Response:
        """As /statusz, of one sensor."""
        return answer(encoded(reports.sensor_statusz(self._seen(sensor_id), sensor_id)))

    def sensor_metricz(self, sensor_id: str) -> Response:
        """As /metricz, of one sensor."""
        return answer(encoded(reports.metricz(self._seen(sensor_id), None, sensor_id)))

    def sensor_samplez(self, sensor_id: str) -> Response:
        """As /samplez, of one sensor."""
        limit = rows_asked_for()
        return answer(encoded(records.sensor_samples(self._seen(sensor_id), sensor_id, limit)))

    def sensor_episodes(self, sensor_id: str) -> Response:
        """The last anomaly episodes of a sensor, newest first; ?limit=."""
        limit = rows_asked_for()
        return answer(encoded(records.sensor_episodes(self._seen(sensor_id), sensor_id, limit)))

    def sensor_db_stats(self, sensor_id: str) -> Response:
        """As /db_stats, of the database that a sensor writes to."""
        observation = self._seen(sensor_id)
        return answer(encoded(records.sensor_db_stats(observation, sensor_id, self._data_directory)))

    def _seen(self, sensor_id: str | None) -> Observation:
        observation = self._observer.observe()
        if sensor_id is not None and sensor_id not in observation.index:
            raise NoSensor(sensor_id)
        return observation

    def _once(self, build: Callable[[Observation], Document], query: tuple[object, ...] = ()) -> Response:
        observation = self._observer.observe()
        return answer(observation.bodies.get((request.path, query), lambda: encoded(build(observation))))


def livez() -> Response:
    """That this process answers; whether the fleet is well is /healthz."""
    return answer(encoded({"status": "alive"}))


def rows_asked_for() -> int:
    return whole("limit", 10, 1, MOST_ROWS) or 10


def refused(error: HTTPException) -> Response:
    """A client's mistake, or ours (500, whose traceback is in the log), in one line of JSON."""
    if isinstance(error, NotFound):
        return answer(encoded({"error": "no such path", "path": request.path}), 404)
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(set(error.valid_methods or ()) - {"OPTIONS"})
        response = answer(encoded({"error": f"{request.method}: allowed is {' or '.join(allowed)}"}), 405)
        response.headers["Allow"] = ", ".join(allowed)
        return response
    return answer(encoded({"error": error.description or error.name}), error.code or 500)


def no_fleet(error: NoFleet) -> Response:
    unhealthy = {"status": "unhealthy", "timestamp": reports.timestamp(datetime.now(UTC)), "reason": str(error)}
    return answer(encoded(unhealthy if request.path == "/healthz" else {"error": str(error)}), 503)


def no_sensor(error: NoSensor) -> Response:
    return answer(encoded({"error": "no such sensor in this fleet", "sensor_id": str(error)}), 404)


def unreadable(error: Unreadable) -> Response:
    return answer(encoded({"error": str(error)}), 503)


def with_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)  # a static file may be kept, as long as it is asked after
    return response

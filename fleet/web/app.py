"""The fleet over HTTP: what its files say, as JSON (and, in `fleet.web.views.dashboard`, on pages). A pure reader; no process is asked anything.

To add a document: a function of an observation in `fleet.web.documents.reports` (or `fleet.web.documents.records`), and one line in `routes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from fleet.datadir.readings import DatabaseUnreadable
from fleet.monitoring import sensors
from fleet.monitoring.health import DISPLAY_STATES
from fleet.monitoring.memory import MemoryGauge
from fleet.monitoring.observation import FleetUnavailable, Observation, Observer
from fleet.monitoring.sensors import Document
from fleet.web.documents import records, reports
from fleet.web.endpoint_names import PathAliases
from fleet.web.host_check import HostCheck
from fleet.web.response_cache import ResponseCache
from fleet.web.responses import SensorNotFound, choice_argument, encode_json, integer_argument, json_response
from fleet.web.views.control import Control, ControlDenied, handle_control_denied
from fleet.web.views.dashboard import Dashboard
from fleet.web.views.monitoring import Monitoring

MAX_ROWS = 1000
MAX_LIST_LIMIT = 1_000_000_000

DEFAULT_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def create_app(
    run_directory: Path,
    observer: Observer | None = None,
    path_aliases: Mapping[str, str] = {},
    allowed_hosts: Collection[str] = (),
) -> Flask:
    """The WSGI application for the fleet whose roster and scoreboard are in `run_directory`. `path_aliases` maps further paths
    of documents to their usual ones; `allowed_hosts` are names that it may be asked by."""
    app = Flask("fleet.web", static_folder="static", template_folder="templates")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    observer, memory = observer or Observer(run_directory), MemoryGauge()
    control = Control(observer)
    views = Aggregator(observer, memory).routes() | Dashboard(observer, memory).routes() | control.routes()
    views |= Monitoring(observer, memory).routes()
    for path, view in views.items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET"])
    for path, view in control.command_routes().items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["POST"])
    app.register_error_handler(ControlDenied, handle_control_denied)
    app.register_error_handler(HTTPException, handle_http_error)
    app.register_error_handler(FleetUnavailable, handle_no_fleet)
    app.register_error_handler(SensorNotFound, handle_no_sensor)
    app.register_error_handler(DatabaseUnreadable, handle_unreadable)
    app.after_request(add_default_headers)
    app.wsgi_app = ResponseCache(app.wsgi_app, observer, "/api/snapshot")  # type: ignore[method-assign]
    if path_aliases:
        app.wsgi_app = PathAliases(app.wsgi_app, path_aliases)  # type: ignore[method-assign]  # Flask's documented way
    app.wsgi_app = HostCheck(app.wsgi_app, allowed_hosts)  # type: ignore[method-assign]
    return app


class Aggregator:
    """The views of one fleet. What the scoreboard says of the whole fleet is encoded once for each observation; what is in
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
        document = reports.healthz(self._observe(sensor_id), sensor_id)
        return json_response(encode_json(document), 200 if document["status"] == "healthy" else 503)

    def statusz(self) -> Response:
        """Configuration, counts of this run, who is in an anomaly now, how the databases stand."""
        return self._cached_response(reports.statusz)

    def metricz(self) -> Response:
        """Readings, anomalies by type, errors, restarts, lag, writes to the databases, memory."""

        def build(observation: Observation) -> Document:
            return reports.metricz(observation, self._memory.read(observation))

        return self._cached_response(build)

    def grid(self) -> Response:
        """Every sensor in one letter, for the grid of the page."""
        return self._cached_response(reports.grid)

    def workers(self) -> Response:
        """Every sensor with its process, its state and its last reading; ?state= ?offset= ?limit=."""
        state = choice_argument("state", DISPLAY_STATES)
        offset = integer_argument("offset", 0, 0, MAX_LIST_LIMIT)
        limit = integer_argument("limit", None, 1, MAX_LIST_LIMIT)
        return self._cached_response(
            lambda seen: reports.workers(seen, state, offset or 0, limit), (state, offset, limit)
        )

    def samplez(self) -> Response:
        """The last readings, newest first; ?limit=, 10 if it is left out."""
        limit = row_limit()
        return json_response(encode_json(records.fleet_samples(self._observe(None), limit)))

    def db_stats(self) -> Response:
        """Records and sizes of the databases, their tables, the disk."""
        return json_response(encode_json(records.fleet_db_stats(self._observe(None), self._data_directory)))

    def sensor(self, sensor_id: str) -> Response:
        """One sensor: its entry in the list, its identity, its channels, where its database and log are."""
        observation = self._observe(sensor_id)
        return json_response(encode_json(sensors.sensor(observation, observation.index[sensor_id])))

    def sensor_statusz(self, sensor_id: str) -> Response:
        """As /statusz, of one sensor."""
        return json_response(encode_json(reports.sensor_statusz(self._observe(sensor_id), sensor_id)))

    def sensor_metricz(self, sensor_id: str) -> Response:
        """As /metricz, of one sensor."""
        return json_response(encode_json(reports.metricz(self._observe(sensor_id), None, sensor_id)))

    def sensor_samplez(self, sensor_id: str) -> Response:
        """As /samplez, of one sensor."""
        limit = row_limit()
        return json_response(encode_json(records.sensor_samples(self._observe(sensor_id), sensor_id, limit)))

    def sensor_episodes(self, sensor_id: str) -> Response:
        """The last anomaly episodes of a sensor, newest first; ?limit=."""
        limit = row_limit()
        return json_response(encode_json(records.sensor_episodes(self._observe(sensor_id), sensor_id, limit)))

    def sensor_db_stats(self, sensor_id: str) -> Response:
        """As /db_stats, of the database that a sensor writes to."""
        observation = self._observe(sensor_id)
        return json_response(encode_json(records.sensor_db_stats(observation, sensor_id, self._data_directory)))

    def _observe(self, sensor_id: str | None) -> Observation:
        observation = self._observer.observe()
        if sensor_id is not None and sensor_id not in observation.index:
            raise SensorNotFound(sensor_id)
        return observation

    def _cached_response(self, build: Callable[[Observation], Document], query: tuple[object, ...] = ()) -> Response:
        observation = self._observer.observe()
        return json_response(observation.body_cache.get((request.path, query), lambda: encode_json(build(observation))))


def livez() -> Response:
    """That this process answers; whether the fleet is well is /healthz."""
    return json_response(encode_json({"status": "alive"}))


def row_limit() -> int:
    return integer_argument("limit", 10, 1, MAX_ROWS) or 10


def handle_http_error(error: HTTPException) -> Response:
    """A client's mistake, or ours (500, whose traceback is in the log), in one line of JSON."""
    if isinstance(error, NotFound):
        return json_response(encode_json({"error": "no such path", "path": request.path}), 404)
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(set(error.valid_methods or ()) - {"OPTIONS"})
        response = json_response(encode_json({"error": f"{request.method}: allowed is {' or '.join(allowed)}"}), 405)
        response.headers["Allow"] = ", ".join(allowed)
        return response
    return json_response(encode_json({"error": error.description or error.name}), error.code or 500)


def handle_no_fleet(error: FleetUnavailable) -> Response:
    unhealthy = {"status": "unhealthy", "timestamp": reports.timestamp(datetime.now(UTC)), "reason": str(error)}
    return json_response(encode_json(unhealthy if request.path == "/healthz" else {"error": str(error)}), 503)


def handle_no_sensor(error: SensorNotFound) -> Response:
    return json_response(encode_json({"error": "no such sensor in this fleet", "sensor_id": str(error)}), 404)


def handle_unreadable(error: DatabaseUnreadable) -> Response:
    return json_response(encode_json({"error": str(error)}), 503)


def add_default_headers(response: Response) -> Response:
    for name, value in DEFAULT_HEADERS.items():
        response.headers.setdefault(name, value)  # a static file may be kept, as long as it is asked after
    return response

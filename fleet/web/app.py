"""The Flask application of the HTTP server. It reads the fleet's files and asks no process, except to pass on commands.

The views are blueprints, by audience: `status` (JSON documents), `dashboard` (pages), `monitoring` (Prometheus, OpenAPI)
and `control` (commands).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from fleet.datadir.readings import DatabaseUnreadable
from fleet.monitoring.observation import FleetUnavailable, Observer
from fleet.web.context import EXTENSION_NAME, FleetContext, SensorNotFound
from fleet.web.documents.status import timestamp
from fleet.web.middleware import HostCheck, PathAliases, ResponseCache
from fleet.web.responses import json_response
from fleet.web.views import control, dashboard, monitoring, status

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
    """Return the WSGI application for the fleet whose roster and scoreboard are in `run_directory`. `path_aliases` maps
    further paths of documents to their usual ones; `allowed_hosts` are host names that requests may use."""
    app = Flask("fleet.web", static_folder="static", template_folder="templates")
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    observer = observer or Observer(run_directory)
    app.extensions[EXTENSION_NAME] = FleetContext(observer)
    for views in (status, dashboard, control, monitoring):
        app.register_blueprint(views.blueprint)
    app.register_error_handler(HTTPException, handle_http_error)
    app.register_error_handler(FleetUnavailable, handle_no_fleet)
    app.register_error_handler(SensorNotFound, handle_no_sensor)
    app.register_error_handler(DatabaseUnreadable, handle_unreadable)
    app.after_request(add_default_headers)
    # Flask documents this way to add middleware; mypy sees an assignment to a method.
    app.wsgi_app = ResponseCache(app.wsgi_app, observer, "/api/snapshot")  # type: ignore[method-assign]
    if path_aliases:
        app.wsgi_app = PathAliases(app.wsgi_app, path_aliases)  # type: ignore[method-assign]
    app.wsgi_app = HostCheck(app.wsgi_app, allowed_hosts)  # type: ignore[method-assign]
    return app


def handle_http_error(error: HTTPException) -> Response:
    """Answer a client's mistake, or a bug (500, with its traceback in the log), with one line of JSON."""
    if isinstance(error, NotFound):
        return json_response({"error": "no such path", "path": request.path}, 404)
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(set(error.valid_methods or ()) - {"OPTIONS"})
        response = json_response({"error": f"{request.method}: allowed is {' or '.join(allowed)}"}, 405)
        response.headers["Allow"] = ", ".join(allowed)
        return response
    return json_response({"error": error.description or error.name}, error.code or 500)


def handle_no_fleet(error: FleetUnavailable) -> Response:
    if request.path == "/healthz":
        unhealthy = {"status": "unhealthy", "timestamp": timestamp(datetime.now(UTC)), "reason": str(error)}
        return json_response(unhealthy, 503)
    return json_response({"error": str(error)}, 503)


def handle_no_sensor(error: SensorNotFound) -> Response:
    return json_response({"error": "no such sensor in this fleet", "sensor_id": str(error)}, 404)


def handle_unreadable(error: DatabaseUnreadable) -> Response:
    return json_response({"error": str(error)}, 503)


def add_default_headers(response: Response) -> Response:
    for name, value in DEFAULT_HEADERS.items():
        response.headers.setdefault(name, value)  # not over those of a static file, which clients may cache
    return response

"""Views of the dashboard: its pages, and the documents that keep them up to date.

To add a document: a function in `fleet.web.documents.snapshot` (scoreboard) or `fleet.web.documents.databases`
(readings), a view here, and its path and schema in `fleet/web/openapi/`.
"""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from fleet.datadir.readings import DatabaseUnreadable
from fleet.errors import UserError
from fleet.monitoring.observation import FleetUnavailable
from fleet.monitoring.sensors import Document
from fleet.web.context import fleet_context, observe
from fleet.web.documents import databases, pages, ranges, snapshot
from fleet.web.responses import (
    compressed_json,
    conditional_json,
    integer_argument,
    json_response,
    optional_integer_argument,
    range_arguments,
)

MAX_SERIES_SECONDS = 3600
MIN_SERIES_POINTS, MAX_SERIES_POINTS = 10, 5000
DEFAULT_RANGE_POINTS = 1200
MAX_SEQ = 1_000_000_000
MAX_LOG_LINES = 200
MAX_WANTED_SENSORS = 100

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
def overview() -> Response:
    """The page about the fleet."""
    try:
        observation = observe()
    except FleetUnavailable as error:
        return page_response(pages.no_fleet_page(str(error)), 503)
    return Response(
        observation.body_cache.get("/", lambda: encode_page(pages.overview_page(observation))), mimetype="text/html"
    )


@blueprint.get("/sensors/<sensor_id>")
def sensor(sensor_id: str) -> Response:
    """The page about one sensor."""
    try:
        observation = observe()
    except FleetUnavailable as error:
        return page_response(pages.no_fleet_page(str(error)), 503)
    if sensor_id not in observation.index:
        return page_response(pages.no_sensor_page(sensor_id), 404)
    return page_response(pages.sensor_page(observation, observation.index[sensor_id]))


@blueprint.get("/compare")
def compare() -> Response:
    """The page with the readings of several sensors over each other; ?sensors= (ids, separated by commas), ?place=."""
    try:
        observation = observe()
    except FleetUnavailable as error:
        return page_response(pages.no_fleet_page(str(error)), 503)
    wanted = [sensor_id for sensor_id in request.args.get("sensors", "").split(",") if sensor_id][:MAX_WANTED_SENSORS]
    return page_response(pages.compare_page(observation, wanted, request.args.get("place", "")))


@blueprint.get("/api/snapshot")
def current_snapshot() -> Response:
    """The present state of all sensors, by column."""
    observation, memory = observe(), fleet_context().memory

    def build() -> Document:
        observation.history.memory = memory.read(observation).bytes
        return snapshot.snapshot(observation)

    return conditional_json(observation, f"{observation.now_ns:x}", build)


@blueprint.get("/api/sensors")
def roster() -> Response:
    """The identities of all sensors, by column; changes only with the roster."""
    observation = observe()
    return conditional_json(
        observation, snapshot.roster_tag(observation), lambda: snapshot.roster_document(observation)
    )


@blueprint.get("/api/history")
def history() -> Response:
    """Key figures of the last ten minutes, once a second."""
    observation = observe()
    return conditional_json(observation, f"{observation.now_ns:x}", observation.history.recent)


@blueprint.get("/workers/<sensor_id>/series")
def series(sensor_id: str) -> Response:
    """Readings of a sensor, and the same without anomalies; ?points= (at most this many; several readings become one point
    with their lowest and highest value). The last ones: ?seconds= (60), ?after= (a sequence number). Those of a range:
    ?from= ?to=."""
    observation = observe(sensor_id)
    points = optional_integer_argument("points", MIN_SERIES_POINTS, MAX_SERIES_POINTS)
    seconds = integer_argument("seconds", 60, 1, MAX_SERIES_SECONDS)
    after = optional_integer_argument("after", 0, MAX_SEQ)
    if "from" in request.args or "to" in request.args:
        if "seconds" in request.args or "after" in request.args:
            raise BadRequest("from and to: not together with seconds or after")
        wanted, cache = range_arguments(), fleet_context().points
        return compressed_json(
            ranges.range_document(observation, sensor_id, wanted, points or DEFAULT_RANGE_POINTS, cache)
        )
    return compressed_json(
        databases.sensor_series(observation, sensor_id, seconds, -1 if after is None else after, points)
    )


@blueprint.get("/workers/<sensor_id>/readings.csv")
def readings_csv(sensor_id: str) -> Response:
    """The readings of a sensor in a range as CSV; ?from= ?to=, by default all."""
    observation, wanted, slots = observe(sensor_id), range_arguments(), fleet_context().download_slots
    if not slots.acquire(blocking=False):
        return json_response({"error": "other downloads are running: try again when one of them has ended"}, 503)
    response = Response(mimetype="text/csv")
    response.call_on_close(slots.release)
    try:
        response.response = ranges.csv_parts(
            observation.members[observation.index[sensor_id]].database, sensor_id, wanted
        )
    except DatabaseUnreadable:
        response.close()
        raise
    response.headers["Content-Disposition"] = f'attachment; filename="{sensor_id}.csv"'
    return response


@blueprint.get("/workers/<sensor_id>/epochs")
def epochs(sensor_id: str) -> Response:
    """The last epochs of a sensor, newest first."""
    return compressed_json(databases.sensor_epochs(observe(sensor_id), sensor_id))


@blueprint.get("/workers/<sensor_id>/log")
def log(sensor_id: str) -> Response:
    """The last lines of the log about the worker of a sensor; ?lines= (40)."""
    lines = integer_argument("lines", 40, 1, MAX_LOG_LINES)
    try:
        return compressed_json(
            databases.sensor_log(observe(sensor_id), sensor_id, lines, fleet_context().data_directory)
        )
    except UserError as error:  # the manifest, which has the format of the log, cannot be read
        return json_response({"error": str(error)}, 503)


def page_response(page: str, status: int = 200) -> Response:
    return Response(encode_page(page), status, mimetype="text/html")


def encode_page(page: str) -> bytes:
    return page.encode(errors="backslashreplace")  # names of files need not be UTF-8

"""Views of the JSON documents about the fleet and about one sensor.

To add a document: a function in `fleet.web.documents.status` (scoreboard) or `fleet.web.documents.databases` (readings),
a view here, and its path and schema in `fleet/web/openapi/`.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from fleet.monitoring import sensors
from fleet.monitoring.health import DISPLAY_STATES
from fleet.monitoring.sensors import Document
from fleet.web.context import fleet_context, observe
from fleet.web.documents import databases, status
from fleet.web.responses import (
    cached_json,
    choice_argument,
    integer_argument,
    json_response,
    optional_integer_argument,
)

MAX_ROWS = 1000
MAX_LIST_LIMIT = 1_000_000_000
NO, YES = "0", "1"

blueprint = Blueprint("status", __name__)


@blueprint.get("/livez")
def livez() -> Response:
    """Liveness of the HTTP process; the health of the fleet is /healthz."""
    return json_response({"status": "alive"})


@blueprint.get("/healthz")
def healthz() -> Response:
    """Health of the fleet: 200, or 503 with the reasons. With 200 it may be degraded: a target does not get its readings."""
    return health_response(None)


@blueprint.get("/statusz")
def statusz() -> Response:
    """Configuration, counts of this run, sensors that are in an anomaly now, state of the databases, targets."""
    observation = observe()
    return cached_json(observation, lambda: status.statusz(observation))


@blueprint.get("/metricz")
def metricz() -> Response:
    """Readings, anomalies by type, errors, restarts, lag, writes to the databases, targets, memory."""
    observation, memory = observe(), fleet_context().memory
    return cached_json(observation, lambda: status.metricz(observation, memory.read(observation)))


@blueprint.get("/samplez")
def samplez() -> Response:
    """The last readings, newest first; ?limit=, 10 by default; ?list=1 without anything around the list."""
    return samples_response(databases.fleet_samples(observe(), row_limit()))


@blueprint.get("/db_stats")
def db_stats() -> Response:
    """Records and sizes of the databases, their tables, the disk."""
    return json_response(databases.fleet_db_stats(observe(), fleet_context().data_directory))


@blueprint.get("/grid")
def grid() -> Response:
    """The state of every sensor as one letter."""
    observation = observe()
    return cached_json(observation, lambda: status.grid(observation))


@blueprint.get("/workers")
def workers() -> Response:
    """Every sensor with its process, its state and its last reading; ?state= ?kind= ?offset= ?limit=."""
    state = choice_argument("state", DISPLAY_STATES)
    offset = integer_argument("offset", 0, 0, MAX_LIST_LIMIT)
    limit = optional_integer_argument("limit", 1, MAX_LIST_LIMIT)
    kind, observation = request.args.get("kind"), observe()
    return cached_json(
        observation, lambda: status.workers(observation, state, offset, limit, kind), (state, offset, limit, kind)
    )


@blueprint.get("/workers/<sensor_id>")
def sensor(sensor_id: str) -> Response:
    """One sensor: its entry in the list, its identity, its channels, the paths of its database and log."""
    observation = observe(sensor_id)
    return json_response(sensors.sensor(observation, observation.index[sensor_id]))


@blueprint.get("/workers/<sensor_id>/healthz")
def sensor_healthz(sensor_id: str) -> Response:
    """As /healthz, for one sensor."""
    return health_response(sensor_id)


@blueprint.get("/workers/<sensor_id>/statusz")
def sensor_statusz(sensor_id: str) -> Response:
    """As /statusz, for one sensor."""
    return json_response(status.sensor_statusz(observe(sensor_id), sensor_id))


@blueprint.get("/workers/<sensor_id>/metricz")
def sensor_metricz(sensor_id: str) -> Response:
    """As /metricz, for one sensor."""
    return json_response(status.metricz(observe(sensor_id), None, sensor_id))


@blueprint.get("/workers/<sensor_id>/samplez")
def sensor_samplez(sensor_id: str) -> Response:
    """As /samplez, for one sensor."""
    limit = row_limit()
    return samples_response(databases.sensor_samples(observe(sensor_id), sensor_id, limit))


@blueprint.get("/workers/<sensor_id>/db_stats")
def sensor_db_stats(sensor_id: str) -> Response:
    """As /db_stats, for the database that a sensor writes to."""
    return json_response(databases.sensor_db_stats(observe(sensor_id), sensor_id, fleet_context().data_directory))


@blueprint.get("/workers/<sensor_id>/episodes")
def sensor_episodes(sensor_id: str) -> Response:
    """The last anomaly episodes of a sensor, newest first; ?limit=, 10 by default."""
    limit = row_limit()
    return json_response(databases.sensor_episodes(observe(sensor_id), sensor_id, limit))


def health_response(sensor_id: str | None) -> Response:
    document = status.healthz(observe(sensor_id), sensor_id)
    return json_response(document, 503 if document["status"] == "unhealthy" else 200)


def samples_response(document: Document) -> Response:
    """Answer with the document, or with its list alone, for programs that were written for such an answer."""
    return json_response(document["samples"] if choice_argument("list", (NO, YES)) == YES else document)


def row_limit() -> int:
    return integer_argument("limit", 10, 1, MAX_ROWS)

"""Views for monitoring programs: metrics for Prometheus, and the OpenAPI description of all paths.

To describe a path: an entry in the file of `fleet/web/openapi/` that it belongs to. A test compares the description with
the paths and answers of the server.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request

from fleet.web.context import fleet_context, observe
from fleet.web.prometheus.exposition import Scrape, negotiate_format, render
from fleet.web.prometheus.metrics import FLEET_METRICS, SENSOR_METRICS
from fleet.web.responses import choice_argument, json_body_response
from worker.readings.anomalies import ANOMALY_TYPES

OPENAPI_DIRECTORY = Path(__file__).parents[1] / "openapi"
NO, YES = "0", "1"

blueprint = Blueprint("monitoring", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Metrics of the fleet for Prometheus, in its text format or, if the client prefers it, as OpenMetrics; with
    ?per_sensor=1 those of each sensor as well."""
    per_sensor = choice_argument("per_sensor", (NO, YES)) == YES
    format_ = negotiate_format(request.accept_mimetypes)
    observation, context = observe(), fleet_context()

    def build() -> bytes:
        scrape = Scrape(observation, context.memory.latest(observation), context.data_directory)
        return render((*FLEET_METRICS, *SENSOR_METRICS) if per_sensor else FLEET_METRICS, scrape, format_)

    body = observation.body_cache.get((request.path, format_, per_sensor), build)
    return Response(body, content_type=format_.content_type, headers={"Vary": "Accept"})


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI description of all paths and documents."""
    return json_body_response(openapi_json())


@cache
def openapi_json() -> bytes:
    return json.dumps(openapi_document(), ensure_ascii=False, separators=(",", ":")).encode()


def openapi_document() -> dict[str, Any]:
    """Merge the files of `openapi/` into one description."""
    import yaml  # imported here to keep the server small: only this document needs it

    parts = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(OPENAPI_DIRECTORY.glob("*.yaml"))]
    (document,) = (part for part in parts if "openapi" in part)
    document["paths"] = {path: item for part in parts for path, item in part.get("paths", {}).items()}
    for part in parts:
        for kind, entries in part["components"].items():
            document["components"].setdefault(kind, {}).update(entries)
    schemas = document["components"]["schemas"]
    schemas["AnomalyType"]["enum"] = schemas["ByType"]["required"] = list(ANOMALY_TYPES)
    return dict(document)

"""What programs that do not know a fleet ask for: its metrics, as Prometheus scrapes them, and what else there is."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from fleet.monitoring.memory import MemoryGauge
from fleet.monitoring.observation import Observer
from fleet.web.openapi_document import openapi_json
from fleet.web.prometheus import exposition
from fleet.web.prometheus.metrics import FleetCollector
from fleet.web.responses import choice_argument, json_response

YES, NO = "1", "0"


class Monitoring:
    """`memory` is shared with whoever else tells of it."""

    def __init__(self, observer: Observer, memory: MemoryGauge) -> None:
        self._observer, self._memory = observer, memory

    def routes(self) -> dict[str, Callable[..., Response]]:
        return {"/metrics": self.metrics, "/openapi.json": openapi}

    def metrics(self) -> Response:
        """The fleet for Prometheus, in its text format or, if that is accepted rather, as OpenMetrics; with
        ?per_sensor=1 each sensor as well."""
        per_sensor = choice_argument("per_sensor", (NO, YES)) == YES
        wanted = exposition.negotiate_format(request.accept_mimetypes)
        observation = self._observer.observe()

        def build() -> bytes:
            data = self._observer.run_directory.parent
            collector = FleetCollector(observation, self._memory.latest(observation), data)
            fleet = exposition.render_fleet(wanted, collector)
            return exposition.append_sensors(wanted, fleet, observation) if per_sensor else fleet

        body = observation.body_cache.get(("/metrics", wanted.content_type, per_sensor), build)
        return Response(body, content_type=wanted.content_type, headers={"Vary": "Accept"})


def openapi() -> Response:
    """All paths and documents, in OpenAPI's own terms."""
    return json_response(openapi_json())

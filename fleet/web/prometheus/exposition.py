"""The two formats of `/metrics`, and which of them a client wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from fleet.monitoring.observation import Observation
from fleet.web.prometheus import sensor_metrics

OPENMETRICS_EOF = b"# EOF\n"


class ExpositionFormat(NamedTuple):
    content_type: str
    generate: Callable[..., bytes]


TEXT_FORMAT = ExpositionFormat(CONTENT_TYPE_PLAIN_0_0_4, generate_latest)
OPENMETRICS_FORMAT = ExpositionFormat(openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest)

MEDIA_TYPE_FORMATS = {
    "application/openmetrics-text": OPENMETRICS_FORMAT,
    "text/plain": TEXT_FORMAT,
    "text/*": TEXT_FORMAT,
    "*/*": TEXT_FORMAT,
}


def negotiate_format(accepted: Iterable[tuple[str, float]]) -> ExpositionFormat:
    """The best of (media type, quality), best first; the text format for whoever knows neither. The versions are not
    looked at: the text format has one, and a client that knows OpenMetrics at all is told which one it gets."""
    for media_type, quality in accepted:
        essence = media_type.partition(";")[0].strip().lower()
        if essence in MEDIA_TYPE_FORMATS and quality > 0:
            return MEDIA_TYPE_FORMATS[essence]
    return TEXT_FORMAT


def render_fleet(format_: ExpositionFormat, collector: Collector) -> bytes:
    """What `collector` has, in a registry of its own: the process's global one says nothing of a fleet."""
    registry = CollectorRegistry()
    registry.register(collector)
    # Every name here is plain ASCII, so that nothing is to be escaped; the other modes look at each letter of it.
    return format_.generate(registry, escaping=openmetrics.ALLOWUTF8)


def append_sensors(format_: ExpositionFormat, fleet_: bytes, observation: Observation) -> bytes:
    """The same with the families of each sensor."""
    sensors = sensor_metrics.render_sensors(observation, openmetrics=format_ is OPENMETRICS_FORMAT)
    return fleet_.removesuffix(OPENMETRICS_EOF) + sensors + (OPENMETRICS_EOF if format_ is OPENMETRICS_FORMAT else b"")

"""Further names of HTTP documents: what `monitoring.endpoints` calls them, besides their usual paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

SENSOR_PATH = re.compile(r"(/workers/[^/]+)(/.+)")

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]


class PathAliases:
    """A WSGI application whose documents have further names, for the whole fleet and below each sensor's own path.

    `aliases` maps a further path to the one that `application` knows.
    """

    def __init__(self, application: WSGIApplication, aliases: Mapping[str, str]) -> None:
        self._application, self._aliases = application, aliases

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        of_a_sensor = SENSOR_PATH.fullmatch(path)
        sensor, document = of_a_sensor.groups() if of_a_sensor else ("", path)
        if document in self._aliases:
            environ["PATH_INFO"] = sensor + self._aliases[document]
        return self._application(environ, start_response)

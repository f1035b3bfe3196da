"""Further names of HTTP documents: what `monitoring.endpoints` calls them, besides their usual paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

OF_A_SENSOR = re.compile(r"(/workers/[^/]+)(/.+)")

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Renamed:
    """A WSGI application whose documents have further names, for the whole fleet and below each sensor's own path.

    `usual` maps a further path to the one that `application` knows.
    """

    def __init__(self, application: Application, usual: Mapping[str, str]) -> None:
        self._application, self._usual = application, usual

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        of_a_sensor = OF_A_SENSOR.fullmatch(path)
        sensor, document = of_a_sensor.groups() if of_a_sensor else ("", path)
        if document in self._usual:
            environ["PATH_INFO"] = sensor + self._usual[document]
        return self._application(environ, start_response)

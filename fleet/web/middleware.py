"""WSGI middleware in front of the Flask application: the check of `Host` and `Origin`, further names of documents, and a
cache for the document that every open page polls."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from fleet.monitoring.observation import FleetUnavailable, Observation, Observer

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]
Headers = list[tuple[str, str]]

HOST_HEADER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(:[0-9]{1,5})?")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SAME_SITE_VALUES = ("same-origin", "none")

SENSOR_PATH = re.compile(r"(/workers/[^/]+)(/.+)")


class HostCheck:
    """Refuses requests under a foreign host name, and changes asked for by a foreign page.

    A web page elsewhere can make a browser send requests to 127.0.0.1 under the page's own name (DNS rebinding), and can
    make it submit forms there. The first arrives with a foreign `Host`, the second with a foreign `Origin`. `allowed_hosts`
    are names besides localhost and IP addresses.
    """

    def __init__(self, application: WSGIApplication, allowed_hosts: Collection[str] = ()) -> None:
        self._application = application
        self._allowed = {"localhost", *map(normalize_host, allowed_hosts)}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        # HTTP/1.0 may leave `Host` out, and no browser uses it.
        if not self._is_allowed(host) and not (host is None and environ.get("SERVER_PROTOCOL") == "HTTP/1.0"):
            reason = "Host: allowed are localhost, IP addresses and the names in monitoring.allowed_hosts"
            return error_response(start_response, "421 Misdirected Request", reason)
        if environ.get("REQUEST_METHOD") not in SAFE_METHODS and not is_same_origin(environ, host or ""):
            return error_response(
                start_response, "403 Forbidden", "Origin: only pages of this server may send commands"
            )
        return self._application(environ, start_response)

    def _is_allowed(self, host: str | None) -> bool:
        match = HOST_HEADER.fullmatch(host or "")
        if match is None:
            return False
        name = normalize_host(match[1])
        return name in self._allowed or is_address(name)


def is_same_origin(environ: dict[str, Any], host: str) -> bool:
    """Whether a page of this server made the request, or no page at all."""
    origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
    scheme = environ.get("wsgi.url_scheme", "http")
    return (origin is None or origin.lower() == f"{scheme}://{host}".lower()) and (
        site is None or site in SAME_SITE_VALUES
    )


def normalize_host(name: str) -> str:
    return name.lower().removesuffix(".").removeprefix("[").removesuffix("]")


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def error_response(start_response: Any, status: str, reason: str) -> Iterable[bytes]:
    body = json.dumps({"error": reason}).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response(status, headers)
    return [body]


class PathAliases:
    """Serves documents under further paths, for the whole fleet and below the path of each sensor.

    `aliases` maps a further path (`monitoring.endpoints` in the config) to the one that `application` routes.
    """

    def __init__(self, application: WSGIApplication, aliases: Mapping[str, str]) -> None:
        self._application, self._aliases = application, aliases

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        match = SENSOR_PATH.fullmatch(path)
        sensor, document = match.groups() if match else ("", path)
        if document in self._aliases:
            environ["PATH_INFO"] = sensor + self._aliases[document]
        return self._application(environ, start_response)


class CachedResponses(NamedTuple):
    """The answers for one observation: headers and body, by whether the client accepts gzip."""

    observation: Observation | None
    by_gzip: Mapping[bool, tuple[Headers, bytes]]


class ResponseCache:
    """Caches the answer of `application` on one path for as long as an observation lasts.

    Every open page asks for that path once a second, and Flask takes longer to route a request than the server to send a
    finished answer. Only plain GETs are answered from the cache; only successes are kept.
    """

    def __init__(self, application: WSGIApplication, observer: Observer, path: str) -> None:
        self._application, self._observer, self._path = application, observer, path
        self._cached = CachedResponses(None, {})

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not self._is_cacheable(environ):
            return self._application(environ, start_response)
        try:
            observation = self._observer.observe()
        except FleetUnavailable:
            return self._application(environ, start_response)
        gzip = "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "")
        cached = self._cached
        if cached.observation is not observation or gzip not in cached.by_gzip:
            others = cached.by_gzip if cached.observation is observation else {}
            cached = self._cached = CachedResponses(observation, {**others, **self._fetch(environ, gzip)})
        if gzip not in cached.by_gzip:
            return self._application(environ, start_response)
        headers, body = cached.by_gzip[gzip]
        start_response("200 OK", list(headers))
        return [body]

    def _is_cacheable(self, environ: dict[str, Any]) -> bool:
        accepted = environ.get("HTTP_ACCEPT_ENCODING", "")
        return (
            environ.get("PATH_INFO") == self._path
            and environ.get("REQUEST_METHOD") == "GET"
            and not environ.get("QUERY_STRING")
            and "HTTP_IF_NONE_MATCH" not in environ
            and ";" not in accepted  # a weight, which may be 0, or a wildcard: Flask negotiates those
            and "*" not in accepted
        )

    def _fetch(self, environ: dict[str, Any], gzip: bool) -> Mapping[bool, tuple[Headers, bytes]]:
        started: list[tuple[str, Headers]] = []
        chunks = self._application(dict(environ), lambda status, headers, _=None: started.append((status, headers)))
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close:
                close()
        status, headers = started[-1]
        return {gzip: (headers, body)} if status.startswith("200") else {}

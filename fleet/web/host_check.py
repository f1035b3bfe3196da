"""The doorman of the HTTP side: who asks for this host, and from which page, is looked at before anything else is.

A page of somebody else's can make a browser ask for 127.0.0.1 under a name of its own (DNS rebinding), and can make it
send forms there. The first has the wrong `Host`, the second the wrong `Origin`; both go no further.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

HOST_HEADER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(:[0-9]{1,5})?")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SAME_SITE_VALUES = ("same-origin", "none")

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]


class HostCheck:
    """A WSGI application before which others are turned away. `allowed` are names besides localhost and IP addresses."""

    def __init__(self, application: WSGIApplication, allowed: Collection[str] = ()) -> None:
        self._application = application
        self._allowed = {"localhost", *(normalize_host(name) for name in allowed)}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        # HTTP/1.0 need not name one, and no browser speaks it.
        if not self._is_allowed(host) and not (host is None and environ.get("SERVER_PROTOCOL") == "HTTP/1.0"):
            told = "Host: allowed is localhost, an IP address, or what monitoring.allowed_hosts says"
            return error_response(start_response, "421 Misdirected Request", told)
        if environ.get("REQUEST_METHOD") not in SAFE_METHODS and not is_same_origin(environ, host or ""):
            return error_response(start_response, "403 Forbidden", "Origin: only pages of this server may ask for that")
        return self._application(environ, start_response)

    def _is_allowed(self, host: str | None) -> bool:
        found = HOST_HEADER.fullmatch(host or "")
        if found is None:
            return False
        name = normalize_host(found[1])
        return name in self._allowed or is_address(name)


def is_same_origin(environ: dict[str, Any], host: str) -> bool:
    """Whether it comes from a page of this server, or from no page at all."""
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

"""Where an HTTP target is, from the URL that a user gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import SplitResult, urlsplit

from fleet.errors import UserError

DEFAULT_PATH = "/api/readings/batch"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """Where batches are posted. `name` tells it apart from others, without what may be a secret in its query."""

    scheme: str
    host: str
    port: int
    request_target: str
    name: str


def parse_address(url: str) -> TargetAddress:
    """UserError, which does not repeat the URL where that may hold a password."""
    wanted = "wanted http://HOST[:PORT][/PATH] or https://..."
    if re.match(r"(?:[a-zA-Z]*:)?[/\\]*[^/?#]*@", url):
        raise UserError(
            "--to: the URL has a user or a password in it, which every user of this machine can see: "
            "put them into the environment variables COLLECT_TOKEN or COLLECT_HEADERS"
        )
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise UserError(f"--to: {url.partition('?')[0]}: {error}; {wanted}") from error
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0:
        raise UserError(f"--to: {url.partition('?')[0]}: {wanted}")
    path = DEFAULT_PATH if parts.path in {"", "/"} else parts.path
    request = f"{path}?{parts.query}" if parts.query else path
    return TargetAddress(
        parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], request, display_name(parts, host, path)
    )


def display_name(parts: SplitResult, host: str, path: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    if parts.port and parts.port != DEFAULT_PORTS[parts.scheme]:
        shown += f":{parts.port}"
    query = f"?({blake2b(parts.query.encode(), digest_size=4).hexdigest()})" if parts.query else ""
    return f"{parts.scheme}://{shown}{path}{query}"

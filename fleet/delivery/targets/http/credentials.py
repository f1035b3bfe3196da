"""The credentials for an HTTP server: headers from the environment, which are redacted in all messages."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.errors import UserError
from fleet.target_urls import Login

TOKEN_VARIABLE, HEADERS_VARIABLE = "COLLECT_TOKEN", "COLLECT_HEADERS"

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]+")
BEARER_TOKEN = re.compile(r"[\x21-\x7e]+")

RESERVED_HEADERS = {
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "idempotency-key",
    "transfer-encoding",
}
"""The headers that the collector sets itself."""

MIN_SECRET_CHARACTERS = 4
"""The minimum length of a value to redact; redacting shorter ones would leave nothing legible."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Headers that are sent with every request, and further secrets that a server may repeat."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def with_login(self, login: Login | None) -> Credentials:
        """The same with a user and a password in place of a bearer token."""
        if login is None:
            return self
        pair = f"{login.user}:{login.password}".encode()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        return Credentials({**headers, "Authorization": f"Basic {b64encode(pair).decode()}"}, (login.password,))

    def redact(self, text: str) -> str:
        """Replace the values of the headers, which a server may repeat in its response, with asterisks."""
        values = {part for value in self.headers.values() for part in (value, value.partition(" ")[2])}
        values.update(self.secrets)
        spellings = {spelling for value in values for spelling in (value, value.replace("/", "\\/"))}
        for value in sorted(spellings, key=len, reverse=True):
            if len(value) >= MIN_SECRET_CHARACTERS:
                text = text.replace(value, "***")
        return text


def read_credentials(environment: Mapping[str, str]) -> Credentials:
    """Read COLLECT_TOKEN, a bearer token, and COLLECT_HEADERS, lines of `Name: value`. UserError names the variable and the
    line, never the content."""
    headers: dict[str, str] = {}
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if token:
        if not BEARER_TOKEN.fullmatch(token):
            raise UserError(f"environment variable {TOKEN_VARIABLE}: wanted the token alone, without spaces, in ASCII")
        headers["Authorization"] = f"Bearer {token}"
    seen = {name.lower() for name in headers}
    for number, line in enumerate(environment.get(HEADERS_VARIABLE, "").split("\n"), 1):
        if not line.strip():
            continue
        name, value = parse_header(line.strip(), f"environment variable {HEADERS_VARIABLE}, line {number}")
        if name.lower() in seen:
            raise UserError(f"environment variable {HEADERS_VARIABLE}, line {number}: this header is given twice")
        seen.add(name.lower())
        headers[name] = value
    return Credentials(headers)


def parse_header(line: str, origin: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in line.partition(":"))
    if not colon or not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
        raise UserError(f"{origin}: wanted `Name: value`, the value without control characters and in Latin-1")
    if name.lower() in RESERVED_HEADERS:
        raise UserError(f"{origin}: {name} is set by the collector; leave it out")
    return name, value

"""The URL of a server that takes line protocol: `influx://HOST[:PORT][/DATABASE][?OPTIONS]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from fleet.delivery.targets.http.client import HOST, TargetAddress
from fleet.delivery.targets.influx.lines import DEFAULT_MEASUREMENT, PRECISIONS, LineFormat
from fleet.errors import UserError
from fleet.escaping import escape_short

EXAMPLE = "influx://HOST:8086/DATABASE"
EXAMPLE_2 = "influx://HOST:8086/BUCKET?version=2&org=ORGANISATION"
SCHEMES = {"influx": "http", "influxs": "https"}
DEFAULT_PORT = 8086
DEFAULT_VERSION = "1"
CHOICES = {"version": (DEFAULT_VERSION, "2"), "precision": tuple(PRECISIONS)}
OPTIONS = (*CHOICES, "org", "measurement")

PRECISION_NAMES = {DEFAULT_VERSION: {"ns": "n", "us": "u", "ms": "ms"}, "2": {name: name for name in PRECISIONS}}
"""The names of the precisions in requests to InfluxDB 1 and 2."""


@dataclass(frozen=True, slots=True)
class InfluxAddress:
    """A server. `database` is a bucket for version 2, and empty for a server without databases."""

    write: TargetAddress
    version: str
    database: str
    format: LineFormat


def parse_address(url: str, option: str = "--to") -> InfluxAddress:
    """Parse a URL. UserError, which does not repeat a password."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise UserError(
            f"{option}: the URL has a user or a password, which other users of the machine could see: set INFLUX_TOKEN, or "
            "INFLUX_USERNAME and INFLUX_PASSWORD, in the environment"
        )
    host, port = host_and_port(parts, url, option)
    options = parse_options(parts.query, option)
    database = unquote(parts.path.strip("/"))
    version = options.get("version", DEFAULT_VERSION)
    precision = options.get("precision", "ns")
    query = {"precision": PRECISION_NAMES[version][precision]}
    if version == DEFAULT_VERSION:
        if "org" in options:
            raise UserError(f"{option}: org is an option of version 2: add version=2")
        path = "/write"
        query |= {"db": database} if database else {}
    else:
        if not database or not options.get("org"):
            raise UserError(
                f"{option}: {escape_short(url)!r}: version 2 needs a bucket and an organisation: {EXAMPLE_2}"
            )
        path = "/api/v2/write"
        query |= {"org": options["org"], "bucket": database}
    line_format = LineFormat(measurement_option(options, option), precision)
    shown_host = f"[{host}]" if ":" in host else host
    name = f"{parts.scheme}://{shown_host}:{port}/{quote(database)}"
    if line_format.measurement != DEFAULT_MEASUREMENT:
        name += f"?measurement={quote(line_format.measurement)}"
    address = TargetAddress(SCHEMES[parts.scheme], host, port, f"{path}?{urlencode(query)}", name)
    return InfluxAddress(address, version, database, line_format)


def host_and_port(parts: SplitResult, url: str, option: str) -> tuple[str, int]:
    try:
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        raise UserError(f"{option}: {escape_short(url)!r} has no valid port or host: {EXAMPLE}") from None
    if not HOST.fullmatch(host) or port == 0:
        raise UserError(f"{option}: {escape_short(url)!r} names no server: {EXAMPLE}, or influx:FILE for a file")
    return host, port or DEFAULT_PORT


def parse_options(query: str, option: str, allowed: tuple[str, ...] = OPTIONS) -> dict[str, str]:
    """Parse the options after the `?`. UserError for one that is not allowed, or has a value that is not."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in allowed:
            raise UserError(f"{option}: {name!a} is no option of line protocol: allowed are {', '.join(allowed)}")
        if name in CHOICES and value not in CHOICES[name]:
            raise UserError(f"{option}: {name} is {value!a}, allowed is {' or '.join(CHOICES[name])}")
    return options


def measurement_option(options: Mapping[str, str], option: str) -> str:
    measurement = options.get("measurement", DEFAULT_MEASUREMENT)
    if (
        not measurement
        or measurement.startswith(("#", "_"))
        or measurement.endswith("\\")
        or not measurement.isprintable()
    ):
        raise UserError(
            f"{option}: measurement is {measurement!a}, allowed is a name that begins with neither # nor _ and does not end "
            "with a backslash"
        )
    return measurement

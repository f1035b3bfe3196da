"""The URL of a bucket: `s3://BUCKET/PREFIX?OPTIONS`, and the variables of the environment that complete it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fleet.delivery.targets.http.client import DEFAULT_PORTS, HOST, TargetAddress
from fleet.delivery.targets.s3.signature import Credentials
from fleet.delivery.targets.url_options import split_options
from fleet.errors import UserError
from fleet.escaping import escape_short

SCHEME = "s3:"
OPTIONS = ("endpoint", "format", "size", "period", "envelope")
EXAMPLE = "s3://BUCKET/PREFIX, or s3: with S3_BUCKET and S3_PREFIX in the environment"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
DEFAULT_PREFIX = "sensor-data/"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """A bucket and how to reach it. `prefix` is empty or ends with a slash. `bucket_path` is the bucket in the path of a request,
    empty if it is in the name of the host. `name` is the URL without what may be secret."""

    bucket: str
    prefix: str
    region: str
    server: TargetAddress
    bucket_path: str
    name: str
    credentials: Credentials = field(repr=False)


def parse_bucket(url: str, origin: str, environment: Mapping[str, str]) -> tuple[BucketAddress, dict[str, str]]:
    """Parse a URL; returns the options too. UserError, naming `origin`, which repeats no password."""
    if "@" in url:
        raise UserError(
            f"{origin}: the URL of a bucket has an @: other users of the machine could see credentials there; set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        )
    place, options = split_options(url.removeprefix(SCHEME), origin, OPTIONS)
    bucket, _, prefix = place.removeprefix("//").partition("/")
    bucket = bucket or environment.get("S3_BUCKET", "")
    if not bucket:
        raise UserError(f"{origin}: {escape_short(url)!r} names no bucket: {EXAMPLE}")
    if not BUCKET.fullmatch(bucket):
        raise UserError(
            f"{origin}: {escape_short(bucket)!a} is no name of a bucket: 3 to 63 small letters, digits, dots and hyphens"
        )
    prefix = (prefix or environment.get("S3_PREFIX") or DEFAULT_PREFIX).strip("/")
    prefix = f"{prefix}/" if prefix else ""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    endpoint = options.get("endpoint") or environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    shown = f"s3://{bucket}/{prefix}"
    credentials = read_credentials(origin, environment)
    if endpoint:
        server, base = parse_endpoint(endpoint, origin)
        name = f"{shown}?endpoint={server.name}"
        return BucketAddress(bucket, prefix, region, server, f"{base}/{bucket}", name, credentials), options
    host = f"s3.{region}.amazonaws.com"
    in_path = "." in bucket  # a wildcard certificate covers one level of names
    server = TargetAddress("https", host if in_path else f"{bucket}.{host}", 443, "/", f"https://{host}")
    return BucketAddress(bucket, prefix, region, server, f"/{bucket}" if in_path else "", shown, credentials), options


def parse_endpoint(endpoint: str, origin: str) -> tuple[TargetAddress, str]:
    """Return the server of an endpoint, and the path before the bucket. UserError if it is no URL."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme not in DEFAULT_PORTS or not HOST.fullmatch(host) or parts.username or parts.password or parts.query:
        raise UserError(
            f"{origin}: the endpoint is no URL such as http://127.0.0.1:9000 or https://storage.example.com"
        )
    port = port or DEFAULT_PORTS[parts.scheme]
    base = parts.path.rstrip("/")
    return TargetAddress(parts.scheme, host, port, "/", f"{parts.scheme}://{host}:{port}{base}"), base


def read_credentials(origin: str, environment: Mapping[str, str]) -> Credentials:
    access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if not (access_key and secret_key):
        missing = "AWS_SECRET_ACCESS_KEY" if access_key else "AWS_ACCESS_KEY_ID"
        raise UserError(
            f"{origin}: no credentials for S3: {missing} is not set; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            "environment"
        )
    return Credentials(access_key, secret_key, environment.get("AWS_SESSION_TOKEN", ""))

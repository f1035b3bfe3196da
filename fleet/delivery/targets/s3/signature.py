"""The signature of a request to S3: AWS Signature Version 4, as in "Authenticating Requests (AWS Signature Version 4)" of the
Amazon S3 API Reference."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a user. The secret parts are not shown."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A request to sign. `path` and the query are not encoded yet."""

    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def encoded_path(self) -> str:
        return quote(self.path, safe="/-_.~")

    @property
    def encoded_query(self) -> str:
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in self.query.items())
        return "&".join(f"{name}={value}" for name, value in pairs)


def signed_headers(
    request: Request,
    credentials: Credentials,
    region: str,
    now: datetime,
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the headers of the request with its signature; `headers` are further ones to be signed."""
    at = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(request.body).hexdigest()
    signed = {"Host": request.host, "x-amz-content-sha256": digest, "x-amz-date": at, **(headers or {})}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    lines = sorted((name.lower(), value.strip()) for name, value in signed.items())
    names = ";".join(name for name, _ in lines)
    canonical = "\n".join(
        (
            request.method,
            request.encoded_path,
            request.encoded_query,
            *(f"{name}:{value}" for name, value in lines),
            "",
            names,
            digest,
        )
    )
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    text = "\n".join((ALGORITHM, at, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={credentials.access_key}/{scope}"
    return {**signed, "Authorization": f"{ALGORITHM} {credential},SignedHeaders={names},Signature={signature}"}

"""Requests to a bucket: storing, reading and listing objects, and what a refusal means."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError

from fleet.delivery.target import DeliveryFailed, TargetMisconfigured
from fleet.delivery.targets.http.client import HttpTimeouts, classify_error, create_pool, retry_after
from fleet.delivery.targets.retry import RetryableFailure, RetryPolicy
from fleet.delivery.targets.s3.address import BucketAddress
from fleet.delivery.targets.s3.signature import Request, signed_headers
from fleet.escaping import escape, escape_short

RETRYABLE_STATUSES = {408, 429}
RETRYABLE_CODES = {"RequestTimeout", "OperationAborted", "SlowDown"}
CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
MESSAGE = re.compile(rb"<Message>([^<]{1,300})</Message>")

REASONS = {
    "NoSuchBucket": "there is no bucket {bucket!a}",
    "InvalidAccessKeyId": "the access key in AWS_ACCESS_KEY_ID is not known there",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the secret of the access key in AWS_ACCESS_KEY_ID",
    "AccessDenied": "permission denied: the credentials do not allow to {action} in the bucket {bucket!a}",
    "ExpiredToken": "AWS_SESSION_TOKEN has expired",
    "InvalidToken": "AWS_SESSION_TOKEN is not valid",
    "RequestTimeTooSkewed": "the clock of this machine differs too much from that of the server",
    "PermanentRedirect": "the bucket {bucket!a} is in another region than {region!a}{where}: set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket {bucket!a} is in another region than {region!a}{where}: set AWS_REGION",
    "IllegalLocationConstraintException": "the bucket {bucket!a} is in another region than {region!a}{where}: set AWS_REGION",
}
"""What the codes of S3 mean for a user."""

TIMEOUTS = HttpTimeouts()
CONNECTIONS = 4
KEYS_PER_LIST = 1000


class Answer(NamedTuple):
    """A response with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Bucket:
    """A bucket. Its methods raise DeliveryFailed. Names of objects are those below the prefix."""

    def __init__(self, address: BucketAddress, retry: RetryPolicy, now: Callable[[], datetime]) -> None:
        self._address, self._retry, self._now = address, retry, now
        self._pool = create_pool(address.server, TIMEOUTS, CONNECTIONS)

    def put(self, name: str, content: bytes) -> None:
        """Store an object, in place of an earlier one of its name."""
        self._call("PUT", self._address.prefix + name, "write objects", content)

    def read(self, name: str) -> bytes:
        return self._call("GET", self._address.prefix + name, "read objects").body

    def list(self) -> Iterator[str]:
        """List the names of the objects below the prefix."""
        query = {"list-type": "2", "max-keys": str(KEYS_PER_LIST), "prefix": self._address.prefix}
        while True:
            answer = self._call("GET", "", "list objects", query=query)
            try:
                root = ET.fromstring(answer.body)
            except ET.ParseError as error:
                raise self._failure(
                    TargetMisconfigured, "its list of objects is no XML: is it an endpoint of S3?"
                ) from error
            texts = {element.tag.rpartition("}")[2]: element.text or "" for element in root}
            for element in root.iter():
                if element.tag.rpartition("}")[2] == "Key":
                    yield (element.text or "").removeprefix(self._address.prefix)
            if texts.get("IsTruncated") != "true":
                return
            query["continuation-token"] = texts.get("NextContinuationToken", "")

    def close(self) -> None:
        self._pool.close()

    def _call(
        self, method: str, key: str, action: str, body: bytes = b"", query: Mapping[str, str] | None = None
    ) -> Answer:
        return self._retry.call(lambda: self._try(method, key, action, body, query or {}))

    def _try(self, method: str, key: str, action: str, body: bytes, query: Mapping[str, str]) -> Answer:
        address, server = self._address, self._address.server
        standard = server.port == (443 if server.scheme == "https" else 80)
        host = server.host if standard else f"{server.host}:{server.port}"
        request = Request(method, host, f"{address.bucket_path}/{key}", query, body)
        headers = signed_headers(request, address.credentials, address.region, self._now())
        path = request.encoded_path + (f"?{request.encoded_query}" if query else "")
        try:
            response = self._pool.urlopen(
                method, path, body or None, HTTPHeaderDict(headers), retries=False, redirect=False
            )
            answer = Answer(response.status, response.headers, response.data)
        except HTTPError as error:
            failure = classify_error(error, TIMEOUTS)
            raise self._failure(type(failure), f"{server.name}: {failure}") from error
        if answer.status != 200:
            raise self._refusal(answer, action)
        return answer

    def _refusal(self, answer: Answer, action: str) -> DeliveryFailed:
        """The meaning of a response that is no success."""
        found = CODE.search(answer.body)
        code = found[1].decode() if found else ""
        if answer.status >= 500 or answer.status in RETRYABLE_STATUSES or code in RETRYABLE_CODES:
            message = f"{self._address.name}: {self._address.server.name} answered {answer.status} {code}".rstrip()
            return RetryableFailure(message, retry_after(answer.headers))
        if reason := REASONS.get(code):
            region = answer.headers.get("x-amz-bucket-region", "")
            where = f", in {escape_short(region)!a}" if region else ""
            address = self._address
            text = reason.format(bucket=address.bucket, action=action, region=address.region, where=where)
        elif code:
            message_found = MESSAGE.search(answer.body)
            text = f"{answer.status} {code}" + (
                f": {escape(message_found[1].decode(errors='replace'))}" if message_found else ""
            )
        else:
            text = (
                f"{self._address.server.name} answered {answer.status} without a code of S3: is it an endpoint of S3?"
            )
        return self._failure(TargetMisconfigured, text)

    def _failure(self, kind: type[DeliveryFailed], message: str) -> DeliveryFailed:
        return kind(f"{self._address.name}: {message}")

"""The URL and the environment of a bucket, and the signature of a request."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.delivery.targets.s3.address import parse_bucket
from fleet.delivery.targets.s3.signature import Credentials, Request, signed_headers
from fleet.errors import UserError

SECRET = "a-secret-for-the-test"
KEYS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": SECRET}

DOCUMENTED = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
DOCUMENTED_TIME = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("request_", "headers", "signature"),
    [
        (
            Request("GET", "examplebucket.s3.amazonaws.com", "/test.txt"),
            {"Range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Request("PUT", "examplebucket.s3.amazonaws.com", "/test$file.text", body=b"Welcome to Amazon S3."),
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Request("GET", "examplebucket.s3.amazonaws.com", "/", {"prefix": "J", "max-keys": "2"}),
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_documented_signatures(request_: Request, headers: dict[str, str], signature: str) -> None:
    """The examples of the Amazon S3 API Reference."""
    signed = signed_headers(request_, DOCUMENTED, "us-east-1", DOCUMENTED_TIME, headers)

    assert signed["Authorization"].endswith(f",Signature={signature}")
    assert DOCUMENTED.secret_key not in repr(DOCUMENTED)


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("s3://plant/raw/", {}, ("https://s3.us-east-1.amazonaws.com", "plant.s3.us-east-1.amazonaws.com", "", "raw/")),
        (
            "s3:",
            {"S3_BUCKET": "my-bucket", "AWS_REGION": "eu-west-1", "S3_PREFIX": "a/b"},
            ("https://s3.eu-west-1.amazonaws.com", "my-bucket.s3.eu-west-1.amazonaws.com", "", "a/b/"),
        ),
        (
            "s3://my.bucket",
            {},
            ("https://s3.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com", "/my.bucket", "sensor-data/"),
        ),
        ("s3://plant/x?endpoint=http://127.0.0.1:9000", {}, ("http://127.0.0.1:9000", "127.0.0.1", "/plant", "x/")),
        (
            "s3://plant/x",
            {"AWS_ENDPOINT_URL": "https://store.example.com/s3/"},
            ("https://store.example.com:443/s3", "store.example.com", "/s3/plant", "x/"),
        ),
    ],
)
def test_where_a_bucket_is(url: str, variables: dict[str, str], expected: tuple[str, str, str, str]) -> None:
    address, _ = parse_bucket(url, "--to", KEYS | variables)

    assert expected == (address.server.name, address.server.host, address.bucket_path, address.prefix)
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    ("url", "variables", "reason"),
    [
        ("s3:", KEYS, r"--to: 's3:' names no bucket: s3://BUCKET/PREFIX, or s3: with S3_BUCKET and S3_PREFIX"),
        ("s3://A_b/x", KEYS, r"--to: 'A_b' is no name of a bucket: 3 to 63 small letters"),
        ("s3://plant/x", {}, r"no credentials for S3: AWS_ACCESS_KEY_ID is not set"),
        ("s3://plant/x", {"AWS_ACCESS_KEY_ID": "a"}, r"no credentials for S3: AWS_SECRET_ACCESS_KEY is not set"),
        (f"s3://key:{SECRET}@plant/x", KEYS, r"env:NAME or file:PATH"),
        ("s3://plant?endpoint=127.0.0.1:9000", KEYS, r"the endpoint is no URL such as http://127\.0\.0\.1:9000"),
        ("s3://plant?format=csv", KEYS, r"--to: format is 'csv': allowed is batches or jsonl\.gz or parquet"),
        ("s3://plant?format=jsonl.gz&envelope=1", KEYS, r"envelope goes with format=batches"),
        ("s3://plant?region=x", KEYS, r"has the option 'region': allowed are endpoint, format, size, period, envelope"),
    ],
)
def test_what_cannot_work(url: str, variables: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason) as raised:
        open_target(url, TargetOptions(environment=variables))
    assert "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)

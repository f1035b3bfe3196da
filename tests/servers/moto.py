"""A server that speaks the protocol of S3, for tests: moto's, on a port of its own of the loopback interface. It checks
signatures and permissions once it is asked to; without that, any credentials do."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fleet.delivery.targets.s3.signature import Credentials, Request, signed_headers
from tests.servers.program import ServerProgram, find_program, free_port

ANYBODY = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret-for-the-test"}


class ObjectServer(ServerProgram):
    """moto's server. What it stores is in its memory."""

    def __init__(self, folder: Path) -> None:
        port, program = free_port(), find_program("moto_server", "the wheel moto[server]")
        super().__init__([program, "-H", "127.0.0.1", "-p", str(port)], folder / "moto.log", port)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create_bucket(self, name: str) -> None:
        request = Request("PUT", f"127.0.0.1:{self.port}", f"/{name}")
        self._send(
            "PUT", f"/{name}", b"", signed_headers(request, Credentials("a", "b"), "us-east-1", datetime.now(UTC))
        )

    def create_user(self, name: str, *actions: str) -> dict[str, str]:
        """Create a user who may do the actions; returns the environment with the credentials."""
        self._call_iam(Action="CreateUser", UserName=name)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
        if actions:
            self._call_iam(Action="PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
        answer = self._call_iam(Action="CreateAccessKey", UserName=name)
        key, secret = (re.search(f"<{tag}>(.*?)</{tag}>", answer) for tag in ("AccessKeyId", "SecretAccessKey"))
        assert key is not None
        assert secret is not None
        return {"AWS_ACCESS_KEY_ID": key[1], "AWS_SECRET_ACCESS_KEY": secret[1]}

    def check_credentials(self) -> None:
        """Check signatures and permissions from now on."""
        self._send("POST", "/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})

    def _call_iam(self, **fields: str) -> str:
        body = urllib.parse.urlencode({"Version": "2010-05-08", **fields}).encode()
        scope = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request,SignedHeaders=host,Signature=0"
        return self._send("POST", "/", body, {"Authorization": scope})

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> str:
        request = urllib.request.Request(f"{self.endpoint}{path}", body, dict(headers), method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def object_server(folder: Path) -> Iterator[ObjectServer]:
    running = ObjectServer(folder)
    try:
        yield running
    finally:
        running.kill()

"""The requests to a server of line protocol, and what its answers mean."""

from __future__ import annotations

from contextlib import closing

import pytest

from fleet.delivery.target import BatchRejected, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.influx.address import parse_address
from fleet.delivery.targets.influx.server import InfluxTarget, read_credentials
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch
from tests.fleet.delivery.scripted_server import ScriptedResponse, ScriptedServer


def target(url: str, **environment: str) -> InfluxTarget:
    retry = RetryPolicy(attempts=2, sleep=lambda _: None)
    return InfluxTarget(parse_address(url), read_credentials(environment), retry)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ScriptedResponse(200, b"<html>please log in</html>"), TargetMisconfigured),
        (ScriptedResponse(503, b"busy"), TargetUnavailable),
        (ScriptedResponse(302, b"", (("Location", "https://elsewhere/"),)), TargetMisconfigured),
        (ScriptedResponse(422, b'{"message": "too old"}'), BatchRejected),
    ],
)
def test_what_acknowledges_nothing(answer: ScriptedResponse, error: type[Exception]) -> None:
    with (
        ScriptedServer(answer) as server,
        closing(target(server.url.replace("http", "influx"))) as opened,
        pytest.raises(error),
    ):
        opened.deliver(batch(1, 2))


def test_the_request_of_version_2() -> None:
    with ScriptedServer(ScriptedResponse(204, b"")) as server:
        url = f"{server.url.replace('http', 'influx').rstrip('/')}/a%20bucket?version=2&org=mine"
        with closing(target(url, INFLUX_TOKEN="a-token")) as opened:
            assert 2 == len(opened.deliver(batch(1, 3)).accepted)
    (request,) = server.requests
    assert "/api/v2/write?precision=ns&org=mine&bucket=a+bucket" == request.path
    assert ("Token a-token", 2) == (request.headers["Authorization"], len(request.body.splitlines()))


def test_a_token_that_no_header_can_hold() -> None:
    with pytest.raises(UserError, match="environment variable INFLUX_TOKEN: wanted the token alone"):
        read_credentials({"INFLUX_TOKEN": "a\nb"})

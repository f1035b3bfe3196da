"""Responses of an HTTP server that are not retried, and responses of unusual form."""

from __future__ import annotations

import gzip
import json
from contextlib import closing

import pytest

from fleet.delivery.target import BatchRejected, Receipt, TargetMisconfigured
from fleet.delivery.targets.http.credentials import read_credentials
from fleet.delivery.targets.http.target import HttpTarget
from tests.fleet.delivery.delivering import FIRST_ID, delivery_error, retry_without_waiting
from tests.fleet.delivery.scripted_server import ScriptedResponse, ScriptedServer, batch, json_response, key


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """A redirect would send the credentials to another server."""
    moved = f"answered {status} .*; redirects are not followed"
    with (
        ScriptedServer() as other,
        ScriptedServer(ScriptedResponse(status, b"", [("Location", f"{other.url}/in?x=y")])) as server,
    ):
        target = HttpTarget(server.url, read_credentials({"COLLECT_TOKEN": "hush"}), retry=retry_without_waiting())
        with closing(target), pytest.raises(TargetMisconfigured, match=moved) as raised:
            target.deliver(batch(1))

    assert f", to {other.url}/in; " in str(raised.value)
    assert 1 == len(server.requests)
    assert [] == other.requests


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    with ScriptedServer(json_response(status, {"error": "no"})) as server:
        message = delivery_error(server.url, TargetMisconfigured)

    assert message.startswith(f"answered {status} ")
    assert ("COLLECT_TOKEN" in message) == (status in {401, 403})
    assert 1 == len(server.requests)


def test_a_login_page_acknowledges_nothing() -> None:
    page = ScriptedResponse(200, b"<!doctype html><title>Log in</title>", [("Content-Type", "text/html")])
    with ScriptedServer(page) as server:
        message = delivery_error(server.url, TargetMisconfigured)

    assert "answered 200 with a body that is no JSON (text/html): that acknowledges nothing" == message


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as proxy, ScriptedServer() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        HttpTarget(server.url).deliver(batch(1))

    assert [] == proxy.requests
    assert 1 == len(server.requests)


def test_an_answer_is_read_to_a_limit() -> None:
    """The limit grows with the batch, so that a response can list each reading."""
    names = [{"key": key(number), "reason": "x" * 800} for number in range(1, 301)]
    with ScriptedServer(json_response(200, {"rejected": names})) as server:
        assert 300 == len(HttpTarget(server.url).deliver(batch(*range(1, 301))).rejected)
        message = delivery_error(server.url, TargetMisconfigured)

    assert "answered 200 with more than 66560 bytes, which were not read to their end" == message


def test_a_long_page_about_an_error_is_an_error_all_the_same() -> None:
    with ScriptedServer(
        ScriptedResponse(422, b"x" * 1_000_000, [("Content-Type", "text/plain")]), ScriptedResponse()
    ) as server:
        target = HttpTarget(server.url, connections=1)
        with closing(target):
            with pytest.raises(BatchRejected, match="xxx…"):
                target.deliver(batch(1))
            assert Receipt(FIRST_ID) == target.deliver(batch(1))


def test_an_answer_may_be_packed_but_not_to_burst() -> None:
    def answer(body: bytes) -> ScriptedResponse:
        return ScriptedResponse(200, body, [("Content-Encoding", "gzip"), ("Content-Type", "application/json")])

    good = answer(gzip.compress(json.dumps({"accepted": []}).encode()))
    with ScriptedServer(good, answer(gzip.compress(b" " * 50_000_000)), answer(b"no gzip")) as server:
        assert Receipt(frozenset()) == HttpTarget(server.url).deliver(batch(1))
        assert "more than 66560 bytes" in delivery_error(server.url, TargetMisconfigured)
        assert "its answer cannot be read (DecodeError)" == delivery_error(server.url, TargetMisconfigured)

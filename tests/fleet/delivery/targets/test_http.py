"""Delivery to an HTTP server that works."""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fleet.delivery.batch import Batch, TableRows
from fleet.delivery.target import BatchRejected, Receipt, TargetMisconfigured
from fleet.delivery.targets.http.client import HttpTimeouts, parse_address
from fleet.delivery.targets.http.credentials import read_credentials
from fleet.delivery.targets.http.target import HttpTarget
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError
from tests.fleet.delivery.scripted_server import (
    GENERATION,
    SOURCE,
    ScriptedResponse,
    ScriptedServer,
    batch,
    json_response,
    key,
    reading,
)

pytestmark = pytest.mark.claim("000.code-structure.3", "000.collector-script.2")

EPISODES = TableRows(("sensor_id", "first_seq", "channel"), (("KIN_569899", 103, "temperature"),))


def test_a_batch_is_posted_as_other_collectors_do() -> None:
    """Each reading by column name, with its key and its database."""
    sent = batch(1, 2)
    with ScriptedServer() as server:
        assert Receipt(frozenset({1, 2})) == HttpTarget(server.url).deliver(sent)
        (request,) = server.requests

    assert "/api/readings/batch" == request.path
    assert "application/json" == request.headers["Content-Type"]
    assert request.headers["Content-Encoding"] is None
    assert sent.token == request.headers["Idempotency-Key"]
    assert {"readings": sent.documents(), "source_db": "north/KIN_569899.db"} == request.document()
    assert key(1) == request.document()["readings"][0]["key"]


@pytest.mark.parametrize(
    "value", [21.5, -0.0, 1e300, 5e-324, 7, -(2**63), None, 'a "quoted" \\ \n\x00 °C %s', "\ud800", 0.1 + 0.2]
)
def test_any_value_arrives_as_it_is(value: Any) -> None:
    source = replace(SOURCE, name='100 %s "north"', columns=(*SOURCE.columns, "of 100 %"))
    sent = Batch(source, ((*reading(1, value), value),))
    with ScriptedServer() as server:
        HttpTarget(server.url).deliver(sent)

    document = server.requests[0].document()
    assert {"readings": sent.documents(), "source_db": source.name} == document
    assert repr(value) == repr(document["readings"][0]["temperature"])


@pytest.mark.parametrize("path", ["/ingest", "/ingest/", "/a//x", "/a%20b", "/ingest?key=1&b=/", "?key=1"])
def test_a_path_of_ones_own_is_used_as_it_is(path: str) -> None:
    with ScriptedServer() as server:
        HttpTarget(server.url + path).deliver(batch(1))

    assert path.replace("?key=1", "/api/readings/batch?key=1", path.startswith("?")) == server.requests[0].path


def test_episodes_and_epochs_go_along_with_their_generation() -> None:
    sent = Batch(SOURCE, (reading(1),), EPISODES, TableRows(("first_seq", "settings"), ((100, "{}"),)))
    with ScriptedServer() as server:
        HttpTarget(server.url).deliver(sent)

    document = server.requests[0].document()
    assert [{**EPISODES.documents()[0], "generation": GENERATION}] == document["episodes"]
    assert [{"first_seq": 100, "settings": "{}", "generation": GENERATION}] == document["epochs"]


def test_a_batch_of_episodes_alone_is_posted_too() -> None:
    with ScriptedServer() as server:
        assert Receipt(frozenset()) == HttpTarget(server.url).deliver(batch(episodes=EPISODES))

    assert [] == server.requests[0].document()["readings"]
    assert 1 == len(server.requests[0].document()["episodes"])


def test_a_body_may_be_packed() -> None:
    sent = batch(*range(1, 200))
    with ScriptedServer() as server:
        HttpTarget(server.url, gzip=True).deliver(sent)
        HttpTarget(server.url).deliver(sent)
        packed, plain = server.requests

    assert "gzip" == packed.headers["Content-Encoding"]
    assert plain.document() == packed.document()
    assert len(packed.body) < len(plain.body) / 10
    assert plain.headers["Idempotency-Key"] == packed.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.inf, "temperature is inf, for which JSON has no word"),
        (-math.inf, "temperature is -inf, for which JSON has no word"),
        (math.nan, "temperature is nan, for which JSON has no word"),
        (b"\x00\x01", "temperature is 2 bytes of binary data, for which JSON has no word"),
    ],
)
def test_a_reading_that_json_cannot_say_is_rejected_alone(value: Any, message: str) -> None:
    sent = Batch(SOURCE, (reading(1), reading(2, value), reading(3)), EPISODES)
    with ScriptedServer(json_response(200, {"rejected": [key(3)]})) as server:
        receipt = HttpTarget(server.url).deliver(sent)

    assert Receipt(frozenset({1}), 0, {2: message, 3: "no reason was given"}) == receipt
    assert [1, 3] == [one["id"] for one in server.requests[0].document()["readings"]]
    assert 1 == len(server.requests[0].document()["episodes"])


def test_nothing_is_posted_if_nothing_can_be_said() -> None:
    with ScriptedServer() as server:
        receipt = HttpTarget(server.url).deliver(Batch(SOURCE, (reading(1, math.inf),)))

    assert {1} == receipt.rejected.keys()
    assert frozenset() == receipt.accepted
    assert [] == server.requests


def test_an_episode_that_json_cannot_say_keeps_the_batch_back() -> None:
    with ScriptedServer() as server, pytest.raises(BatchRejected, match="among its episodes"):
        HttpTarget(server.url).deliver(batch(1, episodes=TableRows(("parameters",), ((b"x",),))))

    assert [] == server.requests


def test_only_what_the_server_lists_is_acknowledged() -> None:
    answer = json_response(
        200, {"accepted": [key(1)], "duplicates": 1, "rejected": [{"key": key(3), "reason": "too hot"}]}
    )
    with ScriptedServer(answer) as server:
        receipt = HttpTarget(server.url).deliver(batch(1, 2, 3))

    assert Receipt(frozenset({1}), 1, {3: "too hot"}) == receipt


def test_the_headers_of_the_environment_go_along() -> None:
    with ScriptedServer() as server:
        given = read_credentials({"COLLECT_TOKEN": "hush", "COLLECT_HEADERS": "X-Tenant: north\nUser-Agent: mine"})
        HttpTarget(server.url, given).deliver(batch(1))

    headers = server.requests[0].headers
    assert ["Bearer hush"] == headers.get_all("Authorization")
    assert ["north"] == headers.get_all("X-Tenant")
    assert ["mine"] == headers.get_all("User-Agent")


def test_no_secret_is_told_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a token that the server repeats, nor what may be a key in the address."""
    caplog.set_level(logging.DEBUG)
    answers = (
        json_response(500, {"error": "oops, hushhush"}),
        json_response(403, {"error": "not hushhush"}, Bad__Header=""),
    )
    with ScriptedServer(*answers) as server:
        target = HttpTarget(f"{server.url}/in?key=hushhush", read_credentials({"COLLECT_TOKEN": "hushhush"}))
        with pytest.raises(TargetMisconfigured, match=r"answered 403 Forbidden: not \*\*\*") as raised:
            target.deliver(batch(1))

    assert "hushhush" not in str(raised.value) + target.name + caplog.text
    assert str(raised.value).startswith(target.name)


def test_rejections_tell_no_secret() -> None:
    with ScriptedServer(json_response(200, {"rejected": [{"key": key(1), "reason": "hushhush"}]})) as server:
        receipt = HttpTarget(server.url, read_credentials({"COLLECT_TOKEN": "hushhush"})).deliver(batch(1))

    assert {1: "***"} == receipt.rejected


def test_connections_are_used_again() -> None:
    """Also after an answer without a body, and after one that says it went wrong."""
    answers = (
        ScriptedResponse(),
        json_response(422, {"error": "no"}),
        ScriptedResponse(body=b""),
        ScriptedResponse(204, b""),
    )
    with ScriptedServer(*answers) as server:
        target = HttpTarget(server.url)
        target.deliver(batch(1))
        with pytest.raises(BatchRejected):
            target.deliver(batch(2))
        for number in range(3, 6):
            target.deliver(batch(number))
        target.close()

        assert 5 == len(server.requests)
        assert 1 == len({request.connection for request in server.requests})


def test_several_threads_deliver_at_once() -> None:
    """More of them than there are connections; each gets the answer to its own batch."""
    with ScriptedServer() as server:
        target = HttpTarget(server.url, connections=3)
        with ThreadPoolExecutor(8) as threads:
            receipts = list(threads.map(lambda number: target.deliver(batch(number)), range(1, 81)))
        target.close()

        assert [frozenset({number}) for number in range(1, 81)] == [receipt.accepted for receipt in receipts]
        assert 80 == len(server.requests)
        assert 3 >= len({request.connection for request in server.requests})


def test_more_threads_than_connections_wait_for_one_another() -> None:
    """A server that hangs delays them all; none fails for it."""
    with ScriptedServer(ScriptedResponse(hangs=True), ScriptedResponse()) as server:
        target = HttpTarget(
            server.url, connections=1, timeouts=HttpTimeouts(read=0.3), retry=RetryPolicy(stop=threading.Event())
        )
        with ThreadPoolExecutor(4) as threads:
            receipts = list(threads.map(lambda number: target.deliver(batch(number)), range(1, 5)))
        target.close()

    assert [frozenset({number}) for number in range(1, 5)] == [receipt.accepted for receipt in receipts]


def test_a_server_keeps_no_cursor() -> None:
    with ScriptedServer() as server:
        assert HttpTarget(server.url).cursor(GENERATION) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://Host.Example/", "http://host.example/api/readings/batch"),
        ("http://host.example:80", "http://host.example/api/readings/batch"),
        ("https://host.example:8443/in", "https://host.example:8443/in"),
        ("http://[::1]:9/in", "http://[::1]:9/in"),
        ("http://host.example/in?", "http://host.example/in"),
    ],
)
def test_an_address_has_one_name(url: str, named: str) -> None:
    assert named == parse_address(url).name


def test_names_tell_queries_apart_without_telling_them() -> None:
    names = {parse_address(f"http://host.example/in?key={key}").name for key in ("north", "south", "south")}

    assert 2 == len(names)
    assert not any("north" in name or "south" in name for name in names)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://",
            "http:///in",
            "https://:80/",
            "http://host:0",
            "http://host:99999",
            "http://host:x/",
            "ftp://host/",
        ),
        *("http://[::1/", "http://a..b/", f"http://{'a' * 70}/", "host.example/in", ""),
        *("http://exa mple/", "http://exa,mple/", "http://exa\u2028mple/", "http://host /in"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="wanted http://HOST"):
        parse_address(url)


@pytest.mark.parametrize("path", ["in here", "in?a b", "caf\u00e9", "a\x7fb"])
def test_a_path_that_cannot_be_sent_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="is written as %20 or so"):
        parse_address(f"http://host.example/{path}")


@pytest.mark.parametrize("start", ["http://", "https:", "http:/", "http:\\\\", "//", "HTTP://"])
@pytest.mark.parametrize("who", ["me:hush", "hush", ":hush"])
def test_a_password_in_the_address_is_refused_without_telling_it(start: str, who: str) -> None:
    """Any user who lists the processes would see it."""
    with pytest.raises(UserError, match="COLLECT_HEADERS") as raised:
        parse_address(f"{start}{who}@host.example/")

    assert "hush" not in str(raised.value)


def test_an_at_sign_in_the_path_is_no_password() -> None:
    assert "http://host.example/in@place" == parse_address("http://host.example/in@place").name

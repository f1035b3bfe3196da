"""The readings that a server's response acknowledges."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from fleet.delivery.target import BatchRejected, Receipt, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.http.response import HttpResponse, receipt_for
from fleet.delivery.targets.retry import RetryableFailure
from tests.fleet.delivery.scripted_server import batch, key

ALL = frozenset({1, 2, 3})
THREE = batch(1, 2, 3)


def ok(document: Any) -> HttpResponse:
    return HttpResponse(200, "application/json", json.dumps(document).encode())


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_an_empty_body_acknowledges_the_batch(status: int) -> None:
    assert Receipt(ALL) == receipt_for(HttpResponse(status, "text/html"), THREE)
    assert Receipt(ALL) == receipt_for(HttpResponse(status, "", b"\r\n"), THREE)


def test_an_empty_body_that_nobody_declared_empty_is_an_answer_cut_short() -> None:
    with pytest.raises(RetryableFailure, match="cut short"):
        receipt_for(HttpResponse(200, "application/json", ended=False), THREE)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        "fine",
        3,
        True,
        {"accepted": 3},
        {"accepted": 5},
        {"accepted": True, "rejected": 0},
        {"rejected": None},
        {"status": "ok", "errors": [], "success": True, "error": None},
        {"status": 201},
        [{"id": 1, "status": 201}],
        {"readings": [{"id": 1, "status_code": 404, "anomaly_type": "error"}]},
    ],
)
def test_json_acknowledges_the_batch(document: Any) -> None:
    """If it says nothing to the contrary."""
    assert Receipt(ALL) == receipt_for(ok(document), THREE)


@pytest.mark.parametrize(
    ("status", "document", "reason"),
    [
        (200, {"accepted": 1, "duplicates": 1}, "stored 2 of 3 readings by its own count"),
        (200, {"accepted": 2}, "stored 2 of 3 readings by its own count"),
        (200, {"accepted": 0, "duplicates": 0, "rejected": []}, "stored 0 of 3"),
        (200, {"accepted": 1, "rejected": [key(2)]}, "stored 1 of 3"),
        (200, {"success": False, "message": "disk full"}, "reports a failure: disk full"),
        (200, {"ok": False}, "reports a failure"),
        (200, {"errors": ["hot"]}, r'reports a failure: \["hot"\]'),
        (200, {"errors": True, "items": [{"index": {"status": 429}}]}, "reports a failure"),
        (200, {"items": [{"index": {"status": 201}}, {"index": {"status": 400}}]}, "reports a failure"),
        (200, {"failed": 1}, "reports a failure"),
        (200, {"status": "error", "error": "no room"}, "reports a failure: no room"),
        (200, {"success": False, "rejected": [key(2)]}, "reports a failure"),
        (207, [{"id": 1, "status": 201}, {"id": 2, "status": 500}], "reports a failure"),
        (207, {"responses": [{"href": "1", "status": "HTTP/1.1 424 Failed Dependency"}]}, "reports a failure"),
    ],
)
def test_a_body_that_contradicts_the_status_acknowledges_nothing(status: int, document: Any, reason: str) -> None:
    """The batch is bisected; a single reading is no dead letter, but is delivered again later."""
    response = HttpResponse(status, "application/json", json.dumps(document).encode())
    with pytest.raises(BatchRejected, match=f"answered {status}, but {reason}"):
        receipt_for(response, THREE)


def test_a_single_reading_in_doubt_is_left_for_later() -> None:
    receipt = receipt_for(ok({"success": False, "error": "disk full"}), batch(1))

    assert Receipt(frozenset(), doubt="answered 200, but reports a failure: disk full") == receipt


def test_the_count_of_duplicates_is_kept() -> None:
    assert Receipt(ALL, 2) == receipt_for(ok({"accepted": 1, "duplicates": 2}), THREE)
    assert Receipt(ALL) == receipt_for(ok({"duplicates": -2}), THREE)
    assert Receipt(ALL) == receipt_for(ok({"duplicates": [key(1)]}), THREE)


def test_json_needs_no_content_type() -> None:
    assert Receipt(ALL) == receipt_for(HttpResponse(200, "text/plain", b'{"ok": true}'), THREE)


@pytest.mark.parametrize("content_type", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"])
@pytest.mark.parametrize("body", [b"<!doctype html><title>Log in</title>", b"{}"])
def test_html_acknowledges_nothing(content_type: str, body: bytes) -> None:
    with pytest.raises(TargetMisconfigured, match="acknowledges nothing"):
        receipt_for(HttpResponse(200, content_type, body), THREE)


@pytest.mark.parametrize(
    "body", [b"<html>", b"OK", b'{"accepted": [1', b"NaN", b"\xff\xfe", b"[" * 100_000, b"9" * 5000]
)
def test_what_is_no_json_acknowledges_nothing(body: bytes) -> None:
    with pytest.raises(TargetMisconfigured, match="no JSON"):
        receipt_for(HttpResponse(200, "application/json", body), THREE)


@pytest.mark.parametrize(
    "accepted",
    [[key(1), key(3)], [1, 3], [{"key": key(1)}, {"id": 3}], [key(1), 3, "unknown", 77, True, None, 2.0, {}, [2]]],
)
def test_a_list_of_what_was_accepted_narrows_it(accepted: list[Any]) -> None:
    """By key, id or an object with one of them; other entries are ignored."""
    assert Receipt(frozenset({1, 3})) == receipt_for(ok({"accepted": accepted}), THREE)


def test_an_empty_list_of_what_was_accepted_acknowledges_nothing() -> None:
    assert Receipt(frozenset()) == receipt_for(ok({"accepted": []}), THREE)


@pytest.mark.parametrize("entry", [{"key": key(2), "reason": "too \n hot"}, {"id": 2, "error": "too hot"}])
def test_a_list_of_what_was_rejected_accepts_the_others(entry: Any) -> None:
    assert Receipt(frozenset({1, 3}), 0, {2: "too hot"}) == receipt_for(ok({"rejected": [entry]}), THREE)


def test_a_rejection_without_a_reason_says_so() -> None:
    assert {2: "no reason was given"} == receipt_for(ok({"rejected": [key(2)]}), THREE).rejected


def test_what_is_in_neither_of_two_lists_is_not_acknowledged() -> None:
    receipt = receipt_for(ok({"accepted": [key(1)], "rejected": [key(2), "unknown"]}), THREE)

    assert Receipt(frozenset({1}), 0, {2: "no reason was given"}) == receipt


def test_what_is_in_both_lists_is_rejected() -> None:
    assert frozenset({1}) == receipt_for(ok({"accepted": [1, 2], "rejected": [2]}), THREE).accepted


@pytest.mark.parametrize(
    "document",
    [{"rejected": 2}, {"rejected": True}, {"accepted": False}, {"accepted": 1, "rejected": 2}]
    + [{"rejected": [entry]} for entry in ("unknown", 77, None, True, {"reason": "hot"})],
)
def test_a_refusal_of_nobody_knows_what_acknowledges_nothing(document: Any) -> None:
    """The batch is bisected until the reading is known."""
    with pytest.raises(BatchRejected, match="does not name"):
        receipt_for(ok(document), THREE)


def test_a_reading_that_is_there_twice_is_named_twice() -> None:
    assert frozenset({2}) == receipt_for(ok({"rejected": [key(1)]}), batch(1, 1, 2)).accepted


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with pytest.raises(RetryableFailure, match=f"answered {status}") as raised:
        receipt_for(HttpResponse(status, retry_after=7.0), THREE)

    assert 7.0 == raised.value.retry_after
    assert isinstance(raised.value, TargetUnavailable)


@pytest.mark.parametrize(
    "status", [301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 410, 411, 415, 418]
)
def test_what_an_operator_must_fix_is_misconfigured(status: int) -> None:
    with pytest.raises(TargetMisconfigured, match=f"answered {status}"):
        receipt_for(HttpResponse(status, "text/html", b"<html>no</html>"), THREE)


def test_a_redirect_tells_where_to_without_secrets() -> None:
    location = "https://me:pass@other.example/in?key=pass#pass"
    with pytest.raises(
        TargetMisconfigured, match=r"to https://other\.example/in; redirects are not followed"
    ) as raised:
        receipt_for(HttpResponse(307, location=location), THREE)

    assert "pass" not in str(raised.value)


@pytest.mark.parametrize("location", ["", "//[", "?only=query"])
def test_a_redirect_to_nowhere_is_told_all_the_same(location: str) -> None:
    with pytest.raises(TargetMisconfigured, match="to somewhere else"):
        receipt_for(HttpResponse(302, location=location), THREE)


@pytest.mark.parametrize("status", [413, 422])
def test_what_is_too_much_or_unprocessable_is_to_be_split(status: int) -> None:
    with pytest.raises(BatchRejected, match=f"answered {status} .*: seq is taken$"):
        receipt_for(HttpResponse(status, "application/json", b'{"error": "seq is taken"}'), THREE)


def test_400_is_to_be_split_only_if_it_speaks_of_readings() -> None:
    """Without a list any batch would get it, and bisecting would turn every reading into a dead letter."""
    with pytest.raises(BatchRejected, match="hot"):
        receipt_for(
            HttpResponse(400, "application/json", json.dumps({"error": "hot", "rejected": [key(2)]}).encode()), THREE
        )
    with pytest.raises(TargetMisconfigured, match="hot"):
        receipt_for(HttpResponse(400, "application/json", b'{"error": "hot", "rejected": []}'), THREE)


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", b'{"detail": [{"loc": ["body"], "msg": "no"}]}', ': [{"loc": ["body"], "msg": "no"}]'),
        ("application/json", b'{"error": {"code": 7, "message": "no"}}', ": no"),
        ("application/json", b'"no"', ": no"),
        ("application/json", b'{"other": 1}', ""),
        ("text/plain; charset=utf-8", b"no\r\n\x1b[31mway\xff", ": no [31mway\N{REPLACEMENT CHARACTER}"),
        ("text/html", b"<html>no</html>", ""),
        ("application/json", b'{"error": ' * 900 + b"1" + b"}" * 900, None),
        ("application/json", b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}", None),
    ],
)
def test_the_servers_reason_is_told_on_one_line(content_type: str, body: bytes, message: str | None) -> None:
    with pytest.raises(BatchRejected) as raised:
        receipt_for(HttpResponse(422, content_type, body), THREE)

    text = str(raised.value)
    assert text.isprintable()
    assert len(text) < 250
    assert message is None or text == f"answered 422 {HTTPStatus(422).phrase}{message}"


def test_a_long_reason_is_cut() -> None:
    with pytest.raises(BatchRejected) as raised:
        receipt_for(HttpResponse(422, "text/plain", b"no " * 1000), THREE)

    assert len(str(raised.value)) < 250
    assert str(raised.value).endswith("…")


def test_what_is_to_be_hidden_is_in_no_reason() -> None:
    """Also where the end of the line would cut it in two."""
    long = "x" * 195 + "secret"
    document = {"error": long, "rejected": [{"key": key(2), "reason": "secret"}]}

    def hide(text: str) -> str:
        return text.replace("secret", "***")

    with pytest.raises(TargetMisconfigured) as raised:
        receipt_for(HttpResponse(403, "application/json", json.dumps(document).encode()), THREE, hide)
    assert "secr" not in str(raised.value)
    assert {2: "***"} == receipt_for(ok({"rejected": document["rejected"]}), THREE, hide).rejected

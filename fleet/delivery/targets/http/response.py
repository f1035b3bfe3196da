"""The meaning of a server's response to a batch: the readings that it acknowledges, or the kind of failure.

Only the content of a response acknowledges readings: a login page with status 200 has stored nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn, TypeGuard
from urllib.parse import urlsplit

from fleet.delivery.batch import Batch
from fleet.delivery.target import BatchRejected, Receipt, TargetMisconfigured
from fleet.delivery.targets.retry import RetryableFailure

RETRYABLE_STATUSES = {408, 409, 425, 429}
"""The statuses beside 5xx that are retried. Servers with idempotency keys answer 409 while the same request is in progress."""

CONTENT_TOO_LARGE, UNPROCESSABLE = 413, 422

MAX_REASON_CHARACTERS = 200
REASON_KEYS = ("reason", "error", "message", "detail", "title", "errors")
"""The keys under which APIs give a reason, the most specific first."""

MAX_REASON_DEPTH = 3

SUCCESS_KEYS = ("success", "succeeded", "ok")
FAILURE_KEYS = ("error", "errors", "failed", "failures")
FAILURE_STATUS = re.compile(r"(HTTP/\S+ )?[345]\d\d\b|error|fail(ed|ure)?$", re.IGNORECASE)

STATUS_HINTS = {
    401: "COLLECT_TOKEN, COLLECT_HEADERS or a login in the URL say who is asking",
    403: "COLLECT_TOKEN, COLLECT_HEADERS or a login in the URL say who is asking",
    404: "is this the address that takes batches?",
    405: "is this the address that takes batches?",
}

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response. `ended` is False if nothing marks the end of the body, so an empty one may be a broken connection.

    `retry_after` is the Retry-After header in seconds, `location` the Location header.
    """

    status: int
    content_type: str = ""
    body: bytes = b""
    ended: bool = True
    retry_after: float = 0.0
    location: str = ""


def receipt_for(response: HttpResponse, batch: Batch, redact: Redact = str) -> Receipt:
    """The receipt for a batch. Raises RetryableFailure, TargetMisconfigured or BatchRejected.

    `redact` removes secrets from the reasons that the server gives.
    """
    status = response.status
    if 200 <= status < 300:
        return parse_acknowledgement(response, batch, redact)
    message = ": ".join(
        filter(None, (f"answered {status} {status_phrase(status)}".rstrip(), response_reason(response, redact)))
    )
    if status in RETRYABLE_STATUSES or status >= 500:
        raise RetryableFailure(message, response.retry_after)
    if 300 <= status < 400:
        raise TargetMisconfigured(
            f"{message}, to {redact_location(response.location, redact)}; redirects are not followed, give the final address"
        )
    if status in (CONTENT_TOO_LARGE, UNPROCESSABLE) or (status == 400 and names_readings(response)):
        raise BatchRejected(message)
    raise TargetMisconfigured(f"{message} ({STATUS_HINTS[status]})" if status in STATUS_HINTS else message)


def parse_acknowledgement(response: HttpResponse, batch: Batch, redact: Redact = str) -> Receipt:
    """The receipt of a 2xx: an empty or JSON body acknowledges the batch, limited by the lists `accepted` and `rejected`.

    A body that contradicts the status acknowledges nothing: the batch is bisected, and a single reading is left for later.
    """
    everything = frozenset(batch.ids)
    if not response.body.strip():
        if not response.ended:
            raise RetryableFailure("the answer was cut short")
        return Receipt(everything)
    document = parse_json(response)
    if document is None:
        media = media_type(response) or "no content type"
        raise TargetMisconfigured(
            f"answered {response.status} with a body that is no JSON ({media}): that acknowledges nothing"
        )
    if doubt := contradiction(document, len(batch.rows), redact):
        doubt = f"answered {response.status}, but {doubt}"
        if len(batch.rows) > 1:
            raise BatchRejected(doubt)
        return Receipt(frozenset(), doubt=doubt)
    if not isinstance(document, dict):
        return Receipt(everything)
    accepted, rejected, duplicates = (document.get(key) for key in ("accepted", "rejected", "duplicates"))
    safe = entries_by_id(accepted, batch).keys() if isinstance(accepted, list) else everything
    refused = entries_by_id(rejected, batch, redact) if isinstance(rejected, list) else {}
    if not isinstance(accepted, list) and has_unidentified_rejection(accepted, rejected, batch):
        raise BatchRejected(f"answered {response.status}, but refuses readings that it does not name by key or id")
    count = duplicates if is_positive_int(duplicates) else 0
    note = document.get("note")
    return Receipt(
        frozenset(safe) - refused.keys(), count, refused, note=one_line(redact(note)) if isinstance(note, str) else ""
    )


def contradiction(document: Any, sent: int, redact: Redact) -> str:
    """The evidence in the body of a 2xx that not all readings were stored, empty if there is none.

    A list `accepted` is no contradiction, as it names the stored readings; nor is the content of a list `rejected`.
    """
    top = document if isinstance(document, dict) else {}
    if isinstance(top.get("accepted"), list):
        return ""
    lists = [document, *(value for key, value in top.items() if key != "rejected")]
    entries = [entry for value in lists if isinstance(value, list) for entry in value]
    if any(map(reports_failure, nested(top, *entries))):
        return f"reports a failure: {extract_reason(document, redact)}"
    accepted, duplicates, rejected = (top.get(key) for key in ("accepted", "duplicates", "rejected"))
    if type(accepted) is int and not is_positive_int(rejected):
        stored = accepted + (duplicates if is_positive_int(duplicates) else 0)
        refused = len(rejected) if isinstance(rejected, list) else 0
        if stored + refused < sent:
            return f"stored {stored} of {sent} readings by its own count"
    return ""


def nested(*entries: Any) -> Iterator[dict[str, Any]]:
    """The objects among the entries, and the objects in them: Elasticsearch answers {"items": [{"index": {"status": 400}}]}."""
    for entry in entries:
        if isinstance(entry, dict):
            yield entry
            yield from (value for value in entry.values() if isinstance(value, dict))


def reports_failure(entry: dict[str, Any]) -> bool:
    if any(entry.get(key) is False for key in SUCCESS_KEYS) or any(entry.get(key) for key in FAILURE_KEYS):
        return True
    return is_failure_status(entry.get("status"))


def is_failure_status(status: Any) -> bool:
    """Check for a status of HTTP above 2xx, as a number or a text (`HTTP/1.1 424 Failed Dependency`), or a word."""
    if isinstance(status, str):
        return bool(FAILURE_STATUS.match(status))
    return type(status) is int and 300 <= status < 600


def has_unidentified_rejection(accepted: Any, rejected: Any, batch: Batch) -> bool:
    """Check for rejected readings that are not identified."""
    if isinstance(rejected, list):
        known = {*batch.ids, *batch.keys()}
        return any(entry_key(entry) not in known for entry in rejected)
    return accepted is False or rejected is True or is_positive_int(rejected)


def is_positive_int(count: Any) -> TypeGuard[int]:
    return type(count) is int and count > 0


def entries_by_id(entries: list[Any], batch: Batch, redact: Redact = str) -> dict[int, str]:
    """The readings of the batch in a list, by id with the reason. Entries are keys, ids, or objects with one of them."""
    reasons = {entry_key(entry): extract_reason(entry, redact) if isinstance(entry, dict) else "" for entry in entries}
    entries_found = {}
    for number, key in zip(batch.ids, batch.keys(), strict=True):
        if key in reasons or number in reasons:
            entries_found[number] = reasons[key if key in reasons else number] or "no reason was given"
    return entries_found


def entry_key(entry: Any) -> str | int | None:
    """The key or id in an entry. True and False are no ids, although they equal 1 and 0."""
    value = entry.get("key", entry.get("id")) if isinstance(entry, dict) else entry
    return value if type(value) in (str, int) else None


def parse_json(response: HttpResponse) -> Any:
    """The body as JSON; None if it is not JSON or is declared as HTML."""
    if "html" in media_type(response):
        return None
    try:
        document = json.loads(response.body, parse_constant=reject_constant)
    except (ValueError, RecursionError):
        return None
    return "null" if document is None else document


def reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def media_type(response: HttpResponse) -> str:
    return one_line(response.content_type.partition(";")[0].lower())


def names_readings(response: HttpResponse) -> bool:
    """Check that a response lists rejected readings. A 400 without a list means a malformed request: bisecting the batch
    would turn every reading into a dead letter."""
    document = parse_json(response)
    return isinstance(document, dict) and bool(document.get("rejected"))


def response_reason(response: HttpResponse, redact: Redact) -> str:
    """The reason that the server gives, on one line; empty for an HTML page."""
    document = parse_json(response)
    if document is not None:
        return extract_reason(document, redact)
    if media_type(response) == "text/plain":
        return one_line(redact(response.body.decode("utf-8", errors="replace")))
    return ""


def extract_reason(document: Any, redact: Redact) -> str:
    """The reason in a JSON document of unknown structure."""
    for _ in range(MAX_REASON_DEPTH):
        if not isinstance(document, dict):
            break
        document = next((document[key] for key in REASON_KEYS if document.get(key)), "")
    try:
        return one_line(redact(document if isinstance(document, str) else json.dumps(document)))
    except RecursionError:
        return ""


def one_line(text: str) -> str:
    printable = "".join(
        character if character.isprintable() else " " for character in text[: 4 * MAX_REASON_CHARACTERS]
    )
    line = " ".join(printable.split())
    return line if len(line) <= MAX_REASON_CHARACTERS else line[: MAX_REASON_CHARACTERS - 1] + "…"


def redact_location(location: str, redact: Redact) -> str:
    """The Location of a redirect without user, query and fragment, which may be secret."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "somewhere else"
    host = parts.netloc.rpartition("@")[2]
    return one_line(redact(f"{parts.scheme}://{host}{parts.path}" if host else parts.path)) or "somewhere else"


def status_phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""

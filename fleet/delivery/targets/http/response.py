"""What a server's answer to a batch means: which readings it acknowledges, or in what way it failed.

An answer counts for what it says, not for having come: a login page with status 200 has stored nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn, TypeGuard
from urllib.parse import urlsplit

from fleet.delivery.batch import Batch
from fleet.delivery.target import BatchRejected, Receipt, TargetMisconfigured
from fleet.delivery.targets.retry import RetryableFailure

RETRYABLE_STATUSES = {408, 409, 425, 429}
"""With 5xx, what may go well the next time. 409 is how servers that know idempotency keys answer a request that came
again while they were still at work on it."""

CONTENT_TOO_LARGE, UNPROCESSABLE = 413, 422

MAX_REASON_CHARACTERS = 200
REASON_KEYS = ("reason", "error", "message", "detail", "title")
"""Where APIs put it, the most particular first."""
MAX_REASON_DEPTH = 3

STATUS_HINTS = {
    401: "COLLECT_TOKEN or COLLECT_HEADERS say who is asking",
    403: "COLLECT_TOKEN or COLLECT_HEADERS say who is asking",
    404: "is this the address that takes batches?",
    405: "is this the address that takes batches?",
}

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """`ended`: whether the server said where its body ends, so that an empty one is not just a connection that broke.
    `retry_after`: the seconds of its Retry-After; `location`: where it would send us."""

    status: int
    content_type: str = ""
    body: bytes = b""
    ended: bool = True
    retry_after: float = 0.0
    location: str = ""


def receipt_for(answer: HttpResponse, batch: Batch, redact: Redact = str) -> Receipt:
    """What of the batch the answer acknowledges. Raises RetryableFailure, TargetMisconfigured or BatchRejected; `redact` takes out of a reason what
    nobody is to read."""
    status = answer.status
    if 200 <= status < 300:
        return parse_acknowledgement(answer, batch, redact)
    told = ": ".join(
        filter(None, (f"answered {status} {status_phrase(status)}".rstrip(), response_reason(answer, redact)))
    )
    if status in RETRYABLE_STATUSES or status >= 500:
        raise RetryableFailure(told, answer.retry_after)
    if 300 <= status < 400:
        raise TargetMisconfigured(
            f"{told}, to {redact_location(answer.location, redact)}; redirects are not followed, give the final address"
        )
    if status in (CONTENT_TOO_LARGE, UNPROCESSABLE) or (status == 400 and names_readings(answer)):
        raise BatchRejected(told)
    raise TargetMisconfigured(f"{told} ({STATUS_HINTS[status]})" if status in STATUS_HINTS else told)


def parse_acknowledgement(answer: HttpResponse, batch: Batch, redact: Redact = str) -> Receipt:
    """What a 2xx acknowledges: with an empty body or JSON the batch, restrict by lists `accepted` and `rejected`."""
    everything = frozenset(batch.ids)
    if not answer.body.strip():
        if not answer.ended:
            raise RetryableFailure("the answer was cut short")
        return Receipt(everything)
    document = parse_json(answer)
    if document is None:
        what = media_type(answer) or "no content type"
        raise TargetMisconfigured(
            f"answered {answer.status} with a body that is no JSON ({what}): that acknowledges nothing"
        )
    if not isinstance(document, dict):
        return Receipt(everything)
    accepted, rejected, duplicates = (document.get(key) for key in ("accepted", "rejected", "duplicates"))
    safe = entries_by_id(accepted, batch).keys() if isinstance(accepted, list) else everything
    refused = entries_by_id(rejected, batch, redact) if isinstance(rejected, list) else {}
    if not isinstance(accepted, list) and has_unidentified_rejection(accepted, rejected, batch):
        raise BatchRejected(f"answered {answer.status}, but refuses readings that it does not name by key or id")
    count = duplicates if is_positive_int(duplicates) else 0
    return Receipt(frozenset(safe) - refused.keys(), count, refused)


def has_unidentified_rejection(accepted: Any, rejected: Any, batch: Batch) -> bool:
    """Whether something was refused and nobody knows what. A count of what was accepted says nothing: some servers leave
    duplicates out of it."""
    if isinstance(rejected, list):
        known = {*batch.ids, *batch.keys()}
        return any(entry_key(entry) not in known for entry in rejected)
    return accepted is False or rejected is True or is_positive_int(rejected)


def is_positive_int(count: Any) -> TypeGuard[int]:
    return type(count) is int and count > 0


def entries_by_id(entries: list[Any], batch: Batch, redact: Redact = str) -> dict[int, str]:
    """The ids of the batch's readings in a list of keys, of ids, or of objects with one and a reason; with the reasons."""
    reasons = {entry_key(entry): extract_reason(entry, redact) if isinstance(entry, dict) else "" for entry in entries}
    found = {}
    for number, key in zip(batch.ids, batch.keys(), strict=True):
        if key in reasons or number in reasons:
            found[number] = reasons[key if key in reasons else number] or "no reason was given"
    return found


def entry_key(entry: Any) -> str | int | None:
    """What an entry of such a list names a reading by. True and False are no ids, although they equal 1 and 0."""
    value = entry.get("key", entry.get("id")) if isinstance(entry, dict) else entry
    return value if type(value) in (str, int) else None


def parse_json(answer: HttpResponse) -> Any:
    """The body as JSON; None if it is none, or calls itself HTML."""
    if "html" in media_type(answer):
        return None
    try:
        document = json.loads(answer.body, parse_constant=reject_constant)
    except (ValueError, RecursionError):
        return None
    return "null" if document is None else document


def reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def media_type(answer: HttpResponse) -> str:
    return one_line(answer.content_type.partition(";")[0].lower())


def names_readings(answer: HttpResponse) -> bool:
    """400 is said of any request in a wrong form, and taking the batch apart would then end with nothing but dead letters;
    unless it says which readings it means."""
    document = parse_json(answer)
    return isinstance(document, dict) and bool(document.get("rejected"))


def response_reason(answer: HttpResponse, redact: Redact) -> str:
    """What the server says of it, on one line; nothing if that is a page."""
    document = parse_json(answer)
    if document is not None:
        return extract_reason(document, redact)
    if media_type(answer) == "text/plain":
        return one_line(redact(answer.body.decode("utf-8", errors="replace")))
    return ""


def extract_reason(document: Any, redact: Redact) -> str:
    """The reason in a JSON document of an unknown form."""
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
    """An address without what may be a secret in it."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "somewhere else"
    host = parts.netloc.rpartition("@")[2]
    return one_line(redact(f"{parts.scheme}://{host}{parts.path}" if host else parts.path)) or "somewhere else"


def status_phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""

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

from fleet.collection.batch import Batch
from fleet.collection.target import Indigestible, Receipt, Unusable
from fleet.targets.patience import Again

LATER = {408, 409, 425, 429}
"""With 5xx, what may go well the next time. 409 is how servers that know idempotency keys answer a request that came
again while they were still at work on it."""

TOO_MUCH, UNPROCESSABLE = 413, 422

LONGEST_REASON = 200
REASONS = ("reason", "error", "message", "detail", "title")
"""Where APIs put it, the most particular first."""
DEEPEST_REASON = 3

HINTS = {
    401: "COLLECT_TOKEN or COLLECT_HEADERS say who is asking",
    403: "COLLECT_TOKEN or COLLECT_HEADERS say who is asking",
    404: "is this the address that takes batches?",
    405: "is this the address that takes batches?",
}

Hide = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """`ended`: whether the server said where its body ends, so that an empty one is not just a connection that broke.
    `after`: the seconds of its Retry-After; `location`: where it would send us."""

    status: int
    content_type: str = ""
    body: bytes = b""
    ended: bool = True
    after: float = 0.0
    location: str = ""


def judged(answer: Answer, batch: Batch, hide: Hide = str) -> Receipt:
    """What of the batch the answer acknowledges. Raises Again, Unusable or Indigestible; `hide` takes out of a reason what
    nobody is to read."""
    status = answer.status
    if 200 <= status < 300:
        return acknowledged(answer, batch, hide)
    told = ": ".join(filter(None, (f"answered {status} {phrase(status)}".rstrip(), reason(answer, hide))))
    if status in LATER or status >= 500:
        raise Again(told, answer.after)
    if 300 <= status < 400:
        raise Unusable(f"{told}, to {place(answer.location, hide)}; redirects are not followed, give the final address")
    if status in (TOO_MUCH, UNPROCESSABLE) or (status == 400 and speaks_of_readings(answer)):
        raise Indigestible(told)
    raise Unusable(f"{told} ({HINTS[status]})" if status in HINTS else told)


def acknowledged(answer: Answer, batch: Batch, hide: Hide = str) -> Receipt:
    """What a 2xx acknowledges: with an empty body or JSON the batch, narrowed by lists `accepted` and `rejected`."""
    everything = frozenset(batch.ids)
    if not answer.body.strip():
        if not answer.ended:
            raise Again("the answer was cut short")
        return Receipt(everything)
    document = parsed(answer)
    if document is None:
        what = media_type(answer) or "no content type"
        raise Unusable(f"answered {answer.status} with a body that is no JSON ({what}): that acknowledges nothing")
    if not isinstance(document, dict):
        return Receipt(everything)
    accepted, rejected, duplicates = (document.get(key) for key in ("accepted", "rejected", "duplicates"))
    safe = named(accepted, batch).keys() if isinstance(accepted, list) else everything
    refused = named(rejected, batch, hide) if isinstance(rejected, list) else {}
    if not isinstance(accepted, list) and unidentified(accepted, rejected, batch):
        raise Indigestible(f"answered {answer.status}, but refuses readings that it does not name by key or id")
    count = duplicates if positive(duplicates) else 0
    return Receipt(frozenset(safe) - refused.keys(), count, refused)


def unidentified(accepted: Any, rejected: Any, batch: Batch) -> bool:
    """Whether something was refused and nobody knows what. A count of what was accepted says nothing: some servers leave
    duplicates out of it."""
    if isinstance(rejected, list):
        known = {*batch.ids, *batch.keys()}
        return any(name(entry) not in known for entry in rejected)
    return accepted is False or rejected is True or positive(rejected)


def positive(count: Any) -> TypeGuard[int]:
    return type(count) is int and count > 0


def named(entries: list[Any], batch: Batch, hide: Hide = str) -> dict[int, str]:
    """The ids of the batch's readings in a list of keys, of ids, or of objects with one and a reason; with the reasons."""
    reasons = {name(entry): said(entry, hide) if isinstance(entry, dict) else "" for entry in entries}
    found = {}
    for number, key in zip(batch.ids, batch.keys(), strict=True):
        if key in reasons or number in reasons:
            found[number] = reasons[key if key in reasons else number] or "no reason was given"
    return found


def name(entry: Any) -> str | int | None:
    """What an entry of such a list names a reading by. True and False are no ids, although they equal 1 and 0."""
    value = entry.get("key", entry.get("id")) if isinstance(entry, dict) else entry
    return value if type(value) in (str, int) else None


def parsed(answer: Answer) -> Any:
    """The body as JSON; None if it is none, or calls itself HTML."""
    if "html" in media_type(answer):
        return None
    try:
        document = json.loads(answer.body, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    return "null" if document is None else document


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def media_type(answer: Answer) -> str:
    return one_line(answer.content_type.partition(";")[0].lower())


def speaks_of_readings(answer: Answer) -> bool:
    """400 is said of any request in a wrong form, and taking the batch apart would then end with nothing but dead letters;
    unless it says which readings it means."""
    document = parsed(answer)
    return isinstance(document, dict) and bool(document.get("rejected"))


def reason(answer: Answer, hide: Hide) -> str:
    """What the server says of it, on one line; nothing if that is a page."""
    document = parsed(answer)
    if document is not None:
        return said(document, hide)
    if media_type(answer) == "text/plain":
        return one_line(hide(answer.body.decode("utf-8", errors="replace")))
    return ""


def said(document: Any, hide: Hide) -> str:
    """The reason in a JSON document of an unknown form."""
    for _ in range(DEEPEST_REASON):
        if not isinstance(document, dict):
            break
        document = next((document[key] for key in REASONS if document.get(key)), "")
    try:
        return one_line(hide(document if isinstance(document, str) else json.dumps(document)))
    except RecursionError:
        return ""


def one_line(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * LONGEST_REASON])
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


def place(location: str, hide: Hide) -> str:
    """An address without what may be a secret in it."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "somewhere else"
    host = parts.netloc.rpartition("@")[2]
    return one_line(hide(f"{parts.scheme}://{host}{parts.path}" if host else parts.path)) or "somewhere else"


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""

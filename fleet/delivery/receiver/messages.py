"""Messages of a broker as batches: each is a reading, an episode or an epoch, as `fleet up --to` publishes it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet.delivery.batch import NAME_KEY_PREFIX, Batch
from fleet.delivery.columns import ORIGINAL_COLUMNS, is_further_name
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.receiver.uploads import (
    NON_COLUMN_FIELDS,
    BodyTooLarge,
    JsonObject,
    MalformedBody,
    Sender,
    UploadParser,
    generation_error,
    is_valid_generation,
    parse_json,
)
from worker.spec import ColumnType
from worker.storage.schema import FurtherColumn

MAX_MESSAGE_BYTES = 1_000_000

KNOWN_FIELDS = ORIGINAL_COLUMNS | NON_COLUMN_FIELDS
TYPE_NAMES: dict[type, ColumnType] = {float: "REAL", int: "INTEGER", str: "TEXT"}
NUMBERS: frozenset[ColumnType] = frozenset(("REAL", "INTEGER"))

EPISODE_FIELDS, EPOCH_FIELDS = frozenset(EPISODE_COLUMNS), frozenset(EPOCH_COLUMNS)


@dataclass(slots=True)
class ParsedMessages:
    """The batches of some messages, and the reasons for the messages that are in none, one for each."""

    batches: list[Batch] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def parse_messages(payloads: Iterable[bytes | None], sender: str) -> ParsedMessages:
    """Parse messages. `sender` is the source of readings without a generation."""
    parsed = ParsedMessages()
    documents: defaultdict[str, list[JsonObject]] = defaultdict(list)
    for payload in payloads:
        try:
            document = parse_message(payload)
        except MalformedBody as error:
            parsed.damaged.append(str(error))
        else:
            documents[document.get("generation") or name_key(sender)].append(document)
    for key, some in documents.items():
        add_documents(parsed, some, Sender(sender, key))
    return parsed


def parse_message(payload: bytes | None) -> JsonObject:
    """Raises MalformedBody."""
    if not payload:
        raise MalformedBody("it is empty")
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MalformedBody(f"it has {len(payload)} bytes: allowed are {MAX_MESSAGE_BYTES}")
    try:
        document: Any = parse_json(payload)
    except MalformedBody as error:
        raise MalformedBody(str(error).replace("the body", "it", 1)) from None
    if type(document) is not dict:
        raise MalformedBody("it is no JSON object")
    if document.get("generation") is not None and not is_valid_generation(document["generation"]):
        raise MalformedBody(generation_error(document))
    return document


def name_key(sender: str) -> str:
    return NAME_KEY_PREFIX + hashlib.blake2b(sender.encode(), digest_size=8).hexdigest()


def add_documents(parsed: ParsedMessages, documents: Sequence[JsonObject], sender: Sender) -> None:
    """Add the documents of one source. Those that are too much at once are taken in halves."""
    readings = [each for each in documents if not is_history(each)]
    size = sum(map(len, readings)) * 50
    parser = UploadParser(sender, size, further_columns(readings))
    try:
        parser.add_readings(readings)
        episodes = [each for each in documents if each.keys() >= EPISODE_FIELDS]
        epochs = [each for each in documents if each.keys() >= EPOCH_FIELDS]
        parser.add_history("episode", EPISODE_COLUMNS, episodes, parser.episodes)
        parser.add_history("epoch", EPOCH_COLUMNS, epochs, parser.epochs)
        upload = parser.result()
    except BodyTooLarge as error:
        if len(documents) == 1:
            parsed.damaged.append(str(error).replace("the body", "it", 1))
            return
        half = len(documents) // 2
        add_documents(parsed, documents[:half], sender)
        add_documents(parsed, documents[half:], sender)
    else:
        parsed.batches += upload.batches
        parsed.damaged += [f"{each.key or 'a reading'}: {each.reason}" for each in upload.rejected]


def is_history(document: JsonObject) -> bool:
    return document.keys() >= EPISODE_FIELDS or document.keys() >= EPOCH_FIELDS


def further_columns(readings: Sequence[JsonObject]) -> tuple[FurtherColumn, ...]:
    """The columns that kinds of sensor have of their own, with the type of their values: messages do not declare them.

    A column whose values are of several types, or all NULL, is not among them.
    """
    found: defaultdict[str, set[ColumnType | None]] = defaultdict(set)
    for reading in readings:
        for name in reading.keys() - KNOWN_FIELDS:
            if (value := reading[name]) is not None:
                found[name].add(TYPE_NAMES.get(type(value)))
    columns: dict[str, ColumnType | None] = {
        name: "REAL" if types == NUMBERS else next(iter(types)) if len(types) == 1 else None
        for name, types in found.items()
    }
    return tuple(
        FurtherColumn(name, column_type)
        for name, column_type in columns.items()
        if column_type is not None and is_further_name(name)
    )

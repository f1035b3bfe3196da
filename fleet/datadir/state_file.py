"""Load JSON state files into frozen dataclasses, and write them, checking every value against its annotation.

The dataclass is the schema. Its fields may be annotated with `str`, `bool`, `int`, `float`, `Path`, `None`, unions of
these, `Literal`, `tuple`, `Mapping` with text keys, and other dataclasses; `Annotated` with `Bounds` narrows a number,
with `Pattern` a text. A field with a default may be missing from the file. Keys that the dataclass does not have are an
error unless it sets `ignores_unknown_keys`.

To add a state file: a dataclass, and functions that call `load_state` and `save_state`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fleet import atomic_write
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.strict_json import locate, parse_json, raise_json_error, read_text_file, short_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_STATE_FILE_BYTES = 1 << 30
"""A roster of 100,000 sensors has 80 MB."""

MAX_INTEGER = (1 << 62) - 1
"""The largest magnitude of a number without `Bounds`: it fits into 64 bits, and so does the sum of two of them."""

State = TypeVar("State", bound="DataclassInstance")
Decoder = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of an annotated number."""

    least: int = -MAX_INTEGER
    greatest: int = MAX_INTEGER


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that the whole of an annotated text matches. `description` completes "is not ..."."""

    expression: str
    description: str


class InvalidValue(Exception):
    """A value that its field cannot have. `keys` lead to it from the top of the document, `problem` follows its key and
    the value in the message."""

    def __init__(self, value: object, problem: str, *keys: str | int) -> None:
        super().__init__(problem)
        self.value, self.problem, self.keys = value, problem, keys

    def under(self, key: str | int) -> InvalidValue:
        """Return the same error as seen by the container that has the value under `key`."""
        return InvalidValue(self.value, self.problem, key, *self.keys)


class MissingKey(InvalidValue):
    """An object without a key that it needs. `keys` lead to the object."""

    def under(self, key: str | int) -> InvalidValue:
        return MissingKey(self.value, self.problem, key, *self.keys)


def load_state(
    path: Path, kind: type[State], check: Callable[[State], None] = lambda _: None, advice: str = ""
) -> State:
    """Load the file at `path`. `check` may raise InvalidValue for values that do not go together.

    Raises FileNotFoundError, or UserError with file, line, column, key, value and `advice`.
    """
    path.stat()
    try:
        text = read_text_file(path, MAX_STATE_FILE_BYTES)
        document = parse_json(text, path)
    except UserError as error:
        raise UserError(f"{error}{advice}") from None
    try:
        state = decode_object(kind, document)
        check(state)
    except MissingKey as error:
        line, column = locate(text, error.keys)
        raise UserError(f"{path}:{line}:{column}: {error.problem}{advice}") from None
    except InvalidValue as error:
        if not error.keys:
            raise UserError(f"{path}: {short_json(error.value)} {error.problem}{advice}") from None
        raise_json_error(path, text, error.keys, error.value, f"{error.problem}{advice}")
    return state


def save_state(
    path: Path, state: State, check: Callable[[State], None] = lambda _: None, *, sync: bool = False
) -> None:
    """Replace the file at `path` atomically; with `sync`, after it is on the disk. Raises OSError.

    Raises UserError, and keeps the old file, if `load_state` with the same `check` would refuse the new one.
    """
    text = json.dumps(asdict(state), default=str)
    try:
        check(decode_object(type(state), json.loads(text)))
    except InvalidValue as error:
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{escape_short(key)}" for key in error.keys)
        value = "" if isinstance(error, MissingKey) else f"{short_json(error.value)} "
        raise UserError(f"{path}: not written: {place.lstrip('.')}: {value}{error.problem}") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise UserError(f"{path}: not written: a number of thousands of digits") from None
    atomic_write.replace_file(path, text, sync=sync)


def state_document(state: DataclassInstance | None) -> dict[str, Any]:
    """Return a state as it is written to a file, or an empty object for None."""
    return {} if state is None else asdict(state)


def decode_object(kind: type[State], value: object) -> State:
    """Return the dataclass for a JSON object. Raises InvalidValue."""
    if not isinstance(value, dict):
        raise InvalidValue(value, "is not a JSON object")
    decoders, required, ignores_unknown_keys = object_schema(kind)
    found: dict[str, object] = {}
    key = ""
    try:
        for key, item in value.items():
            decode = decoders.get(key)
            if decode is not None:
                found[key] = decode(item)
            elif not ignores_unknown_keys:
                raise InvalidValue(item, "is not a key that is known here")
    except InvalidValue as error:
        raise error.under(key) from None
    for name in required:
        if name not in found:
            raise MissingKey(value, f"{name} is missing")
    return kind(**found)


@cache
def object_schema(kind: type[DataclassInstance]) -> tuple[dict[str, Decoder], tuple[str, ...], bool]:
    """Return the decoder of each field, the fields without a default, and whether other keys are ignored."""
    hints = get_type_hints(kind, include_extras=True)
    decoders = {field.name: decoder_of(hints[field.name]) for field in fields(kind)}
    required = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    return decoders, tuple(required), getattr(kind, "ignores_unknown_keys", False)


def decoder_of(annotation: Any) -> Decoder:
    """Return the function that checks and converts a JSON value for a field with this annotation."""
    make_decoder = DECODERS_BY_ORIGIN.get(get_origin(annotation))
    if make_decoder is not None:
        return make_decoder(*get_args(annotation))
    if isinstance(annotation, type) and is_dataclass(annotation):
        return partial(decode_object, annotation)
    return SCALAR_DECODERS[annotation]


def decode_text(value: object) -> str:
    if type(value) is not str:
        raise InvalidValue(value, "is not a text")
    return value


def decode_bool(value: object) -> bool:
    if type(value) is not bool:
        raise InvalidValue(value, "is not true or false")
    return value


def decode_none(value: object) -> None:
    if value is not None:
        raise InvalidValue(value, "is not null")


def integer_decoder(bounds: Bounds) -> Decoder:
    def decode(value: object) -> int:
        if type(value) is not int or not bounds.least <= value <= bounds.greatest:
            raise InvalidValue(value, f"is not a whole number from {bounds.least} to {bounds.greatest}")
        return value

    return decode


def float_decoder(bounds: Bounds) -> Decoder:
    def decode(value: object) -> float:
        if type(value) not in (int, float) or not bounds.least <= value <= bounds.greatest:  # type: ignore[operator]
            raise InvalidValue(value, f"is not a number from {bounds.least} to {bounds.greatest}")
        return value  # type: ignore[return-value]

    return decode


def narrowed_decoder(annotation: Any, constraint: Bounds | Pattern) -> Decoder:
    if isinstance(constraint, Bounds):
        return {int: integer_decoder, float: float_decoder}[annotation](constraint)
    expression, problem = re.compile(constraint.expression), f"is not {constraint.description}"

    def decode(value: object) -> str:
        if type(value) is not str or not expression.fullmatch(value):
            raise InvalidValue(value, problem)
        return value

    return decode


def literal_decoder(*choices: object) -> Decoder:
    def decode(value: object) -> object:
        if type(value) is not str or value not in choices:
            raise InvalidValue(value, f"is not one of {', '.join(map(str, choices))}")
        return value

    return decode


def union_decoder(*alternatives: Any) -> Decoder:
    """Return a decoder for a union of None with one other type, or of types of which at most one takes a value."""
    decoders = [decoder_of(each) for each in alternatives if each is not NoneType]
    if len(decoders) == 1:
        (decode_other,) = decoders
        return lambda value: None if value is None else decode_other(value)

    def decode(value: object) -> object:
        if value is None and NoneType in alternatives:
            return None
        for decode_one in decoders:
            with suppress(InvalidValue):
                return decode_one(value)
        raise InvalidValue(value, "is not a text or a number")

    return decode


def tuple_decoder(*items: Any) -> Decoder:
    if items[1:] == (...,):
        return list_decoder(decoder_of(items[0]))
    return fixed_list_decoder([decoder_of(item) for item in items])


def list_decoder(decode_item: Decoder) -> Decoder:
    def decode(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise InvalidValue(value, "is not a list")
        return decode_items(value, [decode_item] * len(value))

    return decode


def fixed_list_decoder(decoders: list[Decoder]) -> Decoder:
    def decode(value: object) -> tuple[object, ...]:
        if not isinstance(value, list) or len(value) != len(decoders):
            raise InvalidValue(value, f"is not a list of {len(decoders)} values")
        return decode_items(value, decoders)

    return decode


def decode_items(items: list[object], decoders: list[Decoder]) -> tuple[object, ...]:
    found: list[object] = []
    try:
        for item, decode in zip(items, decoders, strict=True):
            found.append(decode(item))
    except InvalidValue as error:
        raise error.under(len(found)) from None
    return tuple(found)


def mapping_decoder(_key: Any, item: Any) -> Decoder:
    decode_item = decoder_of(item)

    def decode(value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise InvalidValue(value, "is not a JSON object")
        found: dict[str, object] = {}
        key = ""
        try:
            for key, inner in value.items():
                found[key] = decode_item(inner)
        except InvalidValue as error:
            raise error.under(key) from None
        return found

    return decode


SCALAR_DECODERS: Mapping[Any, Decoder] = {
    str: decode_text,
    bool: decode_bool,
    int: integer_decoder(Bounds()),
    float: float_decoder(Bounds()),
    NoneType: decode_none,
    Path: lambda value: Path(decode_text(value)),
}

DECODERS_BY_ORIGIN: Mapping[Any, Callable[..., Decoder]] = {
    Annotated: narrowed_decoder,
    Literal: literal_decoder,
    Union: union_decoder,
    UnionType: union_decoder,
    tuple: tuple_decoder,
    Mapping: mapping_decoder,
}

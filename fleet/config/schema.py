"""The JSON schema of config files as users write them, for editors: with every spelling, every form of a value, and the
meaning of each key.

`json_schema` in `config` describes the canonical shape instead. What no schema can express (values that contradict each
other, names that are not in the catalogue) is left to `fleet config check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from fleet.catalogue.anomalies import OrRangeOfReadings, OrRangeOfSeconds
from fleet.config.config import Config, json_schema
from fleet.config.dialects import (
    KEY_ALIASES,
    KEYS_WITHOUT_EFFECT,
    METRES_PER_DEGREE,
    SHORT_SECTIONS,
    ValueConverter,
    canonical_paths,
    degrees_to_metres,
    flag_to_amplitude,
)
from fleet.config.meanings import MEANINGS
from fleet.config.record_fields import RECORD_SCHEMA
from fleet.config.scenario import MomentSeconds
from fleet.config.sections import AsCountry, AsLower, AsUpper
from fleet.validation.issues import subschema
from fleet.validation.rates import AsRate
from fleet.validation.scalars import AsSeconds, AsShare, Section

Schema = dict[str, Any]
Keys = tuple[str, ...]

STEP = ("scenario", "0")
"""The path of a step of a scenario."""

RECORDS = ("delivery", "records")

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ONE_DURATION = r"\s*([0-9]+(\.[0-9]+)?([dD]|[hH]|[mM]|[sS]|[mM][sS]))+\s*"
DURATION = f"^{ONE_DURATION}$"
END_OF_RANGE = rf"({ONE_DURATION}|\s*[0-9]+(\.[0-9]+)?\s*)"
TEXT_FORMS: tuple[tuple[object, str], ...] = (
    (OrRangeOfSeconds, rf"^{ONE_DURATION}$|^{END_OF_RANGE}\.\.{END_OF_RANGE}$"),
    (OrRangeOfReadings, r"^\s*[0-9]+\s*\.\.\s*[0-9]+\s*$"),
    (AsSeconds, DURATION),
    (MomentSeconds, DURATION),
    (AsShare, r"^[0-9]+(\.[0-9]*)?\s*%$"),
    (AsRate, r"^\s*[0-9]{1,12}\s*/\s*(s|min|h|d)\s*$"),
)
"""The conversions of numbers that accept text, too, and its pattern."""
MORE_PATTERNS: Mapping[Keys, str] = {
    ("simulation", "start"): r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:.*)?$",
    ("logging", "format"): r"%\([a-zA-Z]+\)|^json$",
}
"""Patterns of texts that the program checks by reading them."""
FLAG: Schema = {
    "anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^([yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF])$"}]
}
BOUNDS = ("not", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def file_schema() -> Schema:
    """Return the JSON schema of a config file."""
    schema = section_schema(Config, ())
    title = {"$schema": DIALECT, "title": "A config of fleet", "description": "See `fleet config init`."}
    return {**title, **schema, "$defs": {"record": RECORD_SCHEMA}}


def section_schema(section: type[Section], path: Keys) -> Schema:
    """Return the schema of a section at a canonical path."""
    properties = {name: field_schema(section, name, path) for name in section.model_fields}
    spellings = dict(section_spellings(path))
    for name, (targets, convert) in spellings.items():
        properties[name] = spelling_schema(targets, convert)
    for key, reason in KEYS_WITHOUT_EFFECT.items():
        above, _, name = key.rpartition(".")
        if above == ".".join(path):
            properties[name] = {"description": f"Has no effect: {reason}."}
    result: Schema = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    twice = [{"not": {"type": "object", "required": pair}} for pair in contradictions(spellings, path, section)]
    needs = [
        {"if": {"required": [key], "properties": {key: {"not": {"type": "null"}}}}, "then": {"required": [needed]}}
        for key, needed in section.requires.items()
    ]
    return {**result, "allOf": [*twice, *needs]} if twice or needs else result


def field_schema(section: type[Section], name: str, path: Keys) -> Schema:
    """Return the schema of one key of a section, with its meaning."""
    field, here = section.model_fields[name], (*path, name)
    inner = section_of(field.annotation)
    if here == RECORDS:
        schema = nullable({"type": "object", "additionalProperties": {"$ref": "#/$defs/record"}})
    elif inner is None:
        marks = {id(mark) for mark in (*field.metadata, *marks_of(field.annotation))}
        written = subschema(json_schema(), here)
        if path_in_config(here) in MORE_PATTERNS:
            written = {**written, "pattern": MORE_PATTERNS[here]}
        schema = value_schema(written, marks)
        schema = schema if field.is_required() else nullable(schema)
    elif container_of(field.annotation) is tuple:
        schema = {"type": ["array", "null"], "items": entry_schema(inner, (*here, "0"))}
    elif container_of(field.annotation) is None:
        schema = section_schema(inner, here)
    else:
        schema = {"type": ["object", "null"], "additionalProperties": section_schema(inner, (*here, "*"))}
    if len(here) == 1 and name in SHORT_SECTIONS:
        schema = {"anyOf": [schema, not_null(canonical_schema((name, SHORT_SECTIONS[name][0])))]}
    meaning = meaning_of(here) or " ".join((inner.__doc__ or "").split() if inner else ())
    return {**schema, "description": meaning}


def entry_schema(section: type[Section], path: Keys) -> Schema:
    """Return the schema of an entry of a list of sections, which may be a text where the section has a `short_key`."""
    schema = not_null(section_schema(section, path))
    schema["required"] = [key for key, each in section.model_fields.items() if each.is_required()]
    if not section.short_key:
        return schema
    text = field_schema(section, section.short_key, path)
    limits: Schema = {key: text[key] for key in ("minLength", "maxLength") if key in text}
    return {**schema, **limits, "type": [schema["type"], *text["type"]]}


def meaning_of(path: Keys) -> str:
    """Return the meaning of a key as plain text; a step of a scenario has the keys of a config."""
    meaning = MEANINGS.get(".".join(path)) or MEANINGS.get(".".join(path_in_config(path)), "")
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", meaning)


def section_of(annotation: Any) -> type[Section] | None:
    """Return the model of the section that an annotation contains, such as that of `tuple[Step, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_of(part))), None)


def container_of(annotation: Any) -> Any:
    """Return tuple or Mapping for an annotation that contains one, None for another."""
    origin = get_origin(annotation)
    if origin in (tuple, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return origin
    return next((found for part in get_args(annotation) if (found := container_of(part))), None)


def marks_of(annotation: Any) -> Iterator[object]:
    """Yield the metadata of an annotation and of all its parts."""
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
    for part in get_args(annotation):
        yield from marks_of(part)


def value_schema(schema: Mapping[str, Any], marks: set[int]) -> Schema:
    """Return the schema of what may be written for a value."""
    kind = schema.get("type")
    if "enum" in schema:
        return words_schema(schema["enum"], marks)
    if kind == "array":
        return {"type": "array", "items": value_schema(schema["items"], marks)}
    if kind == "boolean":
        return FLAG
    if kind == "object":
        return {"type": "object", "additionalProperties": nullable(value_schema(schema["additionalProperties"], marks))}
    if kind in ("number", "integer"):
        number = {"type": kind, **{key: schema[key] for key in BOUNDS if key in schema}}
        patterns = [pattern for mark, pattern in TEXT_FORMS if id(mark) in marks]
        return {"anyOf": [number, *({"type": "string", "pattern": each} for each in patterns)]} if patterns else number
    return text_schema(schema, marks)


def words_schema(words: list[Any], marks: set[int]) -> Schema:
    """Return the schema of one of several words, in capitals or not where that does not matter."""
    if {id(AsUpper), id(AsLower)} & marks:
        return {"anyOf": [{"enum": words}, {"type": "string", "pattern": any_case(words)}]}
    return {"enum": words}


def text_schema(schema: Mapping[str, Any], marks: set[int]) -> Schema:
    """Return the schema of a text: numbers and truth values without quotes are text, too."""
    if id(AsCountry) in marks:
        return {"type": "string", "pattern": "^[A-Za-z]{2,3}$"}
    if schema.get("pattern") in MORE_PATTERNS.values():
        return {"type": "string", "pattern": schema["pattern"]}
    limits = {key: schema[key] for key in ("minLength", "maxLength", "pattern") if key in schema}
    if limits.get("pattern", "").startswith("^(/"):
        return {"type": "string", **limits}
    return {"type": ["string", "number", "boolean"], **limits, **({"minimum": 0} if "pattern" in limits else {})}


def any_case(words: list[str]) -> str:
    letters = (("".join(f"[{letter.upper()}{letter.lower()}]" for letter in word)) for word in words)
    return f"^({'|'.join(letters)})$"


def nullable(schema: Schema) -> Schema:
    """Allow a key without a value, which has its default."""
    if "type" in schema and "enum" not in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*kinds, "null"]}
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}


def not_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        return {**schema, "type": kinds if len(kinds) > 1 else kinds[0]}
    return schema


def section_spellings(path: Keys) -> Iterator[tuple[str, tuple[list[Keys], ValueConverter | None]]]:
    """Yield the further spellings in a section: the canonical paths that each means, and the conversion of its value."""
    here = path_in_config(path)
    for name in dict.fromkeys(spelling.rpartition(".")[2] for spelling in KEY_ALIASES):
        targets, convert = canonical_paths((*here, name))
        if targets != [(*here, name)]:
            yield name, ([tuple(map(str, target)) for target in targets], convert)


def path_in_config(path: Keys) -> Keys:
    """Return the path of a key of a step in the config that the step changes."""
    return path[2:] if path[:2] == STEP else path


def spelling_schema(targets: list[Keys], convert: ValueConverter | None) -> Schema:
    """Return the schema of a spelling: that of the key it means, before its value is converted."""
    description = f"Another spelling of {', '.join(map('.'.join, targets))}."
    schema = canonical_schema(targets[0])
    if convert is degrees_to_metres:
        schema = nullable({"type": "number", "minimum": 0, "maximum": schema["maximum"] / float(METRES_PER_DEGREE)})
    elif convert is flag_to_amplitude:
        schema = {"anyOf": [FLAG, {key: value for key, value in schema.items() if key != "description"}]}
    return {**schema, "description": description}


def canonical_schema(path: Keys) -> Schema:
    """Return the schema of the value at a canonical path."""
    section: type[Section] = Config
    for part in path[:-1]:
        if part in section.model_fields:  # and not *, for any channel
            section = section_of(section.model_fields[part].annotation) or section
    return field_schema(section, path[-1], path[:-1])


def contradictions(
    spellings: Mapping[str, tuple[list[Keys], ValueConverter | None]], path: Keys, section: type[Section]
) -> Iterator[list[str]]:
    """Yield the pairs of names in a section that mean the same key."""
    here = path_in_config(path)
    named = [((*here, name), name) for name in section.model_fields]
    named += [(target, name) for name, (targets, _) in spellings.items() for target in targets]
    for at, (target, name) in enumerate(named):
        yield from ([other, name] for earlier, other in named[:at] if earlier == target)

"""The records that YAML describes: the fields of a document, each with the column of a reading that it has.

    device: sensor_id
    ts: timestamp as epoch_ms
    temp_f: temperature from C to F
    site: = north
    position: {lat: latitude, lon: longitude}

The names are those of the document, in objects where there are some. `required` before a column refuses readings without a
value in it; `field named by COLUMN` is the column whose name is in COLUMN; what follows `=` is a constant, as JSON or as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

from fleet.catalogue.catalogue import Catalogue
from fleet.catalogue.signals import nearest_name
from fleet.config.record_conversions import (
    BOOLEAN,
    TIME_FORMS,
    UNIT_ALIASES,
    UNITS,
    Conversion,
    canonical_unit,
    unit_conversion,
    units_of,
)
from fleet.resources import resource_path
from fleet.validation.issues import ConfigIssue, KeyPath, SourceMap, format_value, raise_issues
from fleet.validation.scalars import FieldError
from fleet.validation.yaml_tree import read_yaml
from worker.storage.schema import IDENTITY_COLUMNS, READING_COLUMNS

TIME_COLUMN, BOOLEAN_FORM = "timestamp", "boolean"
FORMS = (*TIME_FORMS, BOOLEAN_FORM)
ALL_UNITS = (*UNITS, *UNIT_ALIASES)
COMPLETE_RECORDS = ("row", "nested")
RECORD_SUFFIXES = (".yaml", ".yml")


def any_of(words: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, words))


NAME = r"(?!(?:true|false|null|required|field)$)[a-z][a-z0-9_]*"
EXPRESSION = (
    rf"^(?:(?:required )?(?:field named by )?{NAME}(?: as (?:{any_of(FORMS)})"
    rf"| from (?:{any_of(ALL_UNITS)}) to (?:{any_of(ALL_UNITS)}))?|=.*)$"
)
"""The pattern of a field. It leaves open whether there is such a column, and two units are of one quantity."""
PARTS = re.compile(
    r"(?P<required>required )?(?P<named>field named by )?(?P<column>\S+)"
    r"(?: as (?P<form>\S+)| from (?P<from>\S+) to (?P<to>\S+))?"
)
USAGE = (
    "is no field of a record, such as `temperature`, `timestamp as epoch_ms`, `temperature from C to F` or `= north`"
)

FieldPath = tuple[str, ...]


class RecordField(NamedTuple):
    """A field of a record at a path. `column` is that of a reading, empty for a `constant`; if it is `named`, it has the name
    of the column instead. `unit` is that of the column, if it is converted to another one."""

    path: FieldPath
    column: str = ""
    named: bool = False
    conversion: Conversion | None = None
    required: bool = False
    unit: str = ""
    constant: object = None


class RecordIssue(NamedTuple):
    path: FieldPath
    message: str


@dataclass(frozen=True, slots=True)
class KnownColumns:
    """The columns that a reading may have, those of them that are channels, and the units of some channels."""

    columns: frozenset[str]
    channels: tuple[str, ...]
    units: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def known_columns(catalogue: Catalogue, units: Mapping[str, tuple[str, ...]] | None = None) -> KnownColumns:
    """Return the columns of every sensor, and those of the kinds in a catalogue. Channels that have no `units` may have any."""
    columns = {"id", "generation", "key", *READING_COLUMNS, *IDENTITY_COLUMNS, *catalogue.channel_names}
    for each in catalogue.types.values():
        columns |= {name for name, _ in each.entry.columns()}
    channels = (*(name for name in READING_COLUMNS if name in catalogue.channel_names), *catalogue.channel_names)
    return KnownColumns(frozenset(columns), tuple(dict.fromkeys(channels)), units or {})


def parse_fields(tree: object, path: FieldPath = ()) -> Iterator[RecordField | RecordIssue]:
    """Yield the fields of a record, or what is wrong with one."""
    if isinstance(tree, Mapping) and tree:
        for name, inner in tree.items():
            yield from parse_fields(inner, (*path, str(name)))
    elif isinstance(tree, str) and path:
        yield parse_field(str(tree), path)
    else:
        what = "has no fields" if isinstance(tree, Mapping) else f"{format_value(tree)} {USAGE}"
        yield RecordIssue(path, what)


def parse_field(text: str, path: FieldPath) -> RecordField | RecordIssue:
    if text.startswith("="):
        return RecordField(path, constant=constant_value(text[1:].strip()))
    found = PARTS.fullmatch(text) if re.search(EXPRESSION, text) else None
    if found is None:
        return RecordIssue(path, f"{format_value(text)} {USAGE}")
    column, form = found["column"], found["form"]
    if form in TIME_FORMS and (column != TIME_COLUMN or found["named"]):
        return RecordIssue(path, f"{format_value(text)}: only {TIME_COLUMN} is a time")
    conversion = TIME_FORMS.get(form) if form != BOOLEAN_FORM else BOOLEAN
    if found["from"]:
        one, other = (UNITS[canonical_unit(name)] for name in (found["from"], found["to"]))
        if one.quantity != other.quantity:
            allowed = ", ".join(units_of(one.quantity))
            return RecordIssue(path, f"{found['from']} does not convert to {found['to']}: allowed is {allowed}")
        conversion = unit_conversion(found["from"], found["to"])
    return RecordField(path, column, bool(found["named"]), conversion, bool(found["required"]), found["from"] or "")


def constant_value(text: str) -> object:
    try:
        return json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return text


def record_issues(tree: object, known: KnownColumns) -> Iterator[RecordIssue]:
    """Yield everything that is wrong with a record."""
    for each in parse_fields(tree):
        if isinstance(each, RecordIssue):
            yield each
        elif each.column and each.column not in known.columns:
            nearest = nearest_name(each.column, tuple(sorted(known.columns)))
            yield RecordIssue(each.path, f"{format_value(each.column)} is no column of a reading; {nearest}")
        else:
            yield from unit_issues(each, known)


def unit_issues(each: RecordField, known: KnownColumns) -> Iterator[RecordIssue]:
    """Yield an issue for a conversion from a unit that the channel does not have in any kind of sensor."""
    units = known.units.get(each.column, ())
    if each.unit and units and canonical_unit(each.unit) not in map(canonical_unit, units):
        yield RecordIssue(each.path, f"{each.column} is in {' or '.join(dict.fromkeys(units))}, not in {each.unit}")


def plain_tree(tree: object) -> object:
    """Return the fields of a record as plain texts. FieldError, which names the field, for what is no field."""
    issue = next((each for each in parse_fields(tree) if isinstance(each, RecordIssue)), None)
    if issue is not None and isinstance(tree, Mapping):
        raise FieldError(".".join(issue.path), issue.message) if issue.path else ValueError(issue.message)
    return plain(tree)


def plain(tree: object) -> object:
    if isinstance(tree, Mapping):
        return {str(name): plain(inner) for name, inner in tree.items()}
    return str(tree) if isinstance(tree, str) else tree


RecordTree = Annotated[dict[str, Any], BeforeValidator(plain_tree), WithJsonSchema({"type": "object"})]
"""The fields of a record as they are in a config."""
RECORD_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "anyOf": [{"type": "string", "pattern": EXPRESSION}, {"$ref": "#/$defs/record"}],
    },
}
"""The schema of a RecordTree, in a schema that has it as the definition `record`."""


def packaged_records() -> dict[str, Path]:
    """Return the files of the records that are shipped with the program, by name."""
    return {path.stem: path for path in sorted(resource_path("records").glob("*.yaml"))}


def read_record(path: Path, known: KnownColumns) -> dict[str, Any]:
    """Read the file of a record. UserError with its place for what is wrong with it."""
    root = read_yaml(path)
    source_map = SourceMap(root)
    tree = source_map.record(root, ())
    raise_issues(list(located(record_issues(tree, known), source_map)))
    return plain(tree)  # type: ignore[return-value]  # a mapping, or there is an issue


def located(issues: Iterator[RecordIssue], source_map: SourceMap, above: KeyPath = ()) -> Iterator[ConfigIssue]:
    for issue in issues:
        yield source_map.issue((*above, *issue.path), issue.message)

"""Issues in a config, each printed as one line: place, key, value, allowed values.

The allowed values are read from the JSON schema of the model, so they are stated in one place only.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from pydantic import ValidationError

from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.validation.scalars import NUMBER, FieldError
from fleet.validation.yaml_tree import Node, PlainScalar, SourceMark

KeyPath = tuple[str | int, ...]
Schema = Mapping[str, Any]
AliasLookup = Callable[[KeyPath], Sequence[str]]


class ConfigIssue(NamedTuple):
    """One thing wrong with a config. `key` is dotted, as written; it is empty if the mark (a flag, a variable)
    identifies the value. A message that takes work is a function, called only if the issue is shown: of thousands of
    issues that is one."""

    mark: SourceMark
    key: str
    message: str | Callable[[], str]

    def __str__(self) -> str:
        message = self.message if isinstance(self.message, str) else self.message()
        return ": ".join(part for part in (str(self.mark), self.key, message) if part)


def in_file_order(issues: Sequence[ConfigIssue]) -> list[ConfigIssue]:
    """Sort issues by their places; those without a line, of flags and variables, come last."""
    return sorted(issues, key=lambda issue: (issue.mark.line == 0, issue.mark))


MAX_ISSUES_LISTED = 100


class ConfigError(UserError):
    """Everything that is wrong with a config. `str(error)` is the first issue in the order of the file, with the number
    of the others."""

    def __init__(self, issues: Sequence[ConfigIssue]) -> None:
        self._issues = in_file_order(issues)
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        super().__init__(f"{self._issues[0]}{more}")

    def lines(self) -> list[str]:
        """Return a line for each issue, at most `MAX_ISSUES_LISTED`, and the number of those left out."""
        lines = list(dict.fromkeys(" ".join(str(issue).split()) for issue in self._issues[:MAX_ISSUES_LISTED]))
        rest = len(self._issues) - MAX_ISSUES_LISTED
        return [*lines, f"and {rest} more"] if rest > 0 else lines


def raise_issues(issues: Sequence[ConfigIssue]) -> None:
    """Raise a ConfigError if there are issues."""
    if issues:
        raise ConfigError(issues)


class SourceMap:
    """The place at which each canonical path of a config was written."""

    def __init__(self, root: Node) -> None:
        self.nodes: dict[KeyPath, Node] = {(): root}

    def record(self, node: Node, path: KeyPath) -> Any:
        """Return the value of the node at `path` without its marks, which are recorded here."""
        self.nodes[path] = node
        if isinstance(node.value, list):
            return [self.record(child, (*path, at)) for at, child in enumerate(node.value)]
        if isinstance(node.value, dict):
            return {key: self.record(child, (*path, key)) for key, child in node.value.items()}
        return node.value

    def nearest(self, path: KeyPath) -> tuple[Node, KeyPath]:
        """Return the node at `path`, or its innermost enclosing section that is written, and the rest of the path."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.nodes:
                return self.nodes[path[:length]], path[length:]
        raise AssertionError("the root is always there")

    def inner_path(self, path: KeyPath, key: str) -> KeyPath:
        """Return the path of a dotted key below `path`; a number in it is that of an entry of a list, if there is one."""
        for part in key.split("."):
            path = (*path, int(part) if part.isdecimal() and (*path, int(part)) in self.nodes else part)
        return path

    def raw_value(self, path: KeyPath, value: object) -> object:
        """Return the scalar at `path` as it was written, before any conversion; `value` if there is none."""
        node = self.nodes.get(path)
        return value if node is None or isinstance(node.value, dict | list | None) else node.value

    def issue(self, path: KeyPath, message: str | Callable[[], str], *, at_key: bool = False) -> ConfigIssue:
        """Return an issue at `path`; if that is not written, at the section it belongs to."""
        node, rest = self.nearest(path)
        mark = node.key_mark if at_key or rest else node.mark
        named = bool(node.key) or mark.line > 0 or not mark.origin
        return ConfigIssue(mark, ".".join(map(str, filter(None, (node.key, *rest)))) if named else "", message)


def model_issues(
    error: ValidationError,
    source_map: SourceMap,
    schema: Schema,
    prefix: KeyPath = (),
    spellings: AliasLookup | None = None,
) -> Iterator[ConfigIssue]:
    """Yield the issues that pydantic found in the values at `prefix`, whose model has `schema`. `spellings` gives
    the further names that the section at a path accepts."""
    for detail in error.errors(include_url=False):
        inner, at_key = detail["loc"], detail["loc"][-1:] == ("[key]",)
        inner = inner[:-1] if at_key else inner
        path = (*prefix, *inner)
        value = format_value(source_map.raw_value(path, detail["input"]))
        reason = detail.get("ctx", {}).get("error")
        if detail["type"] == "extra_forbidden":
            yield source_map.issue(path, partial(unknown_key_message, inner, schema, spellings), at_key=True)
        elif detail["type"] == "missing":
            yield source_map.issue(path, "is missing")
        elif isinstance(reason, FieldError):
            yield source_map.issue(source_map.inner_path(path, reason.key), str(reason))
        elif isinstance(reason, ValueError):
            yield source_map.issue(path, str(reason) if at_key else f"{value} {reason}", at_key=at_key)
        elif detail["type"] == "too_short" and detail["input"]:
            continue  # it is long enough, but for entries that have issues of their own
        elif detail["type"] == "decimal_max_places":
            yield source_map.issue(path, f"{value} has more than {detail['ctx']['decimal_places']} decimal places")
        else:
            yield source_map.issue(path, f"{value} {schema_violation(detail['input'], subschema(schema, inner))}")


def unknown_key_message(path: KeyPath, schema: Schema, spellings: AliasLookup | None) -> str:
    """Suggest the nearest valid name for an unknown key, or the section it belongs to, or list the valid names."""
    name = str(path[-1])
    here = tuple(subschema(schema, path[:-1]).get("properties", {}))
    close = difflib.get_close_matches(name, (*here, *(spellings(path[:-1]) if spellings else ())), n=1)
    if close:
        return f"unknown key; did you mean '{close[0]}'?"
    elsewhere = [key for key in schema_keys(schema) if key.endswith(f".{name}")]
    if elsewhere:
        return f"unknown key; did you mean '{elsewhere[0]}'?"
    return f"unknown key; valid here: {', '.join(here)}" if here else "unknown key"


def schema_violation(value: object, schema: Schema) -> str:
    """Describe how `value` violates `schema`, in words that follow the value."""
    if "enum" in schema or "const" in schema:
        return f"is not one of {', '.join(map(str, schema.get('enum', [schema.get('const')])))}"
    kind = schema.get("type", "")
    if kind == "string" and isinstance(value, str) and "maxLength" in schema:
        return f"is not text of {schema['minLength']} to {schema['maxLength']} characters"
    if kind == "string":
        return f"is not {schema.get('description', 'text')}"
    if kind in ("number", "integer"):
        noun = "a whole number" if kind == "integer" else "a number"
        bounds = describe_range(schema)
        if type(value) in (int, float, Decimal) and bounds:
            noun = ""
        advice = "; remove the quotes" if isinstance(value, str) and is_quoted_number(value) else ""
        return " ".join(filter(None, ("is not", noun, bounds))) + advice
    if kind == "array" and isinstance(value, list | tuple):
        least = schema.get("minItems", 0)
        needed = f"{least}" if schema.get("maxItems") == least else f"{least} or more"
        return f"with {len(value)} entries; {needed} are needed"
    return f"is not {TYPE_NOUNS.get(kind, 'allowed here')}"


TYPE_NOUNS = {"boolean": "true or false", "array": "a list", "object": "a section of keys and values"}


def is_quoted_number(value: str) -> bool:
    return not isinstance(value, PlainScalar) and NUMBER.match(value) is not None


def describe_range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"between {format_number(least)} and {format_number(most)}"
    above = schema.get("exclusiveMinimum")
    parts = [f"above {format_number(above)}"] if above is not None else []
    parts += [f"at least {format_number(least)}"] if least is not None else []
    parts += [f"at most {format_number(most)}"] if most is not None else []
    below = schema.get("exclusiveMaximum")
    parts += [f"below {format_number(below)}"] if below is not None else []
    return " and ".join(parts)


def format_number(value: float) -> str:
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def subschema(schema: Schema, path: KeyPath) -> Schema:
    """Return the part of a schema that describes the value at `path`; empty if there is none."""
    here = resolve_schema(schema, schema)
    for part in path:
        inner = here.get("properties", {}).get(part) or here.get("additionalProperties") or here.get("items")
        here = resolve_schema(inner, schema) if isinstance(inner, Mapping) else {}
    return here


def resolve_schema(schema: Schema, root: Schema) -> Schema:
    """Return a schema without references; of `X or null` the X."""
    while True:
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        elif "anyOf" in schema:
            schema = next(option for option in schema["anyOf"] if option.get("type") != "null")
        else:
            return schema


def schema_keys(root: Schema, path: KeyPath = ()) -> Iterator[str]:
    """Yield every dotted key that a schema names."""
    for name in subschema(root, path).get("properties", {}):
        yield ".".join(map(str, (*path, name)))
        yield from schema_keys(root, (*path, name))


def format_value(value: object) -> str:
    """Format a value for an error message: quoted as in the file, shortened, on one line."""
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    text = escape_short(value)
    return text if text and isinstance(value, PlainScalar) else f"'{text}'"

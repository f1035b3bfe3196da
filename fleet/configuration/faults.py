"""What is wrong with a config, each fault as one line: place, key, value, what is allowed.

What is allowed is read from the JSON schema of the model, so it is said in one place only.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from pydantic import ValidationError

from fleet.configuration.scalars import NUMBER, Misfit
from fleet.configuration.yaml_tree import Mark, Node, Plain
from fleet.errors import UserError
from fleet.quotes import legible

Path = tuple[str | int, ...]
Schema = Mapping[str, Any]
Spellings = Callable[[Path], Sequence[str]]


class Fault(NamedTuple):
    """`key` is dotted, as written; empty where the mark (a flag, a variable) says it all. A message that takes work is
    made when it is shown: of thousands of faults that is one."""

    mark: Mark
    key: str
    message: str | Callable[[], str]

    def __str__(self) -> str:
        message = self.message if isinstance(self.message, str) else self.message()
        return ": ".join(part for part in (str(self.mark), self.key, message) if part)


def refuse(faults: Sequence[Fault]) -> None:
    """Raise the first fault in the order of the file, if there is any, and say how many more there are."""
    if not faults:
        return
    first = min(faults, key=lambda fault: (fault.mark.line == 0, fault.mark))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    raise UserError(f"{first}{more}")


class Index:
    """Where each canonical path of a config was written."""

    def __init__(self, root: Node) -> None:
        self.nodes: dict[Path, Node] = {(): root}

    def plain(self, node: Node, path: Path) -> Any:
        """The value of a node that belongs at `path`, without the marks, which go to the index."""
        self.nodes[path] = node
        if isinstance(node.value, list):
            return [self.plain(child, (*path, at)) for at, child in enumerate(node.value)]
        if isinstance(node.value, dict):
            return {key: self.plain(child, (*path, key)) for key, child in node.value.items()}
        return node.value

    def nearest(self, path: Path) -> tuple[Node, Path]:
        """The node at `path`, or the innermost section of it that is written, and the rest of the path."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.nodes:
                return self.nodes[path[:length]], path[length:]
        raise AssertionError("the root is always there")

    def written(self, path: Path, value: object) -> object:
        """The scalar at `path` as it was written, before any conversion; `value` if there is none."""
        node = self.nodes.get(path)
        return value if node is None or isinstance(node.value, dict | list | None) else node.value

    def fault(self, path: Path, message: str | Callable[[], str], *, at_key: bool = False) -> Fault:
        """A fault at `path`; if that is not written, at the section it belongs to."""
        node, rest = self.nearest(path)
        mark = node.key_mark if at_key or rest else node.mark
        named = bool(node.key) or mark.line > 0 or not mark.origin
        return Fault(mark, ".".join(map(str, filter(None, (node.key, *rest)))) if named else "", message)


def model_faults(
    error: ValidationError,
    index: Index,
    schema: Schema,
    prefix: Path = (),
    spellings: Spellings | None = None,
) -> Iterator[Fault]:
    """The faults that pydantic found in the values at `prefix`, whose model has `schema`; `spellings` are further
    names that the section at a path accepts."""
    for found in error.errors(include_url=False):
        inner, at_key = found["loc"], found["loc"][-1:] == ("[key]",)
        inner = inner[:-1] if at_key else inner
        path = (*prefix, *inner)
        value = shown(index.written(path, found["input"]))
        reason = found.get("ctx", {}).get("error")
        if found["type"] == "extra_forbidden":
            yield index.fault(path, partial(unknown, inner, schema, spellings), at_key=True)
        elif found["type"] == "missing":
            yield index.fault(path, "is missing")
        elif isinstance(reason, Misfit):
            yield index.fault((*path, *reason.key.split(".")), str(reason))
        elif isinstance(reason, ValueError):
            yield index.fault(path, str(reason) if at_key else f"{value} {reason}", at_key=at_key)
        elif found["type"] == "decimal_max_places":
            yield index.fault(path, f"{value} has more than {found['ctx']['decimal_places']} decimal places")
        else:
            yield index.fault(path, f"{value} {misfit(found['input'], at(schema, inner))}")


def unknown(path: Path, schema: Schema, spellings: Spellings | None) -> str:
    """What to say of a key that is not known: the nearest valid name, or where it belongs, or what there is."""
    name = str(path[-1])
    here = tuple(at(schema, path[:-1]).get("properties", {}))
    close = difflib.get_close_matches(name, (*here, *(spellings(path[:-1]) if spellings else ())), n=1)
    if close:
        return f"unknown key; did you mean '{close[0]}'?"
    elsewhere = [found for found in keys(schema) if found.endswith(f".{name}")]
    if elsewhere:
        return f"unknown key; did you mean '{elsewhere[0]}'?"
    return f"unknown key; valid here: {', '.join(here)}" if here else "unknown key"


def misfit(value: object, schema: Schema) -> str:
    """Why `value` is not what `schema` allows, to be read after the value."""
    if "enum" in schema or "const" in schema:
        return f"is not one of {', '.join(map(str, schema.get('enum', [schema.get('const')])))}"
    kind = schema.get("type", "")
    if kind == "string" and isinstance(value, str) and "maxLength" in schema:
        return f"is not text of {schema['minLength']} to {schema['maxLength']} characters"
    if kind == "string":
        return f"is not {schema.get('description', 'text')}"
    if kind in ("number", "integer"):
        noun = "a whole number" if kind == "integer" else "a number"
        bounds = range_of(schema)
        if type(value) in (int, float, Decimal) and bounds:
            noun = ""
        advice = "; remove the quotes" if isinstance(value, str) and is_quoted_number(value) else ""
        return " ".join(filter(None, ("is not", noun, bounds))) + advice
    return f"is not {NOUNS.get(kind, 'allowed here')}"


NOUNS = {"boolean": "true or false", "array": "a list", "object": "a section of keys and values"}


def is_quoted_number(value: str) -> bool:
    return not isinstance(value, Plain) and NUMBER.match(value) is not None


def range_of(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"between {number(least)} and {number(most)}"
    above = schema.get("exclusiveMinimum")
    parts = [f"above {number(above)}"] if above is not None else []
    parts += [f"at least {number(least)}"] if least is not None else []
    parts += [f"at most {number(most)}"] if most is not None else []
    return " and ".join(parts)


def number(value: float) -> str:
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def at(schema: Schema, path: Path) -> Schema:
    """The part of a schema that describes the value at `path`; empty if none does."""
    here = resolved(schema, schema)
    for part in path:
        inner = here.get("properties", {}).get(part) or here.get("additionalProperties") or here.get("items")
        here = resolved(inner, schema) if isinstance(inner, Mapping) else {}
    return here


def resolved(schema: Schema, root: Schema) -> Schema:
    """A schema without references, and of `X or null` the X."""
    while True:
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        elif "anyOf" in schema:
            schema = next(option for option in schema["anyOf"] if option.get("type") != "null")
        else:
            return schema


def keys(root: Schema, path: Path = ()) -> Iterator[str]:
    """Every dotted key that a schema names."""
    for name in at(root, path).get("properties", {}):
        yield ".".join(map(str, (*path, name)))
        yield from keys(root, (*path, name))


def shown(value: object) -> str:
    """A value as it stands in an error: quoted as in the file, shortened, on one line."""
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    text = legible(value)
    return text if text and isinstance(value, Plain) else f"'{text}'"

"""Where each value of a config comes from: the file and line, a variable, a flag, a profile, or nobody said anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fleet.config.config import load_draft, to_yaml, validate_config
from fleet.config.dialects import Draft
from fleet.escaping import escape_short
from fleet.validation.faults import KeyPath
from fleet.validation.yaml_nodes import Node
from fleet.validation.yaml_source import parse_yaml

DEFAULT_ORIGIN = "default"
COMMENT_COLUMN = 44
"""Where the origins stand, behind values that leave them room."""


def yaml_with_origins(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]) -> str:
    """The config of `load_config` as `to_yaml` writes it, with the origin of each value in a comment behind it."""
    draft, catalogue = load_draft(path, environment, overrides)
    text = to_yaml(validate_config(draft, catalogue), max_line_width=float("inf"))
    said = {line: origin_of(draft, keys) for line, keys in value_lines(parse_yaml(text, "config"))}
    lines = enumerate(text.splitlines(), 1)
    return "".join(f"{line:<{COMMENT_COLUMN}}  # {said[at]}\n" if at in said else f"{line}\n" for at, line in lines)


def value_lines(node: Node, path: KeyPath = ()) -> Iterator[tuple[int, KeyPath]]:
    """The line of each value below a node; a list is one."""
    if isinstance(node.value, dict) and (node.value or not path):
        for key, child in node.value.items():
            yield from value_lines(child, (*path, key))
    else:
        yield node.key_mark.line, path


def origin_of(draft: Draft, path: KeyPath) -> str:
    """Where the value at a canonical path comes from, as the user knows it."""
    node = draft.source_map.nodes.get(path)
    if node is not None and node.value is not None:
        mark = node.mark
        return escape_short(f"{mark.origin}:{mark.line}" if mark.line else mark.origin)
    return draft.completions.get(path, DEFAULT_ORIGIN)

"""Where each value of a config comes from: the file and line, a variable, a flag, a profile, or nobody said anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as File

from fleet.configuration.config import checked, completed, to_yaml
from fleet.configuration.dialects import Draft
from fleet.configuration.faults import Path
from fleet.configuration.yaml_source import parse_yaml
from fleet.configuration.yaml_tree import Node
from fleet.quotes import legible

DEFAULT = "default"
COLUMN = 44
"""Where the origins stand, behind values that leave them room."""


def with_origins(path: File | None, environment: Mapping[str, str], overrides: Mapping[str, object]) -> str:
    """The config of `load_config` as `to_yaml` writes it, with the origin of each value in a comment behind it."""
    draft, catalogue = completed(path, environment, overrides)
    text = to_yaml(checked(draft, catalogue), longest_line=float("inf"))
    said = {line: origin(draft, keys) for line, keys in written(parse_yaml(text, "config"))}
    lines = enumerate(text.splitlines(), 1)
    return "".join(f"{line:<{COLUMN}}  # {said[at]}\n" if at in said else f"{line}\n" for at, line in lines)


def written(node: Node, path: Path = ()) -> Iterator[tuple[int, Path]]:
    """The line of each value below a node; a list is one."""
    if isinstance(node.value, dict) and (node.value or not path):
        for key, child in node.value.items():
            yield from written(child, (*path, key))
    else:
        yield node.key_mark.line, path


def origin(draft: Draft, path: Path) -> str:
    """Where the value at a canonical path comes from, as the user knows it."""
    node = draft.index.nodes.get(path)
    if node is not None and node.value is not None:
        mark = node.mark
        return legible(f"{mark.origin}:{mark.line}" if mark.line else mark.origin)
    return draft.completions.get(path, DEFAULT)

"""The spellings of the config: every name a key has had, and the one it has here.

To accept another spelling, add a line to `SPELLINGS`. A `*` stands for any one key; a spelling may sit in another
section than the key it means, and may need its number converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from decimal import Decimal

from fleet.errors import UserError
from fleet.scalars import NUMBER
from fleet.yaml_source import Mark, Node, Plain

Path = tuple[str | int, ...]
Convert = Callable[[Decimal], Decimal]

METRES_PER_DEGREE = Decimal("111195")  # of latitude, on a sphere of 6371.0 km


def as_written(number: Decimal) -> Decimal:
    return number


def hours_to_seconds(number: Decimal) -> Decimal:
    return number * 3600


def degrees_to_metres(number: Decimal) -> Decimal:
    return number * METRES_PER_DEGREE


SPELLINGS: Mapping[str, tuple[str, Convert]] = {
    "config_reload": ("dynamic_reload", as_written),
    "dynamic_reloading": ("dynamic_reload", as_written),
    "dynamic_reload.check_interval": ("dynamic_reload.check_interval_seconds", as_written),
    "location": ("random_location", as_written),
    "random_location.use_random": ("random_location.enabled", as_written),
    "random_location.coordinate_variation": ("random_location.gps_variation", degrees_to_metres),
    "simulation.run_time_seconds": ("simulation.duration_seconds", as_written),
    "simulation.runtime_seconds": ("simulation.duration_seconds", as_written),
    "simulation.duration": ("simulation.duration_seconds", as_written),
    "simulation.batch_interval": ("database.batch_interval", as_written),
    "normal_parameters.*.min_value": ("normal_parameters.*.min", as_written),
    "normal_parameters.*.max_value": ("normal_parameters.*.max", as_written),
    "anomalies.types.*.probability": ("anomalies.types.*.weight", as_written),
    "anomalies.types.noise.factor": ("anomalies.types.noise.noise_factor", as_written),
    "database.backup_enabled": ("database.backup.enabled", as_written),
    "database.backup_interval": ("database.backup.interval", as_written),
    "database.backup_interval_hours": ("database.backup.interval", hours_to_seconds),
    "database.backup_path": ("database.backup.path", as_written),
    "database.backup.interval_hours": ("database.backup.interval", hours_to_seconds),
    "logging.console_output": ("logging.console", as_written),
}


@dataclass(slots=True)
class Draft:
    """A config under way: plain values in the canonical shape, and for each path the node it came from."""

    values: dict[str, object] = field(default_factory=dict)
    nodes: dict[Path, Node] = field(default_factory=dict)

    def nearest(self, path: Path) -> tuple[Node, Path]:
        """The node at `path` or at the innermost section of it that is written, and where that is."""
        while path and path not in self.nodes:
            path = path[:-1]
        return self.nodes.get(path, NOWHERE), path


NOWHERE = Node(None, Mark(""), Mark(""), "")


def canonical(root: Node) -> tuple[Draft, list[str]]:
    """The file in the canonical shape, and one line for each key that is written in two spellings."""
    draft = Draft(nodes={(): root})
    if not isinstance(root.value, dict):
        raise UserError(f"{root.mark}: the file is not a mapping of sections; it begins with {shown(root)}")
    return draft, list(settle(root, (), draft))


def settle(section: Node, path: Path, draft: Draft) -> Iterator[str]:
    """Put the entries of one section where they belong; `path` is the section's canonical one."""
    assert isinstance(section.value, dict)
    for key, node in section.value.items():
        target, convert = meaning((*path, key))
        first = draft.nodes.get(target)
        if first is not None and first is not NOWHERE:
            yield f"{node.key_mark}: {node.key}: says the same as {first.key} on line {first.key_mark.line}; keep one"
            continue
        draft.nodes[target] = node
        if isinstance(node.value, dict):
            place(draft.values, target, {}, keep=True)
            yield from settle(node, target, draft)
        else:
            place(draft.values, target, value_of(node, target, draft, convert), keep=False)


def meaning(path: Path) -> tuple[Path, Convert]:
    """The canonical path of a key, and how its number is converted."""
    for pattern in (path, *((*path[:place], "*", *path[place + 1 :]) for place in range(1, len(path) - 1))):
        found = SPELLINGS.get(".".join(map(str, pattern)))
        if found is not None:
            names = found[0].split(".")
            return tuple(path[at] if name == "*" else name for at, name in enumerate(names)), found[1]
    return path, as_written


def place(values: dict[str, object], path: Path, value: object, *, keep: bool) -> None:
    """Set the value at a path, making the sections above it; `keep` leaves a section that is there already."""
    here: MutableMapping[str, object] = values
    for key in path[:-1]:
        inner = here.get(str(key))
        if not isinstance(inner, dict):
            inner = here[str(key)] = {}
        here = inner
    if not (keep and isinstance(here.get(str(path[-1])), dict)):
        here[str(path[-1])] = value


def value_of(node: Node, path: Path, draft: Draft, convert: Convert = as_written) -> object:
    """The plain value of a scalar, a list or, inside a list, a mapping; its parts are noted in the draft."""
    draft.nodes[path] = node
    if isinstance(node.value, list):
        return [value_of(child, (*path, index), draft) for index, child in enumerate(node.value)]
    if isinstance(node.value, dict):
        return {key: value_of(child, (*path, key), draft) for key, child in node.value.items()}
    if convert is not as_written and isinstance(node.value, Plain) and NUMBER.match(node.value):
        return Plain(convert(Decimal(node.value)))
    return node.value


def shown(node: Node) -> str:
    """A value as it stands in an error: quoted as in the file, shortened, on one line."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    text = node.value if len(node.value) <= 60 else f"{node.value[:57]}..."
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if isinstance(node.value, Plain) else f"'{text}'"

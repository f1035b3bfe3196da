"""The records of a config: those that its targets name, and the files that describe them.

The fields of a file become a record of the config, named after the path of the file. The config needs no file from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fleet.catalogue.catalogue import Catalogue
from fleet.config.catalogue_checks import file_problem
from fleet.config.dialects import Draft
from fleet.config.record_fields import (
    COMPLETE_RECORDS,
    RECORD_SUFFIXES,
    known_columns,
    located,
    packaged_records,
    record_issues,
)
from fleet.validation.issues import ConfigIssue, KeyPath, format_value
from fleet.validation.yaml_tree import read_yaml

RECORDS: KeyPath = ("delivery", "records")


def resolve_records(draft: Draft, folder: Path) -> Iterator[ConfigIssue]:
    """Read the files of records that targets name. Yield an issue for each that does not exist, and each unknown record."""
    targets, own = draft.get(("delivery", "to")), draft.get(RECORDS)
    known = {*COMPLETE_RECORDS, *packaged_records(), *(own if isinstance(own, dict) else ())}
    for number, target in enumerate(targets if isinstance(targets, list) else ()):
        name = target.get("record") if isinstance(target, dict) else None
        if not isinstance(name, str) or not name.isprintable() or name in known:
            continue
        path = ("delivery", "to", number, "record")
        if Path(name).suffix in RECORD_SUFFIXES:
            yield from read_record_file(draft, folder, path, target)
        else:
            allowed = f"allowed is {', '.join(sorted(known))}, or a file that ends in .yaml"
            yield draft.source_map.issue(path, f"{format_value(name)} is no record: {allowed}")


def read_record_file(draft: Draft, folder: Path, path: KeyPath, target: dict[str, Any]) -> Iterator[ConfigIssue]:
    name = target["record"]
    node, _ = draft.source_map.nearest(path)
    candidates = list(dict.fromkeys([folder / name, Path.cwd() / name] if node.mark.line else [Path.cwd() / name]))
    file = next((candidate for candidate in candidates if not file_problem(candidate)), candidates[0])
    if reason := file_problem(file):
        looked_for = " and ".join(map(str, candidates))
        yield draft.source_map.issue(path, f"{format_value(name)} {reason} (looked for {looked_for})")
        return
    target["record"] = str(file)
    if draft.get((*RECORDS, str(file))) is None:
        draft.set_node((*RECORDS, str(file)), read_yaml(file))


def record_column_issues(
    records: Mapping[str, dict[str, Any]],
    units: Mapping[str, tuple[str, ...]],
    draft: Draft,
    catalogue: Catalogue,
) -> Iterator[ConfigIssue]:
    """Yield an issue for each column in a record that no reading has, or that has other `units`."""
    known = known_columns(catalogue, units) if records else None
    for name, tree in records.items():
        if name in (*COMPLETE_RECORDS, *packaged_records()):
            yield draft.source_map.issue((*RECORDS, name), "is the name of a record of the program", at_key=True)
        if known is not None:
            yield from located(record_issues(tree, known), draft.source_map, (*RECORDS, name))

"""The files of kinds of sensor that a config names.

A kind may be named by its file wherever a kind is named: `sensor.type`, `replicas.kinds`, `kinds`. The file is added to
`kinds`, and the name of the kind, which is that of the file without `.yaml`, takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fleet.config.catalogue_checks import file_problem
from fleet.config.dialects import Draft
from fleet.validation.issues import ConfigIssue, KeyPath, format_value
from fleet.validation.yaml_tree import PlainScalar

KIND_SUFFIXES = (".yaml", ".yml")


def resolve_kinds(draft: Draft, folder: Path) -> Iterator[ConfigIssue]:
    """Resolve the files of kinds against the folder of the config, or else the current one; those that a flag names
    against the current one. Yield an issue for each that does not exist."""
    files = KindFiles(draft, folder)
    files.resolve_list()
    files.resolve_type()
    files.resolve_weights()
    if files.paths and isinstance(draft.get(("kinds",)), list | None):
        draft.set_value(("kinds",), files.paths)
    yield from files.issues


class KindFiles:
    """The files that a draft names; `paths` are those that are found, and what is no path."""

    def __init__(self, draft: Draft, folder: Path) -> None:
        self._draft, self._folder = draft, folder
        self.paths: list[object] = []
        self.issues: list[ConfigIssue] = []

    def resolve_list(self) -> None:
        stated = self._draft.get(("kinds",))
        for number, name in enumerate(stated if isinstance(stated, list) else ()):
            is_path = isinstance(name, str) and name.isprintable()
            self.paths.append(self._resolve(("kinds", number), name) if is_path else name)

    def resolve_type(self) -> None:
        path = ("sensor", "type")
        if self._draft.get(path) is not None:
            self._draft.set_value(path, self._kind_name(path, self._draft.get(path)))

    def resolve_weights(self) -> None:
        path = ("replicas", "kinds")
        weights = self._draft.get(path)
        if not isinstance(weights, dict):
            return
        if not weights:
            message = "is empty; name a kind with its weight, such as pipeline: 1, or leave the key out"
            self.issues.append(self._draft.source_map.issue(path, message))
            return
        named: dict[str, object] = {}
        for name, weight in weights.items():
            kind = str(self._kind_name((*path, name), name))
            if kind in named:
                self.issues.append(self._draft.source_map.issue((*path, name), f"{kind} is there twice", at_key=True))
            named[kind] = weight
        self._draft.set_value(path, named)
        if self._draft.get(("sensor", "type")) is None:
            self._draft.complete(("sensor", "type"), next(iter(named)), "the first of replicas.kinds")

    def _kind_name(self, path: KeyPath, name: object) -> object:
        """Return the name of the kind that is named at `path`."""
        if not isinstance(name, str) or not name.isprintable() or Path(name).suffix not in KIND_SUFFIXES:
            return name
        file = self._resolve(path, name)
        if file not in self.paths:
            self.paths.append(file)
        return PlainScalar(Path(file).stem)

    def _resolve(self, path: KeyPath, name: str) -> str:
        """Return the path of a file of a kind, or of a folder of them, that is named at `path`."""
        node, _ = self._draft.source_map.nearest(path)
        folders = [self._folder, Path.cwd()] if node.mark.line else [Path.cwd()]
        candidates = list(dict.fromkeys(folder / name for folder in folders))
        found = next((each for each in candidates if each.is_dir() or not file_problem(each)), candidates[0])
        reason = "" if found.is_dir() else file_problem(found)
        if reason:
            looked_for = " and ".join(map(str, candidates))
            message = f"{format_value(name)} {reason} (looked for {looked_for})"
            self.issues.append(self._draft.source_map.issue(path, message, at_key=path[:1] == ("replicas",)))
        return str(found)

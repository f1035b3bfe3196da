"""Hot reload: watch the config, catalogue and identity files, and apply changes while the fleet runs.

A changed file is validated as at a start. One with an error changes nothing, and the error is reported with its place
until it is corrected.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleet.catalogue.catalogue import Catalogue, kind_files
from fleet.config.config import Config, load_config, read_draft
from fleet.config.differences import (
    apply_reloadable,
    catalogue_differences,
    config_differences,
    identity_differences,
)
from fleet.config.sections import DynamicReload
from fleet.datadir.reload_report import ReloadReport
from fleet.errors import UserError
from fleet.identities.files import StoredIdentity, identity_files, read_identity
from fleet.runtime.planner import Planner
from fleet.runtime.reconciler import Reconciler
from fleet.runtime.watched_files import WatchedFiles

log = logging.getLogger("reload")

CONFIG_KEY = None
"""The key of the config and its catalogue among the files that cannot be applied."""

LAYOUT_KEYS = frozenset(("replicas.database", "replicas.sensors_per_worker"))
"""The keys that determine the layout together."""

MAX_CHANGES_LISTED = 20
"""Changes of one reload that are listed; the others are counted."""


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The source of a config: a file (None for the packaged one), overridden by the environment and the flags. `continued`
    are values of the last run on the data directory, for keys that none of these state."""

    path: Path | None
    environment: Mapping[str, str]
    overrides: Mapping[str, object]
    continued: Mapping[str, object] = field(default_factory=dict)

    def load(self) -> Config:
        return load_config(self.path, self.environment, {**self.continued_values(), **self.overrides})

    def continued_values(self) -> Mapping[str, object]:
        """Return the values of the last run that apply. Raises UserError."""
        if not self.continued:
            return {}
        draft = read_draft(self.path, self.environment, self.overrides) if self.path else None
        stated = {key for key in self.continued if draft and draft.get(tuple(key.split("."))) is not None}
        stated |= {key for key, value in self.overrides.items() if value is not None}
        if stated & LAYOUT_KEYS:
            stated |= LAYOUT_KEYS
        if (draft and draft.get(("sensor", "type")) is not None) or self.environment.get("SENSOR_TYPE"):
            stated.add("replicas.kinds")
        return {key: value for key, value in self.continued.items() if key not in stated}

    def __str__(self) -> str:
        return str(self.path or "the packaged fleet.yaml")


def check_columns(before: Catalogue, after: Catalogue, source: Path | None) -> None:
    """Raise UserError if the readings of a kind would have other columns, which running sensors do not take."""
    for name, kind in before.types.items():
        if name in after.types and set(kind.entry.columns()) != set(after.types[name].entry.columns()):
            raise UserError(f"{source}: the columns of {name} sensors change, which needs a restart of the fleet")


def is_watchable(path: Path) -> bool:
    """Whether a file can be read again: it is a regular one, or missing. A pipe is empty after the first reading."""
    return path.is_file() or not path.exists()


def watched_identities(folder: Path, config: DynamicReload) -> WatchedFiles:
    """Watch the identity files, if the config asks for it. To be called before they are read, so that no edit is missed."""
    files: list[Path] = []

    def list_files() -> Iterable[Path]:
        try:
            files[:] = identity_files(folder)
        except UserError as error:  # the files are not deleted, only unreadable at present
            log.warning("%s", error)
        return files

    return WatchedFiles(list_files if config.enabled and config.watch_identity else tuple)


class Reloader:
    """Applies changed files when called, twice per check interval, by the supervisor's loop. `identities` come from
    `watched_identities`; the report is written to `report_file`."""

    def __init__(
        self, source: ConfigSource, reconciler: Reconciler, identities: WatchedFiles, report_file: Path
    ) -> None:
        self._source, self._reconciler, self._identities, self._file = source, reconciler, identities, report_file
        self._loaded = reconciler.planner.config
        self._problems: dict[Path | None, str] = {}
        self._refused: set[Path | None] = set()
        self._members = self._member_ids()
        self.report = ReloadReport()
        self._watched_config = source.path if source.path and is_watchable(source.path) else None
        # They were read before the run was prepared, and may have changed or gone since: they are read once more.
        self._configs = WatchedFiles(self._config_files, report_existing=True)
        self._folder = reconciler.planner.identities
        self.report.write(self._file)

    def __call__(self) -> None:
        configs, identities = self._configs.changed(), self._identities.changed()
        if (
            self._members != self._member_ids()
        ):  # what was wrong about a file may have been that its sensor was left out
            self._members = self._member_ids()
            identities = sorted(
                {*identities, *(path for path in self._problems if path not in (CONFIG_KEY, self._folder))}
            )
        if not self._reconciler.accepts_changes or not (configs or identities):
            return
        # Refused changes are tried again together with the new ones, which may have made them possible.
        again, self._refused = self._refused, set()
        self._problems.pop(self._folder, None)
        planner = self._read_config() if configs or CONFIG_KEY in again else self._reconciler.planner
        paths = sorted({*identities, *(path for path in again if path is not CONFIG_KEY)})
        edited = self._read_identities(paths, planner)
        self._apply(planner, edited, paths)
        config = self._reconciler.planner.config
        pending = tuple(
            str(difference) for difference in config_differences(apply_reloadable(config, self._loaded), self._loaded)
        )
        problems = tuple(dict.fromkeys(self._problems.values()))
        self._publish_report(replace(self.report, needs_restart=pending, problems=problems))

    def _config_files(self) -> list[Path]:
        """Return the config file, and the catalogue and the kinds of sensor that it names."""
        config = self._reconciler.planner.config
        if self._watched_config is None or not config.dynamic_reload.watch_config:
            return []
        catalogue = [Path(config.catalogue)] if config.catalogue else []
        return [self._watched_config, *catalogue, *kind_files(config.kinds)]

    def _read_config(self) -> Planner:
        """Return a planner with the reloadable part of the files, or the present one if they cannot be read or are equal."""
        planner, path = self._reconciler.planner, self._source.path
        self._problems.pop(CONFIG_KEY, None)
        try:
            if path and not path.exists():
                raise UserError(f"{path}: is gone; the fleet goes on as it was")
            for file in self._config_files():
                if not is_watchable(file):
                    raise UserError(f"{file}: is no longer a regular file; the fleet goes on as it was")
            self._loaded = self._source.load()
            other = planner.with_config(apply_reloadable(planner.config, self._loaded))
            check_columns(planner.catalogue, other.catalogue, path)
        except UserError as error:
            self._report_problem(CONFIG_KEY, str(error))
            return planner
        same = (other.config, other.catalogue) == (planner.config, planner.catalogue)
        return planner if same else other

    def _read_identities(self, paths: Sequence[Path], planner: Planner) -> dict[str, StoredIdentity]:
        """Return the identities that are new and valid, by sensor id."""
        known = {sensor.sensor_id: sensor for sensor in self._reconciler.plan.stored}
        edited = {}
        for path in paths:
            self._problems.pop(path, None)
            try:
                sensor = self._read_identity(path, known)
                if sensor is not None:
                    planner.check(sensor)
                    self._check_kind(path, planner, known[sensor.sensor_id], sensor)
            except UserError as error:
                self._report_problem(path, str(error))
                continue
            if sensor is not None and sensor != known[sensor.sensor_id]:
                edited[sensor.sensor_id] = sensor
        return edited

    @staticmethod
    def _check_kind(path: Path, planner: Planner, before: StoredIdentity, after: StoredIdentity) -> None:
        """Raise UserError for another kind or variant of a sensor, whose readings would have other columns."""
        kind, other = planner.kind_of(before), planner.kind_of(after)
        if kind != other:
            raise UserError(
                f"{path}: {after.sensor_id} is of the kind {' '.join(filter(None, kind))}, not "
                f"{' '.join(filter(None, other))}: a sensor that runs keeps its kind; restart the fleet"
            )

    def _member_ids(self) -> frozenset[str]:
        return frozenset(sensor.sensor_id for sensor in self._reconciler.plan.stored)

    def _read_identity(self, path: Path, known: Mapping[str, StoredIdentity]) -> StoredIdentity | None:
        """Read an identity file, None if it is deleted and was not that of a sensor of this fleet."""
        if not path.exists():
            if path.stem in known:
                raise UserError(f"{path}: is gone; {path.stem} goes on as it was")
            return None
        sensor = read_identity(path)
        if sensor.sensor_id not in known:
            if path.stem not in known and sensor.sensor_id in dict(self._reconciler.plan.record.sensors):
                return None  # left out by `fleet scale`: the file is read when it is back
            raise UserError(
                f"{path}: {sensor.sensor_id} takes no part in this fleet; "
                "sensors are renamed by a restart, and added by `fleet scale`"
            )
        namesake = path.with_stem(sensor.sensor_id)
        if namesake != path and namesake.exists():
            raise UserError(f"{path}: sensor_id {sensor.sensor_id!r} is already that of {namesake}")
        return replace(sensor, origin=known[sensor.sensor_id].origin)

    def _apply(self, planner: Planner, edited: Mapping[str, StoredIdentity], paths: Sequence[Path]) -> None:
        """Apply the planner's config and the edited identities; if that is refused, the identities alone."""
        try:
            self._apply_changes(planner, edited)
        except UserError as error:
            self._refused.update(paths)
            if planner is self._reconciler.planner:
                self._report_problem(self._folder, str(error))
            else:
                self._refused.add(CONFIG_KEY)
                self._report_problem(CONFIG_KEY, str(error))
                self._apply(self._reconciler.planner, edited, paths)

    def _apply_changes(self, planner: Planner, edited: Mapping[str, StoredIdentity]) -> None:
        if planner is self._reconciler.planner and not edited:
            return
        before, after = self._reconciler.planner.config, planner.config
        differences = config_differences(before, after) + catalogue_differences(
            self._reconciler.planner.catalogue, planner.catalogue
        )
        for sensor in self._reconciler.plan.stored:
            if sensor.sensor_id in edited:  # the config may override what was edited
                differences.extend(
                    identity_differences(
                        planner.resolved_identity(sensor), planner.resolved_identity(edited[sensor.sensor_id])
                    )
                )
        count = after.replicas.count
        self._reconciler.reload(planner, count if count != before.replicas.count else None, edited)
        logging.getLogger().setLevel(after.logging.level)
        if not differences:
            return
        lines = [str(difference) for difference in differences[:MAX_CHANGES_LISTED]]
        if len(differences) > MAX_CHANGES_LISTED:
            lines.append(f"and {len(differences) - MAX_CHANGES_LISTED} more")
        self.report = replace(self.report, changed=tuple(lines), changed_at=time.time())
        for line in lines:
            self._reconciler.supervisor.record_event("fleet", f"reloaded: {line}", "reload")

    def _report_problem(self, path: Path | None, reason: str) -> None:
        self._problems[path] = reason
        self._reconciler.supervisor.record_event("fleet", f"not reloaded: {reason}", "reload")

    def _publish_report(self, report: ReloadReport) -> None:
        for line in report.needs_restart:
            if line not in self.report.needs_restart:
                self._reconciler.supervisor.record_event("fleet", f"needs a restart: {line}", "reload")
        self.report = report
        self.report.write(self._file)

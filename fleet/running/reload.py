"""Hot reload: the config and the identity files are watched, and what changed in them is taken while the fleet runs.

A file is read as at a start before anything follows from it: one that is wrong changes nothing and is reported with its
place until it is mended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.configuration.config import Config, load_config
from fleet.configuration.differences import Difference, differences, of_identities, taken
from fleet.errors import UserError
from fleet.identity.identities import StoredIdentity, identity_files, read_identity
from fleet.running.helm import Helm
from fleet.running.watched_files import WatchedFiles
from fleet.storage.reload_report import ReloadReport

log = logging.getLogger("reload")

MOST_TOLD = 20
"""Changes of one moment that are told one by one."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a config comes from: a file (None: the packaged one) under the environment and the flags."""

    path: Path | None
    environment: Mapping[str, str]
    overrides: Mapping[str, object]

    def load(self) -> Config:
        return load_config(self.path, self.environment, self.overrides)

    def __str__(self) -> str:
        return str(self.path or "the packaged fleet.yaml")


class Reload:
    """To be called by the supervisor's loop twice per check interval. `report_file` is for those who read along."""

    def __init__(self, source: Source, config: Config, helm: Helm, report_file: Path) -> None:
        self._source, self._config, self._loaded, self._helm = source, config, config, helm
        self._file = report_file
        self._problems: dict[Path, str] = {}
        self.report = ReloadReport()
        watch = config.dynamic_reload
        paths = [source.path] if watch.watch_config and source.path else []
        # It was read a while ago, before all that there is to prepare: it is read once more.
        self._configs = WatchedFiles(lambda: paths, anew=True)
        self._folder = helm.planner.identities
        self._seen: Sequence[Path] = ()
        self._identities = WatchedFiles(lambda: self._listed() if watch.watch_identity else [])
        self.report.write(self._file)

    def __call__(self) -> None:
        configs, identities = self._configs.changed(), self._identities.changed()
        if not self._helm.steady or not (configs or identities):
            return
        config = self._read_config(configs[0]) if configs else self._config
        edited: dict[str, StoredIdentity] = {}
        for path in identities:
            edited |= self._read_identity(path)
        found = [*differences(self._config, config), *self._edits(edited)]
        if found:
            self._take(config, edited, found, [*configs, *identities])
        pending = tuple(str(difference) for difference in differences(taken(self._config, self._loaded), self._loaded))
        self._tell(replace(self.report, needs_restart=pending, problems=tuple(self._problems.values())))

    # Reading

    def _read_config(self, path: Path) -> Config:
        """What of the file can be taken; the config in force where it cannot be read."""
        self._problems.pop(path, None)
        if not path.exists():
            self._problem(path, f"{path}: is gone; the fleet goes on as it was")
            return self._config
        try:
            self._loaded = self._source.load()
        except UserError as error:
            self._problem(path, str(error))
            return self._config
        return taken(self._config, self._loaded)

    def _read_identity(self, path: Path) -> dict[str, StoredIdentity]:
        """What the file says now, by the sensor's id. None if it says nothing that can be taken."""
        self._problems.pop(path, None)
        known = {sensor.sensor_id: sensor for sensor in self._helm.plan.stored}
        try:
            if not path.exists():
                if path.stem in known:
                    raise UserError(f"{path}: is gone; {path.stem} goes on as it was")
                return {}
            sensor = read_identity(path)
            if sensor.sensor_id not in known:
                raise UserError(
                    f"{path}: {sensor.sensor_id} takes no part in this fleet; "
                    "sensors are renamed by a restart, and added by `fleet scale`"
                )
            namesake = path.with_stem(sensor.sensor_id)
            if namesake != path and namesake.exists():
                raise UserError(f"{path}: sensor_id {sensor.sensor_id!r} is already that of {namesake}")
            return {sensor.sensor_id: replace(sensor, minted=known[sensor.sensor_id].minted)}
        except UserError as error:
            self._problem(path, str(error))
            return {}

    def _listed(self) -> Sequence[Path]:
        try:
            self._seen = identity_files(self._folder)
        except UserError as error:  # they are not gone: they cannot be seen for now
            log.warning("%s", error)
        return self._seen

    # Taking

    def _edits(self, edited: Mapping[str, StoredIdentity]) -> list[Difference]:
        found = []
        for sensor in self._helm.plan.stored:
            if sensor.sensor_id in edited:
                found.extend(of_identities(sensor.identity, edited[sensor.sensor_id].identity))
        return found

    def _take(
        self, config: Config, edited: Mapping[str, StoredIdentity], found: list[Difference], paths: list[Path]
    ) -> None:
        resized = any(difference.key == "replicas.count" for difference in found)
        try:
            self._helm.reload(config, config.replicas.count if resized else None, edited)
        except UserError as error:
            self._problem(paths[0], str(error))
            return
        logging.getLogger().setLevel(config.logging.level)
        self._config = config
        told = [str(difference) for difference in found[:MOST_TOLD]]
        if len(found) > MOST_TOLD:
            told.append(f"and {len(found) - MOST_TOLD} more")
        self.report = replace(self.report, changed=tuple(told), changed_at=time.time())
        for line in told:
            self._helm.supervisor.note("fleet", f"reloaded: {line}", "reload")

    # Telling

    def _problem(self, path: Path, reason: str) -> None:
        self._problems[path] = reason
        self._helm.supervisor.note("fleet", f"not reloaded: {reason}", "reload")

    def _tell(self, report: ReloadReport) -> None:
        for line in report.needs_restart:
            if line not in self.report.needs_restart:
                self._helm.supervisor.note("fleet", f"needs a restart: {line}", "reload")
        self.report = report
        self.report.write(self._file)

"""A fleet without processes: real files, plan, reconciler and supervisor, on a machine that starts no process."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from fleet.config.config import load_config
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.runtime.planner import Planner
from fleet.runtime.reconciler import Reconciler
from fleet.runtime.reload import ConfigSource, Reloader, watched_identities
from fleet.runtime.rollout import Rollouts
from supervisor import Supervisor
from worker.scoreboard import Scoreboard
from worker.spec import SensorSpec
from worker.supervision.forkserver import ForkServer
from worker.supervision.restart_policy import RestartPolicy


def no_process(_: int) -> ForkServer:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class InProcessFleet:
    """A fleet by `fleet.yaml` in the folder, or by another `file` instead of the text, with its data in `data`."""

    def __init__(
        self,
        folder: Path,
        text: str,
        environment: Mapping[str, str] | None = None,
        identities: Path | None = None,
        file: Path | None = None,
    ) -> None:
        self.folder, self.file = folder, file or folder / "fleet.yaml"
        if file is None:
            self.file.write_text(text)
        self.environment = environment or {}
        config = load_config(self.file, self.environment)
        self.directory = DataDirectory(folder / "data")
        self.directory.run.mkdir(parents=True)
        self.planner = Planner(config, self.directory, identities)
        watched = watched_identities(self.planner.identities, config.dynamic_reload)
        self.plan = self.planner.initial_plan()
        watched.mark_known()
        self.supervisor = Supervisor(Scoreboard.create(self.directory.scoreboard, 16), RestartPolicy(), 1, no_process)
        self.events: list[str] = []
        self.supervisor.on_event = lambda event: self.events.append(event.message)
        self.supervisor.add(self.plan.workers)
        self.reconciler = Reconciler(self.planner, self.plan, self.supervisor, self._publish_plan, max_sensors=8)
        self.now = 0.0
        self.reload = Reloader(
            ConfigSource(self.file, self.environment, {}), self.reconciler, watched, self.directory.reload
        )
        self.rollouts = Rollouts(self.reconciler, self.directory.rollout, lambda: self.now)

    def _publish_plan(self, plan: object) -> None:
        """Fail as on a full disk if a test has removed the folder of the run."""
        if not self.directory.run.exists():
            raise UserError("the data directory cannot be written")

    def check_files(self) -> list[str]:
        """Check the watched files, and return the events of that."""
        before = len(self.events)
        for _ in range(2):  # a change is applied once it has come to rest
            self.reload()
        return self.events[before:]

    @property
    def problems(self) -> list[str]:
        """The reasons why files cannot be applied."""
        return list(self.reload.report.problems)

    @property
    def sensors(self) -> dict[str, SensorSpec]:
        """The specs of the sensors, by sensor id."""
        slots = self.supervisor.slots.values()
        return {sensor.identity.sensor_id: sensor for slot in slots for sensor in slot.spec.sensors}

    def identity(self, sensor_id: str) -> Path:
        return self.planner.identities / f"{sensor_id}.json"

    def firmware(self) -> dict[str, str | None]:
        return {sensor_id: spec.identity.firmware_version for sensor_id, spec in self.sensors.items()}

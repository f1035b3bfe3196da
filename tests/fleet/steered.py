"""A fleet as it is steered: real files, plan, helm and supervisor, but for processes, which its machine has none left of."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from fleet.configuration.config import load_config
from fleet.errors import UserError
from fleet.running.helm import Helm
from fleet.running.plan import Planner
from fleet.running.reload import Reload, Source, watched_identities
from fleet.running.rollout import Rollouts
from fleet.storage.data_directory import DataDirectory
from supervisor import Supervisor
from worker.board import Board
from worker.restarts import Policy
from worker.spec import SensorSpec
from worker.template import Template


def no_process(_: int) -> Template:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class Steered:
    """`fleet.yaml` in the folder says what it is; its data is in `data`."""

    def __init__(
        self, folder: Path, text: str, environment: Mapping[str, str] | None = None, identities: Path | None = None
    ) -> None:
        self.folder, self.file = folder, folder / "fleet.yaml"
        self.file.write_text(text)
        self.environment = environment or {}
        config = load_config(self.file, self.environment)
        self.directory = DataDirectory(folder / "data")
        self.directory.run.mkdir(parents=True)
        self.planner = Planner(config, self.directory, identities)
        watched = watched_identities(self.planner.identities, config.dynamic_reload)
        self.plan = self.planner.first()
        watched.welcome()
        self.supervisor = Supervisor(Board.create(self.directory.board, 16), Policy(), 1, no_process)
        self.told: list[str] = []
        self.supervisor.tell = lambda event: self.told.append(event.told)
        self.supervisor.add(self.plan.workers)
        self.helm = Helm(self.planner, self.plan, self.supervisor, self._adopt, most=8)
        self.now = 0.0
        self.reload = Reload(Source(self.file, self.environment, {}), self.helm, watched, self.directory.reload)
        self.rollouts = Rollouts(self.helm, self.directory.rollout, lambda: self.now)

    def _adopt(self, plan: object) -> None:
        """The disk is full where a test has taken the folder of the run away."""
        if not self.directory.run.exists():
            raise UserError("the data directory cannot be written")

    def look(self) -> list[str]:
        """What is told of the changes since the last time."""
        before = len(self.told)
        for _ in range(2):  # a change is taken once it has come to rest
            self.reload()
        return self.told[before:]

    @property
    def problems(self) -> list[str]:
        """What keeps files from being taken."""
        return list(self.reload.report.problems)

    @property
    def sensors(self) -> dict[str, SensorSpec]:
        """What the workers are told, by sensor id."""
        slots = self.supervisor.slots.values()
        return {sensor.identity.sensor_id: sensor for slot in slots for sensor in slot.spec.sensors}

    def identity(self, sensor_id: str) -> Path:
        return self.planner.identities / f"{sensor_id}.json"

    def firmware(self) -> dict[str, str | None]:
        return {sensor_id: spec.identity.firmware_version for sensor_id, spec in self.sensors.items()}

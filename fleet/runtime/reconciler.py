"""The reconciler of a running fleet: changes it from one plan to another without a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fleet.datadir.interventions import Interventions
from fleet.datadir.manifest import FleetManifest
from fleet.errors import UserError
from fleet.identities.files import StoredIdentity
from fleet.runtime.planner import Plan, Planner
from fleet.runtime.preflight import check_memory, raise_open_file_limit
from supervisor import Supervisor
from worker.clock import elapsed_ns


class Reconciler:
    """Changes a running fleet, all or nothing. `publish_plan` saves a plan before any worker learns of it, or raises
    UserError. `max_sensors` is the number of sensors that the scoreboard of this run has room for."""

    def __init__(
        self,
        planner: Planner,
        plan: Plan,
        supervisor: Supervisor,
        publish_plan: Callable[[Plan], None],
        max_sensors: int,
    ) -> None:
        self.planner, self.plan = planner, plan
        self.supervisor, self._publish_plan, self._max_sensors = supervisor, publish_plan, max_sensors

    @property
    def accepts_changes(self) -> bool:
        """True until the fleet begins to end."""
        return not self.supervisor.draining

    def check_not_draining(self) -> None:
        """Raise UserError if the fleet is about to end and accepts no changes."""
        if not self.accepts_changes:
            raise UserError("the fleet is stopping")

    def scale(self, count: int) -> int:
        """Grow or shrink to `count` sensors. Returns the number before."""
        before = len(self.plan.members)
        self._reconcile(self._scaled_plan(self.planner, count))
        self.supervisor.record_event("fleet", f"scaled from {before} to {len(self.plan.members)} sensors", kind="scale")
        return before

    def reload(self, planner: Planner, count: int | None, edited: Mapping[str, StoredIdentity]) -> None:
        """Change to another config, to `edited` identities (by sensor id), and to `count` sensors unless it is None."""
        if count is not None:
            plan = self._scaled_plan(planner, count)
        else:
            plan = planner.replanned(self.plan, edited)
        self._reconcile(plan)
        self.planner = planner

    def change_identities(self, edited: Mapping[str, StoredIdentity]) -> None:
        """Change to `edited` identities, by sensor id."""
        self._reconcile(self.planner.replanned(self.plan, edited))

    def change_interventions(self, interventions: Interventions) -> None:
        """Change to other interventions."""
        planner = self.planner.with_interventions(interventions)
        self._reconcile(planner.replanned(self.plan))
        self.planner = planner

    def change_record(self, record: FleetManifest) -> None:
        """Change the manifest. Raises UserError if it cannot be written, and then nothing has changed."""
        plan = replace(self.plan, record=record)
        self._publish_plan(plan)
        self.plan = plan

    def _scaled_plan(self, planner: Planner, count: int) -> Plan:
        self.check_not_draining()
        if count > self._max_sensors:
            raise UserError(f"{count} sensors are more than this run has room for; at most {self._max_sensors}")
        plan = planner.scaled(self.plan, count, elapsed_ns())
        raise_open_file_limit(len(plan.workers))
        added_workers, added_sensors = len(plan.workers) - len(self.plan.workers), count - len(self.plan.members)
        check_memory(max(0, added_workers), max(0, added_sensors))
        return plan

    def _reconcile(self, plan: Plan) -> None:
        old = {worker.name: worker for worker in self.plan.workers}
        new = {worker.name: worker for worker in plan.workers}
        self._publish_plan(plan)
        self.plan = plan
        for warning in plan.warnings:
            self.supervisor.record_event("fleet", f"warning: {warning}")
        self.supervisor.remove([name for name in old if name not in new])
        self.supervisor.add([worker for name, worker in new.items() if name not in old])
        changed = []
        for name, worker in new.items():
            if name not in old or worker == old[name]:
                continue
            if [sensor.row for sensor in worker.sensors] == [sensor.row for sensor in old[name].sensors]:
                changed.append(worker)
            else:
                self.supervisor.restart(name, worker)
        if changed:
            self.supervisor.change(changed)

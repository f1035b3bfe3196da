"""The helm of a running fleet: the plan it runs by, and how it goes over to another one without a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fleet.errors import UserError
from fleet.identity.identities import StoredIdentity
from fleet.running import free_memory, open_files
from fleet.running.plan import Plan, Planner
from fleet.storage.interventions import Interventions
from supervisor import Supervisor
from worker.clock import elapsed_ns


class Helm:
    """Changes a running fleet, all or nothing. `adopt` puts a plan on record, or raises UserError, before any worker is
    told of it. `most` is the number of sensors that this run has room for."""

    def __init__(
        self, planner: Planner, plan: Plan, supervisor: Supervisor, adopt: Callable[[Plan], None], most: int
    ) -> None:
        self.planner, self.plan = planner, plan
        self.supervisor, self._adopt, self._most = supervisor, adopt, most

    @property
    def steady(self) -> bool:
        """Whether it can be changed: it is not about to end."""
        return not self.supervisor.draining

    def check_steady(self) -> None:
        """UserError where nothing is changed any more."""
        if not self.steady:
            raise UserError("the fleet is stopping")

    def scale(self, count: int) -> int:
        """Grow or shrink to so many sensors. Returns how many there were."""
        before = len(self.plan.members)
        self._go_over(self._sized(self.planner, count))
        self.supervisor.note("fleet", f"scaled from {before} to {len(self.plan.members)} sensors", kind="scale")
        return before

    def reload(self, planner: Planner, count: int | None, edited: Mapping[str, StoredIdentity]) -> None:
        """Go on by another config, by identities that were edited (by sensor id), and with another number of sensors
        if one is given."""
        if count is not None:
            plan = self._sized(planner, count)
        else:
            plan = planner.changed(self.plan, edited)
        self._go_over(plan)
        self.planner = planner

    def identify(self, edited: Mapping[str, StoredIdentity]) -> None:
        """Go on by other identities, by sensor id."""
        self._go_over(self.planner.changed(self.plan, edited))

    def intervene(self, interventions: Interventions) -> None:
        """Go on with others laid over the config."""
        planner = self.planner.with_interventions(interventions)
        self._go_over(planner.changed(self.plan))
        self.planner = planner

    def _sized(self, planner: Planner, count: int) -> Plan:
        self.check_steady()
        if count > self._most:
            raise UserError(f"{count} sensors are more than this run has room for; at most {self._most}")
        plan = planner.scaled(self.plan, count, elapsed_ns())
        open_files.allow(len(plan.workers))
        more = len(plan.workers) - len(self.plan.workers), count - len(self.plan.members)
        free_memory.allow(*(max(0, number) for number in more))
        return plan

    def _go_over(self, plan: Plan) -> None:
        old = {worker.name: worker for worker in self.plan.workers}
        new = {worker.name: worker for worker in plan.workers}
        self._adopt(plan)
        self.plan = plan
        for warning in plan.warnings:
            self.supervisor.note("fleet", f"warning: {warning}")
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

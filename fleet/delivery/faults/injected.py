"""The faults that `fleet inject --delivery` puts on the way while a fleet runs, as the file of its interventions has them."""

from __future__ import annotations

from pathlib import Path

from fleet.config.delivery_faults import single_fault
from fleet.datadir.interventions import InjectionRecord, read_interventions
from fleet.delivery.faults.plan import FaultPlan, InjectedFault

FileVersion = tuple[int, int, int]


class InjectedFaults:
    """The injected faults in a file that the supervising process replaces. Safe for several threads."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._seed = path, seed
        self._known: tuple[FileVersion | None, tuple[InjectedFault, ...]] = (None, ())

    def current(self) -> tuple[InjectedFault, ...]:
        """Return the faults, also those that are over: readings of their time may be delivered later."""
        version = file_version(self._path)
        known, faults = self._known
        if version != known:
            records = read_interventions(self._path).injections if version else ()
            faults = tuple(injected_fault(each, self._seed) for each in records if each.of_delivery)
            self._known = version, faults
        return faults


def file_version(path: Path) -> FileVersion | None:
    try:
        found = path.stat()
    except OSError:  # nothing was injected
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def injected_fault(record: InjectionRecord, seed: int) -> InjectedFault:
    """Return the fault of an injection, whose readings do not follow from those of another."""
    plan = FaultPlan(single_fault(record.type, record.probability or 0.0, record.size), f"{seed}/{record.id}")
    return InjectedFault(plan, None if record.everyone else frozenset(record.sensors), record.from_us, record.end_us)

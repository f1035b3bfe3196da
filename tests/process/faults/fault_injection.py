"""Faults from inside worker processes, which need no hook in them: a fleet with `FaultInjector.environment` obeys orders.

All of its workers' SQLite I/O passes a file system of ours (tests/faults/saboteur), which looks for orders on the way.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

from tests.process.faults.fault_injector.orders import FaultOrders, InjectedFault, Point
from tests.process.running_fleet import ROOT

INJECTOR_FOLDER = Path(__file__).resolve().parent / "fault_injector"

INJECTION_POINTS: dict[str, tuple[Point, str]] = {
    "kill": ("write", "wal"),
    "hold": ("write", "wal"),
    "stuck": ("write", "wal"),
    "segfault": ("write", "wal"),
    "abort": ("write", "wal"),
    "starve": ("write", "wal"),
    "nomem": ("write", "wal"),
    "exit": ("open", "main"),
    "cantopen": ("open", "any"),
    "permission": ("open", "any"),
    "ioerr_read": ("read", "any"),
    "ioerr_write": ("write", "any"),
    "full": ("write", "any"),
    "readonly": ("write", "any"),
    "ioerr_fsync": ("sync", "any"),
}
"""Where each action is carried out unless the order says otherwise, by `point` and `file`."""


class FaultInjector:
    """FaultOrders for the workers of the fleets that were started with `environment`. `folder` is where orders lie."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._orders, self._numbers = FaultOrders(folder), itertools.count(1)
        path = os.pathsep.join(map(str, (INJECTOR_FOLDER, ROOT)))
        self.environment = {"PYTHONPATH": path, "FLEET_SABOTAGE": str(folder)}

    def inject(self, database: str, action: str, *, lasting: float | None = None, **details: Any) -> None:
        """Have `action` done to whoever next comes by in the database of that file name: `kill`, `hold` (SIGSTOP),
        `stuck`, `segfault`, `abort` and `starve` (of memory) within a transaction, `exit` when it is opened; or have a
        call fail: `ioerr_read`, `ioerr_write`, `ioerr_fsync`, `full`, `readonly`, `nomem`, `cantopen`, `permission`.

        Once, by one process; with `lasting`, by everybody for so many seconds from now. Details: `point` and `file`
        ("main", "wal", "any") for another place; of a write `pages` to let through before, and `moment`: "torn" after
        half a page, "committed" after the last page of a transaction; `seconds` and `busy` of stuck; `code` of exit.
        """
        point, file = INJECTION_POINTS[action]
        order = {"action": action, "database": database, "file": file, **details}
        if lasting is not None:
            order["until"] = time.monotonic() + lasting
        self._orders.add(database, order.pop("point", point), next(self._numbers), order)

    def injected(self) -> list[InjectedFault]:
        """What was carried out, in order. Lasting orders count once for each process."""
        return self._orders.taken()

    def pending(self) -> list[str]:
        """The actions of the orders that nobody has taken yet, or that still last."""
        return self._orders.waiting()

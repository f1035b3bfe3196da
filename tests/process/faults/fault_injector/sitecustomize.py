"""Python imports this at its start when this folder is in PYTHONPATH; only the template, and so all of its workers, is
sabotaged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if "FLEET_WALL_CLOCK" in os.environ:
    from tests.process.faults.fault_injector.wall_clock import install

    install(Path(os.environ["FLEET_WALL_CLOCK"]))

if "FLEET_SABOTAGE" in os.environ and any("worker.supervision.forkserver" in argument for argument in sys.orig_argv):
    from tests.process.faults.fault_injector.orders import FaultOrders
    from tests.process.faults.fault_injector.vfs import FaultInjectingVFS

    saboteur = FaultInjectingVFS(FaultOrders(Path(os.environ["FLEET_SABOTAGE"])))

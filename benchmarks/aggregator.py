"""How long health and metrics of 10,000 sensors take over HTTP's application, milliseconds, medians of twenty."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fleet.staged import StagedFleet, client_of  # noqa: E402
from worker.scoreboard import STATE_INDEX  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        staged = StagedFleet(Path(folder, "data"), 10_000)
        client = client_of(staged)
        for state in ("healthy", "failed"):
            staged.scoreboard.rows["state"] = STATE_INDEX[state]
            for path in ("/healthz", "/metricz"):
                took = []
                for _ in range(20):
                    before = time.perf_counter()
                    client.get(path).close()
                    took.append(time.perf_counter() - before)
                print(f"10,000 sensors, all {state:8} {path:9} {statistics.median(took) * 1000:6.1f} ms")


if __name__ == "__main__":
    main()

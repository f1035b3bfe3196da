"""How fast a fleet writes: readings a second over the last few seconds, from counters that are noted now and then."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

WINDOW_NS = 10_000_000_000
MIN_WINDOW_NS = 3_000_000_000  # workers commit once a second: less than a few commits say little

Counts = npt.NDArray[np.int64]


class RateMeter:
    """The counters of all rows at a few moments, begun at `started_ns` with nothing written.

    Whoever asks, and however often, the answer is the same: it depends on when counters were noted, not on who asked
    before. Rows that were handed to another sensor and begin again at zero count as standing still.
    """

    def __init__(self, started_ns: int, rows: int) -> None:
        self._samples: deque[tuple[int, Counts]] = deque([(started_ns, np.zeros(rows, dtype=np.int64))])

    def record(self, now_ns: int, counts: Counts) -> None:
        """Remember `counts` as of `now_ns`, and forget what is older than the window once something newer can serve."""
        self._samples.append((now_ns, counts.copy()))
        while now_ns - self._samples[0][0] > WINDOW_NS and now_ns - self._samples[1][0] >= MIN_WINDOW_NS:
            self._samples.popleft()

    def per_second(self) -> npt.NDArray[np.float64]:
        """Readings a second of each row between the oldest and the newest note."""
        (then_ns, before), (now_ns, after) = self._samples[0], self._samples[-1]
        written: Counts = np.maximum(after - before, 0)
        return written / (max(now_ns - then_ns, 1) / 1e9)

    @property
    def seconds(self) -> float:
        """The time that `per_second` looks back on."""
        return (self._samples[-1][0] - self._samples[0][0]) / 1e9

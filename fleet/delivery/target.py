"""Where readings are swept to: what a target promises, and in what ways it can fail.

To add a target: a class with the methods of `Target`, and its scheme in `fleet.delivery.targets.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fleet.delivery.batch import Batch


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch. `accepted` are the ids that are safe with the target, whether this delivery brought them or
    an earlier one (`duplicates` says how many of them did that); `rejected` has the reason for each id that the target
    will never take. An id in neither is to be delivered again later."""

    accepted: frozenset[int]
    duplicates: int = 0
    rejected: Mapping[int, str] = field(default_factory=dict)


class DeliveryFailed(Exception):
    """The batch did not arrive, or nobody knows whether it did; it is to be delivered again. `str(error)` is one line that
    says what and why, and holds no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class TargetUnavailable(DeliveryFailed):
    """The target takes nothing now, but may later: unreachable, overloaded, hanging. It has been tried several times."""


class TargetMisconfigured(DeliveryFailed):
    """The target will take nothing until somebody mends it: a wrong token, a certificate, an answer that is none."""


class BatchRejected(DeliveryFailed):
    """The target will not take this batch, whole as it is: too large, or a reading in it is refused. Parts may do."""


class Target(Protocol):
    """Takes batches, from several threads at once."""

    @property
    def name(self) -> str:
        """What it is called in messages, and in the collector's own records; without credentials."""
        ...

    def deliver(self, batch: Batch) -> Receipt:
        """Hand over a batch; when this returns, what was accepted is on the target's disk. Its rows can be read only until
        then. Raises DeliveryFailed."""
        ...

    def cursor(self, source: str) -> int | None:
        """The largest id of that source's readings which the target has on record, 0 for an unknown source; None if it keeps
        no such record, so that the collector must. Raises DeliveryFailed."""
        ...

    def close(self) -> None: ...

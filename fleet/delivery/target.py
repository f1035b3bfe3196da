"""The interface of a target, to which readings are delivered, and the ways in which a delivery can fail.

To add a target, see `fleet.delivery.targets.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fleet.delivery.batch import Batch


@dataclass(frozen=True, slots=True)
class Receipt:
    """The outcome of a delivery.

    `accepted` are the ids that the target has stored, by this delivery or an earlier one; `duplicates` counts the latter.
    `rejected` has the reason for each id that the target will never accept. An id in neither is delivered again later;
    `doubt` is the reason, if one is known. `note` is what the user should know.
    """

    accepted: frozenset[int]
    duplicates: int = 0
    rejected: Mapping[int, str] = field(default_factory=dict)
    doubt: str = ""
    note: str = ""


class DeliveryFailed(Exception):
    """The batch did not arrive, or its fate is unknown; it is delivered again later. `str(error)` is one line without
    secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class SourceFailed(DeliveryFailed):
    """The target accepts nothing more of this source at present; other sources are not affected."""


class TargetUnavailable(DeliveryFailed):
    """The target accepts nothing at present: it is unreachable, overloaded or hanging. Several attempts were made."""


class TargetMisconfigured(DeliveryFailed):
    """The target accepts nothing until an operator acts: a wrong token, a bad certificate, an unusable answer."""


class BatchRejected(DeliveryFailed):
    """The target rejects this batch as a whole: it is too large, or a reading in it is bad. Parts may be accepted."""


class Target(Protocol):
    """A target. Its methods are called from several threads at once."""

    @property
    def name(self) -> str:
        """The name in messages and in the collector's state, without credentials."""
        ...

    def deliver(self, batch: Batch) -> Receipt:
        """Deliver a batch. When this returns, the accepted readings are on the target's disk. Raises DeliveryFailed.

        The rows of the batch can be read only during the call.
        """
        ...

    def cursor(self, source: str) -> int | None:
        """The largest `settles` of a source's batches that the target has recorded, 0 for an unknown source. None if the
        target keeps no such record, so the collector must. Raises DeliveryFailed."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class HoldingTarget(Protocol):
    """A target that does something between deliveries: it keeps accepted readings on this machine's disk for a while, to write
    many at once, or begins another file when it is time."""

    def write_held(self, *, everything: bool) -> None:
        """Write those that are due by now, or all. Raises DeliveryFailed; they are written later."""
        ...

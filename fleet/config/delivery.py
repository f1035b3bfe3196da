"""The section `delivery` of a config. Each target is named by its URL, or is a section with options of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from fleet.config.delivery_faults import DeliveryFaults, unreachable_target
from fleet.config.record_fields import RecordTree
from fleet.target_urls import without_password
from fleet.validation.scalars import AsSeconds, AsShare, AsWhole, FieldError, Section, Text

BatchSize = Annotated[int, Field(ge=1, le=100_000), AsWhole]
SweepInterval = Annotated[float, Field(ge=0.01, le=86_400), AsSeconds]


class DeliverySelection(Section):
    """The readings that a target gets: those that match all keys that are stated."""

    kind: Text | None = None
    city: Text | None = None
    firmware: Text | None = None
    share: Annotated[float, Field(gt=0, le=1), AsShare] | None = None


class DeliveryTarget(Section):
    """A target, which may also be written as its URL alone. Keys that are left out are as in `delivery`."""

    short_key: ClassVar[str] = "to"

    to: Annotated[Text, AfterValidator(without_password)]
    record: Text = "row"
    select: DeliverySelection = DeliverySelection()
    batch_size: BatchSize | None = None
    interval: SweepInterval | None = None


class Delivery(Section):
    """Where the readings are delivered to while the fleet runs: targets as `fleet collect --to` takes them. At the end of a run
    there are `drain_seconds` for what is left."""

    to: Annotated[tuple[DeliveryTarget, ...], Field(strict=False)] = ()
    batch_size: BatchSize = 1000
    interval: SweepInterval = 1.0
    records: Annotated[Mapping[Text, RecordTree], WithJsonSchema({"type": "object"})] = {}
    drain_seconds: Annotated[float, Field(ge=0, le=86_400), AsSeconds] = 30.0
    faults: DeliveryFaults = DeliveryFaults()

    @model_validator(mode="after")
    def faults_reach_targets(self) -> Delivery:
        if reason := unreachable_target(self.faults, tuple(each.to for each in self.to)):
            raise FieldError("faults", reason)
        return self

    @property
    def digest(self) -> str:
        """A text that identifies the set of targets, "" if there is none."""
        names = "\n".join(sorted(each.to for each in self.to))
        return hashlib.blake2b(names.encode(), digest_size=8).hexdigest() if names else ""

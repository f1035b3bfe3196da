"""The targets of `delivery` in a config: each is named by its URL, or is a section with options of its own."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from fleet.validation.scalars import AsSeconds, AsShare, AsWhole, Section, Text

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

    to: Text
    record: Text = "row"
    select: DeliverySelection = DeliverySelection()
    batch_size: BatchSize | None = None
    interval: SweepInterval | None = None

"""The section `delivery.faults` of a config: faults of the way to the targets, on purpose.

To add a fault: a section and a field here, its meaning in `fleet.config.meanings`, and its decision in
`fleet.delivery.faults.plan`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from fleet.validation.scalars import AsSeconds, AsWhole, FieldError, Section, Share

FAULTY_SCHEMES = ("jsonl:", "http:", "https:", "mqtt:", "mqtts:", "kafka:")
"""The targets that get readings as single documents. Others store each reading once, whatever is sent to them."""

ONE_OF_A_READING = ("drop", "corrupt", "truncate", "duplicate", "late", "out_of_order")
"""The faults of single readings. A reading has one of them at most, so their shares add up to 1 at most."""

FaultSeconds = Annotated[float, Field(gt=0, le=86_400), AsSeconds]


class FaultShare(Section):
    """The share of the readings that have a fault."""

    probability: Share = 0.0


class DuplicateFault(FaultShare):
    """Readings that are sent again, as many times as `copies` says."""

    copies: Annotated[int, Field(ge=1, le=100), AsWhole] = 1


class LateFault(FaultShare):
    """Readings that are sent later, by a time whose distribution has this mean."""

    mean: FaultSeconds = 30.0
    distribution: Literal["exponential", "uniform", "constant"] = "exponential"


class OutOfOrderFault(FaultShare):
    """Readings that are sent after 1 to `window` later ones of their sensor."""

    window: Annotated[int, Field(ge=1, le=100_000), AsWhole] = 10


class OutageFault(Section):
    """Outages of a sensor's connection, this long each, in a share of the time; its readings are sent afterwards."""

    probability: Share = 0.0
    duration: FaultSeconds = 30.0


class ClockSkewFault(Section):
    """The share of the sensors whose clock is wrong, by `size` at most."""

    probability: Share = 0.0
    size: FaultSeconds = 120.0


class DeliveryFaults(Section):
    """Faults of the way to the targets. Which reading has which follows from the seed, its sensor and its number."""

    drop: FaultShare = FaultShare()
    corrupt: FaultShare = FaultShare()
    truncate: FaultShare = FaultShare()
    duplicate: DuplicateFault = DuplicateFault()
    late: LateFault = LateFault()
    out_of_order: OutOfOrderFault = OutOfOrderFault()
    newest_first: OutageFault = OutageFault()
    burst: OutageFault = OutageFault()
    clock_skew: ClockSkewFault = ClockSkewFault()

    @property
    def any(self) -> bool:
        return any(getattr(self, name).probability > 0 for name in type(self).model_fields)

    @model_validator(mode="after")
    def shares_fit(self) -> DeliveryFaults:
        total = sum(getattr(self, name).probability for name in ONE_OF_A_READING)
        if total > 1 + 1e-9:
            raise FieldError(
                "drop", f"the probabilities of {', '.join(ONE_OF_A_READING)} add up to {total:g}: at most 1 is allowed"
            )
        return self


FAULT_KINDS = tuple(DeliveryFaults.model_fields)

SIZE_KEYS = {
    "duplicate": "copies",
    "late": "mean",
    "out_of_order": "window",
    "newest_first": "duration",
    "burst": "duration",
    "clock_skew": "size",
}
"""The key of the size of a fault, for the kinds that have one."""


def single_fault(kind: str, probability: float, size: float | None) -> DeliveryFaults:
    """Return the faults that are of one kind, with a size of its own or the usual one. ValueError if the kind has no such size."""
    if size is None:
        return DeliveryFaults.model_validate({kind: {"probability": probability}})
    if kind not in SIZE_KEYS:
        raise ValueError(f"{kind} has none")
    number = int(size) if size.is_integer() else size
    try:
        return DeliveryFaults.model_validate({kind: {"probability": probability, SIZE_KEYS[kind]: number}})
    except ValidationError as error:
        raise ValueError(f"{size:g} as {SIZE_KEYS[kind]} of {kind}: {error.errors()[0]['msg'].lower()}") from None


def unreachable_target(faults: DeliveryFaults, targets: tuple[str, ...]) -> str | None:
    """Return the reason why faults cannot be applied to one of the targets; None if they can, or there are none."""
    scheme = next((to.partition(":")[0] for to in targets if not to.startswith(FAULTY_SCHEMES)), None)
    if scheme is None or not faults.any:
        return None
    return f"{scheme}: stores each reading once, whatever is sent: faults are for {', '.join(FAULTY_SCHEMES)}"

"""The `anomalies` section of a config. The section of each type is made from its declaration in `worker.readings.anomalies`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, create_model, model_validator

from fleet.validation.scalars import (
    MAX_CONFIG_SECONDS,
    AsReal,
    AsSeconds,
    AsText,
    Count,
    FieldError,
    Flag,
    Section,
    Share,
)
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES
from worker.readings.anomaly_type import AnomalyType, DurationUnit, Parameter, Parameters
from worker.spec import Lengths, Placement

RANGE = ".."
"""What is between the two ends of a range of durations."""

EpisodeSeconds = Annotated[float, Field(gt=0, le=MAX_CONFIG_SECONDS), AsSeconds]
OrRangeOfSeconds, OrRangeOfReadings = "or a range of seconds", "or a range of readings"
"""Marks of a key whose value may be a range, which `with_range` divides."""

RANGE_ENDS: Mapping[str, TypeAdapter[Any]] = {"seconds": TypeAdapter(EpisodeSeconds), "readings": TypeAdapter(Count)}

Weight = Annotated[float, Field(ge=0, le=1_000_000), AsReal]


class AnomalyTypeSection(Section):
    """The section of one type. `weight` is relative to the other types that are enabled. A type that is off by default is
    enabled by `enabled: true`, or by stating its weight. A duration may be a range, such as 20s..5m."""

    declaration: ClassVar[type[AnomalyType]]
    requires: ClassVar[Mapping[str, str]] = MappingProxyType(
        {f"longest_{unit}": f"duration_{unit}" for unit in ("seconds", "readings")}
    )

    enabled: Flag
    weight: Weight
    duration_seconds: Annotated[EpisodeSeconds, OrRangeOfSeconds] | None = None
    duration_readings: Annotated[Count, OrRangeOfReadings] | None = None
    longest_seconds: EpisodeSeconds | None = None
    longest_readings: Count | None = None
    lengths: Annotated[Literal["fixed", "exponential"], AsText] | None = None

    @model_validator(mode="before")
    @classmethod
    def range_of_durations(cls, data: Any) -> Any:
        return with_range(data) if isinstance(data, Mapping) else data

    @model_validator(mode="before")
    @classmethod
    def enabled_by_weight(cls, data: Any) -> Any:
        return with_enabled(cls.declaration, data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def one_duration(self) -> AnomalyTypeSection:
        if self.duration_seconds is not None and self.duration_readings is not None:
            raise FieldError("duration_readings", "contradicts duration_seconds; an episode has one of the two")
        return self

    @model_validator(mode="after")
    def with_duration(self) -> AnomalyTypeSection:
        """Add the type's default duration if none is written, so that the printed config shows it. It does not count as
        set, as a kind of sensor may have another one."""
        if self.duration_seconds is None and self.duration_readings is None:
            duration, unit = self.declaration.duration
            self.__dict__[f"duration_{unit}"] = int(duration) if unit == "readings" else duration
        return self

    @model_validator(mode="after")
    def range_in_order(self) -> AnomalyTypeSection:
        for unit in ("seconds", "readings"):
            shortest, longest = getattr(self, f"duration_{unit}"), getattr(self, f"longest_{unit}")
            if longest is None:
                continue
            if shortest is None or f"duration_{unit}" not in self.model_fields_set:
                raise FieldError(f"longest_{unit}", f"needs duration_{unit}, the shortest duration, beside it")
            if longest < shortest:
                raise FieldError(f"longest_{unit}", f"{longest:g} is less than duration_{unit} {shortest:g}")
            if self.lengths is not None:
                raise FieldError(f"longest_{unit}", f"contradicts lengths: {self.lengths}")
        return self

    @property
    def law(self) -> Lengths:
        """How the lengths of episodes vary."""
        return self.lengths or ("uniform" if self.longest else "fixed")

    @property
    def longest(self) -> float:
        """The longest duration of a range, in the unit of the duration; 0 without a range."""
        return float(self.longest_seconds or self.longest_readings or 0)

    @model_validator(mode="after")
    def no_contradiction(self) -> AnomalyTypeSection:
        contradiction = self.declaration.contradiction(self.configured_parameters())
        if contradiction is not None:
            raise FieldError(*contradiction)
        return self

    @property
    def duration(self) -> tuple[float, DurationUnit]:
        if self.duration_seconds is not None:
            return self.duration_seconds, "seconds"
        return float(self.duration_readings or 1), "readings"

    def configured_parameters(self) -> Parameters:
        """Return the parameters that the config states, by their names in the config."""
        names = [parameter.name for parameter in self.declaration.parameters]
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def with_enabled(declaration: type[AnomalyType], stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a config states of a type, with `enabled` if it follows: from the weight of a type that is off by default."""
    if declaration.enabled_by_default or stated.get("weight") is None or stated.get("enabled") is not None:
        return stated
    return {**stated, "enabled": True}


def with_range(stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a config states of a type, with a range of durations such as `20s..5m` as its two ends. A text that is no
    valid range stays as it is: an error names the key that the config has."""
    result = dict(stated)
    for unit, end in RANGE_ENDS.items():
        text = stated.get(f"duration_{unit}")
        if not isinstance(text, str) or text.count(RANGE) != 1 or f"longest_{unit}" in stated:
            continue
        try:
            result[f"duration_{unit}"], result[f"longest_{unit}"] = map(end.validate_python, text.split(RANGE))
        except ValidationError:
            continue
    return result


def type_section(declaration: type[AnomalyType]) -> type[AnomalyTypeSection]:
    """Make the model of the section of one type."""
    fields: dict[str, Any] = {each.name: (parameter_annotation(each), None) for each in declaration.parameters}
    section = create_model(
        declaration.__name__,
        __base__=AnomalyTypeSection,
        __doc__=declaration.__doc__,
        enabled=(Flag, declaration.enabled_by_default),
        weight=(Weight, declaration.weight),
        **fields,
    )
    section.declaration = declaration
    return section


def parameter_annotation(parameter: Parameter) -> Any:
    bounds = Field(gt=parameter.minimum) if parameter.positive else Field(ge=parameter.minimum)
    return Annotated[float, bounds, Field(le=parameter.maximum), AsReal] | None


class AllTypes(Section):
    """All types; one that a config leaves out has its defaults."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The section of a type; `create_model` adds a field for each."""

    def enabled(self) -> Mapping[str, AnomalyTypeSection]:
        return {name: section for name in ANOMALY_TYPES if (section := getattr(self, name)).enabled}


SECTIONS: Mapping[str, type[AnomalyTypeSection]] = {each.name: type_section(each) for each in ANOMALY_CLASSES}
FIELDS: dict[str, Any] = {name: (section, section.model_validate({})) for name, section in SECTIONS.items()}
AnomalyTypes = create_model("AnomalyTypes", __base__=AllTypes, __doc__=AllTypes.__doc__, **FIELDS)


class Anomalies(Section):
    """Anomalies of all sensors. `probability` is the share of scheduled readings that are anomalous, before the
    multipliers of the catalogue; in mode `onset` the probability that an anomaly begins at a reading. With overlap `channels`
    a sensor may have anomalies of different channels at the same time. With placement `random` nothing in the past tells when
    the next anomaly begins; `even` spreads them, so that the shares hold in small samples, too."""

    enabled: Flag = True
    probability: Share = 0.05
    mode: Annotated[Literal["share", "onset"], AsText] = "share"
    overlap: Annotated[Literal["none", "channels"], AsText] = "none"
    placement: Annotated[Placement, AsText] = "random"
    types: AnomalyTypes = AnomalyTypes()

    @model_validator(mode="after")
    def some_weight(self) -> Anomalies:
        types = self.types.enabled().values()
        if types and not any(each.weight for each in types):
            raise FieldError("types", "all weights are 0; set one above 0, or anomalies.enabled to false")
        return self

    @model_validator(mode="after")
    def fixed_if_even(self) -> Anomalies:
        varied = [name for name, each in self.types.enabled().items() if each.law != "fixed"]
        if varied and self.placement == "even":
            raise FieldError("placement", f"even needs durations that do not vary, and those of {varied[0]} do")
        return self

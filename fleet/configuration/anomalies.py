"""The `anomalies` section of a config: one class for each type of anomaly.

To change a type: its fields are what a config may say, `DEFAULTS` what holds where neither a config nor the catalogue
says anything, `told` what the worker's class of that name is told. To add one: a class here, a field in `AnomalyTypes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fleet.configuration.scalars import CENTURY, AsReal, AsText, Count, Flag, Misfit, Section, Share

Parameters = Mapping[str, float]
Unit = Literal["seconds", "readings"]
Weight = Annotated[float, Field(ge=0, le=1_000_000), AsReal]
Factor = Annotated[float, Field(ge=1, le=1000), AsReal]
Extent = Annotated[float, Field(ge=0, le=100_000), AsReal]


class AnomalyType(Section):
    """What all types have in common. `weight` is relative to the other types that are enabled."""

    LASTS: ClassVar[tuple[float, Unit]]
    DEFAULTS: ClassVar[Parameters] = {}
    ONE_CHANNEL: ClassVar[bool] = False

    enabled: Flag = True
    weight: Weight
    duration_seconds: Annotated[float, Field(gt=0, le=CENTURY), AsReal] | None = None
    duration_readings: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def with_duration(cls, data: Any) -> Any:
        """The type's own duration where none is written, so that the printed config shows it."""
        data = {} if data is None else data
        if not isinstance(data, Mapping) or data.get("duration_seconds") or data.get("duration_readings"):
            return data
        lasts, unit = cls.LASTS
        return {**data, f"duration_{unit}": int(lasts) if unit == "readings" else lasts}

    @model_validator(mode="after")
    def one_duration(self) -> AnomalyType:
        if self.duration_seconds is not None and self.duration_readings is not None:
            raise Misfit("duration_readings", "contradicts duration_seconds; an episode has one of the two")
        return self

    @property
    def duration(self) -> tuple[float, Unit]:
        if self.duration_seconds is not None:
            return self.duration_seconds, "seconds"
        return float(self.duration_readings or 1), "readings"

    def stated(self) -> Parameters:
        """The parameters that the config states, by their names in the config."""
        return {name: value for name in self.parameter_names() if (value := getattr(self, name)) is not None}

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        return tuple(name for name in cls.model_fields if name not in AnomalyType.model_fields)

    @classmethod
    def merged(cls, *sources: Parameters) -> Parameters:
        """The parameters in force: what a later source states beats an earlier one."""
        return {name: value for source in sources for name, value in source.items()}

    @classmethod
    def told(cls, values: Parameters, severity: float) -> Parameters:  # noqa: ARG003 - a type may have none
        """The worker's parameters for those in force, by their names in the config."""
        return {}


class Spike(AnomalyType):
    """The value is multiplied, or divided, by a factor between `multiplier_min` and `multiplier_max`."""

    LASTS = (1, "readings")
    DEFAULTS: ClassVar[Parameters] = {"multiplier_min": 1.5, "multiplier_max": 3.0}
    ONE_CHANNEL = True

    weight: Weight = 0.4
    multiplier_min: Factor | None = None
    multiplier_max: Factor | None = None

    @model_validator(mode="after")
    def in_order(self) -> Spike:
        values = {**self.DEFAULTS, **self.stated()}
        least, most = values["multiplier_min"], values["multiplier_max"]
        if least > most:
            if self.multiplier_min is not None:
                raise Misfit("multiplier_min", f"{least:g} is more than multiplier_max {most:g}")
            raise Misfit("multiplier_max", f"{most:g} is less than multiplier_min {least:g}")
        return self

    @classmethod
    def told(cls, values: Parameters, severity: float) -> Parameters:
        # 1 + (factor - 1) x severity, written so that severity 1 changes no bit.
        return {name: value * severity + (1 - severity) for name, value in values.items()}


class Trend(AnomalyType):
    """The value drifts up or down, by at most `max_change_percent` of itself at the end."""

    LASTS = (300.0, "seconds")
    DEFAULTS: ClassVar[Parameters] = {"max_change_percent": 50.0}
    ONE_CHANNEL = True

    weight: Weight = 0.2
    max_change_percent: Extent | None = None

    @classmethod
    def told(cls, values: Parameters, severity: float) -> Parameters:
        return {"max_change": values["max_change_percent"] / 100 * severity}


class Pattern(AnomalyType):
    """A sine of `frequency` hertz on top of the values; its amplitude is `amplitude_percent` of the mean, or
    `amplitude` standard deviations."""

    LASTS = (600.0, "seconds")
    DEFAULTS: ClassVar[Parameters] = {"frequency": 0.1, "amplitude_percent": 20.0}

    weight: Weight = 0.1
    frequency: Annotated[float, Field(gt=0, le=1_000_000), AsReal] | None = None
    amplitude: Annotated[float, Field(gt=0, le=100_000), AsReal] | None = None
    amplitude_percent: Extent | None = None

    @model_validator(mode="after")
    def one_amplitude(self) -> Pattern:
        if self.amplitude is not None and self.amplitude_percent is not None:
            raise Misfit("amplitude_percent", "contradicts amplitude; a pattern has one of the two")
        return self

    @classmethod
    def merged(cls, *sources: Parameters) -> Parameters:
        """The later source's amplitude, in whichever of the two ways it states it."""
        sizes = {"amplitude", "amplitude_percent"}
        values: dict[str, float] = {}
        for source in sources:
            stale = sizes if sizes & source.keys() else set()
            values = {name: value for name, value in values.items() if name not in stale} | dict(source)
        return values

    @classmethod
    def told(cls, values: Parameters, severity: float) -> Parameters:
        size = "amplitude" if "amplitude" in values else "amplitude_percent"
        return {"frequency": values["frequency"], size: values[size] * severity}


class MissingData(AnomalyType):
    """No reading arrives."""

    LASTS = (30.0, "seconds")

    weight: Weight = 0.1


class Noise(AnomalyType):
    """Random deviations of `noise_factor` of the value on all channels, those of vibration times `vibration_gain`."""

    LASTS = (180.0, "seconds")
    DEFAULTS: ClassVar[Parameters] = {"noise_factor": 0.10, "vibration_gain": 1.0}

    weight: Weight = 0.2
    noise_factor: Extent | None = None
    vibration_gain: Extent | None = None

    @classmethod
    def told(cls, values: Parameters, severity: float) -> Parameters:
        return {"factor": values["noise_factor"] * severity, "vibration_gain": values["vibration_gain"]}


class AnomalyTypes(Section):
    """All types; one that a config leaves out has its defaults."""

    spike: Spike = Spike()
    trend: Trend = Trend()
    pattern: Pattern = Pattern()
    missing_data: MissingData = MissingData()
    noise: Noise = Noise()

    def enabled(self) -> Mapping[str, AnomalyType]:
        return {name: kind for name in KINDS if (kind := getattr(self, name)).enabled}


class Anomalies(Section):
    """`probability` is the share of scheduled readings that are anomalous, before the multipliers of the catalogue;
    in mode `onset` the probability that a reading begins an anomaly."""

    enabled: Flag = True
    probability: Share = 0.05
    mode: Annotated[Literal["share", "onset"], AsText] = "share"
    types: AnomalyTypes = AnomalyTypes()

    @model_validator(mode="after")
    def some_weight(self) -> Anomalies:
        kinds = self.types.enabled().values()
        if kinds and not any(kind.weight for kind in kinds):
            raise Misfit("types", "all weights are 0; set one above 0, or anomalies.enabled to false")
        return self


KINDS: Mapping[str, type[AnomalyType]] = {
    "spike": Spike,
    "trend": Trend,
    "pattern": Pattern,
    "missing_data": MissingData,
    "noise": Noise,
}

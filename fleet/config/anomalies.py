"""The `anomalies` section of a config: one class for each type of anomaly.

To change a type: its fields are what a config may say, `DEFAULT_PARAMETERS` what holds where neither a config nor the catalogue
says anything, `worker_parameters` what the worker's class of that name is told. To add one: a class here, a field in `AnomalyTypes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fleet.validation.scalars import MAX_CONFIG_SECONDS, AsReal, AsText, Count, FieldError, Flag, Section, Share

AnomalyParameters = Mapping[str, float]
DurationUnit = Literal["seconds", "readings"]
Weight = Annotated[float, Field(ge=0, le=1_000_000), AsReal]
Factor = Annotated[float, Field(ge=1, le=1000), AsReal]
Magnitude = Annotated[float, Field(ge=0, le=100_000), AsReal]


class AnomalyType(Section):
    """What all types have in common. `weight` is relative to the other types that are enabled."""

    DEFAULT_DURATION: ClassVar[tuple[float, DurationUnit]]
    DEFAULT_PARAMETERS: ClassVar[AnomalyParameters] = {}
    SINGLE_CHANNEL: ClassVar[bool] = False

    enabled: Flag = True
    weight: Weight
    duration_seconds: Annotated[float, Field(gt=0, le=MAX_CONFIG_SECONDS), AsReal] | None = None
    duration_readings: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def with_duration(cls, data: Any) -> Any:
        """The type's own duration where none is written, so that the printed config shows it."""
        data = {} if data is None else data
        if not isinstance(data, Mapping) or data.get("duration_seconds") or data.get("duration_readings"):
            return data
        lasts, unit = cls.DEFAULT_DURATION
        return {**data, f"duration_{unit}": int(lasts) if unit == "readings" else lasts}

    @model_validator(mode="after")
    def one_duration(self) -> AnomalyType:
        if self.duration_seconds is not None and self.duration_readings is not None:
            raise FieldError("duration_readings", "contradicts duration_seconds; an episode has one of the two")
        return self

    @property
    def duration(self) -> tuple[float, DurationUnit]:
        if self.duration_seconds is not None:
            return self.duration_seconds, "seconds"
        return float(self.duration_readings or 1), "readings"

    def configured_parameters(self) -> AnomalyParameters:
        """The parameters that the config states, by their names in the config."""
        return {name: value for name in self.parameter_names() if (value := getattr(self, name)) is not None}

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        return tuple(name for name in cls.model_fields if name not in AnomalyType.model_fields)

    @classmethod
    def merge_parameters(cls, *sources: AnomalyParameters) -> AnomalyParameters:
        """The parameters in force: what a later source states beats an earlier one."""
        return {name: value for source in sources for name, value in source.items()}

    @classmethod
    def worker_parameters(cls, values: AnomalyParameters, severity: float) -> AnomalyParameters:  # noqa: ARG003 - a type may have none
        """The worker's parameters for those in force, by their names in the config."""
        return {}


class Spike(AnomalyType):
    """The value is multiplied, or divided, by a factor between `multiplier_min` and `multiplier_max`."""

    DEFAULT_DURATION = (1, "readings")
    DEFAULT_PARAMETERS: ClassVar[AnomalyParameters] = {"multiplier_min": 1.5, "multiplier_max": 3.0}
    SINGLE_CHANNEL = True

    weight: Weight = 0.4
    multiplier_min: Factor | None = None
    multiplier_max: Factor | None = None

    @model_validator(mode="after")
    def in_order(self) -> Spike:
        values = {**self.DEFAULT_PARAMETERS, **self.configured_parameters()}
        least, most = values["multiplier_min"], values["multiplier_max"]
        if least > most:
            if self.multiplier_min is not None:
                raise FieldError("multiplier_min", f"{least:g} is more than multiplier_max {most:g}")
            raise FieldError("multiplier_max", f"{most:g} is less than multiplier_min {least:g}")
        return self

    @classmethod
    def worker_parameters(cls, values: AnomalyParameters, severity: float) -> AnomalyParameters:
        # 1 + (factor - 1) x severity, written so that severity 1 changes no bit.
        return {name: value * severity + (1 - severity) for name, value in values.items()}


class Trend(AnomalyType):
    """The value drifts up or down, by at most `max_change_percent` of itself at the end."""

    DEFAULT_DURATION = (300.0, "seconds")
    DEFAULT_PARAMETERS: ClassVar[AnomalyParameters] = {"max_change_percent": 50.0}
    SINGLE_CHANNEL = True

    weight: Weight = 0.2
    max_change_percent: Magnitude | None = None

    @classmethod
    def worker_parameters(cls, values: AnomalyParameters, severity: float) -> AnomalyParameters:
        return {"max_change": values["max_change_percent"] / 100 * severity}


class Pattern(AnomalyType):
    """A sine of `frequency` hertz on top of the values; its amplitude is `amplitude_percent` of the mean, or
    `amplitude` standard deviations."""

    DEFAULT_DURATION = (600.0, "seconds")
    DEFAULT_PARAMETERS: ClassVar[AnomalyParameters] = {"frequency": 0.1, "amplitude_percent": 20.0}

    weight: Weight = 0.1
    frequency: Annotated[float, Field(gt=0, le=1_000_000), AsReal] | None = None
    amplitude: Annotated[float, Field(gt=0, le=100_000), AsReal] | None = None
    amplitude_percent: Magnitude | None = None

    @model_validator(mode="after")
    def one_amplitude(self) -> Pattern:
        if self.amplitude is not None and self.amplitude_percent is not None:
            raise FieldError("amplitude_percent", "contradicts amplitude; a pattern has one of the two")
        return self

    @classmethod
    def merge_parameters(cls, *sources: AnomalyParameters) -> AnomalyParameters:
        """The later source's amplitude, in whichever of the two ways it states it."""
        sizes = {"amplitude", "amplitude_percent"}
        values: dict[str, float] = {}
        for source in sources:
            stale = sizes if sizes & source.keys() else set()
            values = {name: value for name, value in values.items() if name not in stale} | dict(source)
        return values

    @classmethod
    def worker_parameters(cls, values: AnomalyParameters, severity: float) -> AnomalyParameters:
        size = "amplitude" if "amplitude" in values else "amplitude_percent"
        return {"frequency": values["frequency"], size: values[size] * severity}


class MissingData(AnomalyType):
    """No reading arrives."""

    DEFAULT_DURATION = (30.0, "seconds")

    weight: Weight = 0.1


class Noise(AnomalyType):
    """Random deviations of `noise_factor` of the value on all channels, those of vibration times `vibration_gain`."""

    DEFAULT_DURATION = (180.0, "seconds")
    DEFAULT_PARAMETERS: ClassVar[AnomalyParameters] = {"noise_factor": 0.10, "vibration_gain": 1.0}

    weight: Weight = 0.2
    noise_factor: Magnitude | None = None
    vibration_gain: Magnitude | None = None

    @classmethod
    def worker_parameters(cls, values: AnomalyParameters, severity: float) -> AnomalyParameters:
        return {"factor": values["noise_factor"] * severity, "vibration_gain": values["vibration_gain"]}


class AnomalyTypes(Section):
    """All types; one that a config leaves out has its defaults."""

    spike: Spike = Spike()
    trend: Trend = Trend()
    pattern: Pattern = Pattern()
    missing_data: MissingData = MissingData()
    noise: Noise = Noise()

    def enabled(self) -> Mapping[str, AnomalyType]:
        return {name: kind for name in ANOMALY_TYPES if (kind := getattr(self, name)).enabled}


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
            raise FieldError("types", "all weights are 0; set one above 0, or anomalies.enabled to false")
        return self


ANOMALY_TYPES: Mapping[str, type[AnomalyType]] = {
    "spike": Spike,
    "trend": Trend,
    "pattern": Pattern,
    "missing_data": MissingData,
    "noise": Noise,
}

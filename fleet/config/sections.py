"""The sections of a config in their canonical shape, except `anomalies`, `database`, `delivery` and `scenario`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from fleet.catalogue.attributes import Weight
from fleet.catalogue.countries import country_code
from fleet.catalogue.signals import CorrelationTime
from fleet.config.file_names import file_path, unreserved_file
from fleet.validation.names import not_derived_name
from fleet.validation.rates import Rate, ReadingsPerSecond
from fleet.validation.scalars import (
    MAX_CONFIG_SECONDS,
    AsExact,
    AsReal,
    AsSeconds,
    AsShare,
    AsText,
    AsWhole,
    Count,
    FieldError,
    Flag,
    Natural,
    Positive,
    Quantity,
    Seconds,
    Section,
    StandardDeviation,
    Text,
)
from worker.log import format_sample_line
from worker.spec import Phase


def log_format(value: str) -> str:
    try:
        format_sample_line(value)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"is no format of log lines, such as %(asctime)s %(levelname)s %(message)s: {error}") from None
    return value


PLACEHOLDER_LOCATIONS = frozenset(
    ("replace_with_location", "default location", "default_location", "unknown", "tbd", "todo", "placeholder", "none")
)
MIN_START, MAX_START = datetime(1980, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
MAX_BACKFILL_SECONDS = 10 * 365 * 86_400
MIN_SPEED, MAX_SPEED = Decimal("0.001"), Decimal(10_000)
NAME_DESCRIPTION = "a name: at most {} letters, digits, '_', '.' and '-', the first a letter or a digit"


def name_pattern(longest: int) -> str:
    return rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{longest - 1}}}$"


def not_placeholder(value: str) -> str:
    if not value.strip() or value.strip().lower() in PLACEHOLDER_LOCATIONS:
        raise ValueError("is a placeholder; name a place, or leave the key out")
    return value


def valid_timestamp(value: str) -> str:
    """Accept ISO 8601; without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not a time such as 2026-01-01T00:00:00+00:00") from None
    if not MIN_START <= (time if time.tzinfo else time.replace(tzinfo=UTC)) < MAX_START:
        raise ValueError("is not between 1980 and 2200")
    return value


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def two_letter_code(value: object) -> object:
    return country_code(value) if isinstance(value, str) else value


AsLower, AsUpper, AsCountry = BeforeValidator(lower), BeforeValidator(upper), BeforeValidator(two_letter_code)


class Sensor(Section):
    """The identity of a single sensor, or the part that all sensors of a fleet share; values left out are generated."""

    id: (
        Annotated[
            str,
            Field(pattern=name_pattern(64), description=NAME_DESCRIPTION.format(64)),
            AsText,
            AfterValidator(not_derived_name),
        ]
        | None
    ) = None
    type: Text = "environmental"
    location: Annotated[Text, AfterValidator(not_placeholder)] | None = None
    manufacturer: Text | None = None
    model: Text | None = None
    firmware_version: Text | None = None


class Checkpoint(Section):
    """An export as JSON every `interval` seconds. The checkpoint that a restart uses is in the database, in each
    transaction."""

    enabled: Flag = False
    interval: Seconds = 60.0
    file: Annotated[Text, AfterValidator(unreserved_file)] = "data/checkpoint.json"


class Simulation(Section):
    """The rate, the start, the speed and the duration. `duration_seconds` is simulated time; None runs until stopped."""

    readings_per_second: ReadingsPerSecond = Rate(1)
    phase: Annotated[Phase, AsLower, AsText] = "aligned"
    jitter: Annotated[float, Field(ge=0, lt=1), AsShare] = 0.0
    duration_seconds: Annotated[float, Field(ge=0.001, le=MAX_CONFIG_SECONDS), AsSeconds] | None = None
    start_delay_seconds: Annotated[float, Field(ge=0, le=MAX_CONFIG_SECONDS), AsSeconds] = 0.0
    seed: Natural | None = None
    start: Annotated[Text, AfterValidator(valid_timestamp)] | None = None
    speed: Annotated[
        Decimal,
        Field(ge=MIN_SPEED, le=MAX_SPEED, decimal_places=6),
        WithJsonSchema({"type": "number", "minimum": float(MIN_SPEED), "maximum": float(MAX_SPEED)}),
        AsExact,
    ] = Decimal(1)
    backfill: Annotated[float, Field(ge=0.001, le=MAX_BACKFILL_SECONDS), AsSeconds] | None = None
    resume: Annotated[Literal["catch_up", "skip"], AsText] = "skip"
    longest_pause_seconds: Annotated[float, Field(ge=0, le=MAX_CONFIG_SECONDS), AsSeconds] = 900.0
    checkpoint: Checkpoint = Checkpoint()

    @model_validator(mode="after")
    def one_start(self) -> Simulation:
        if self.backfill is not None and self.start is not None:
            raise FieldError("backfill", "contradicts start: the history ends now, and begins that long before")
        return self


class ChannelParameters(Section):
    """The healthy signal of one channel, in `unit`, and the physical limits `lowest` and `highest` of its anomalies.
    `daily_amplitude` is in standard deviations. `correlation` is the time over which its movement is similar, 0 for white
    noise. `step` is the largest change between two readings of a random walk, `noise` the standard deviation of the noise of
    each reading. Values left out come from the profile of the sensor's type."""

    mean: Quantity | None = None
    std_dev: StandardDeviation | None = None
    min: Quantity | None = None
    max: Quantity | None = None
    lowest: Quantity | None = None
    highest: Quantity | None = None
    unit: Text | None = None
    decimals: Annotated[int, Field(ge=0, le=9), AsWhole] | None = None
    daily_amplitude: Annotated[float, Field(ge=-100, le=100), AsReal] | None = None
    correlation: CorrelationTime | None = None
    step: Annotated[float, Field(gt=0, le=1e12), AsReal] | None = None
    noise: StandardDeviation | None = None

    @model_validator(mode="after")
    def in_order(self) -> ChannelParameters:
        low, high = self.min, self.max
        if low is not None and high is not None and low > high:
            raise FieldError("min", f"{low:g} is more than max {high:g}")
        if None not in (self.mean, low, high) and not low <= self.mean <= high:  # type: ignore[operator]
            raise FieldError("mean", f"{self.mean:g} is not between min {low:g} and max {high:g}")
        return self

    @model_validator(mode="after")
    def one_movement(self) -> ChannelParameters:
        if self.correlation is not None and self.step is not None:
            raise FieldError("step", "contradicts correlation; a channel has one of the two")
        if self.noise is not None and self.correlation == 0:
            raise FieldError("noise", "contradicts correlation 0, by which all is noise")
        if self.noise is not None and self.std_dev is not None and self.noise > self.std_dev:
            raise FieldError("noise", f"{self.noise:g} is more than std_dev {self.std_dev:g}, of which it is a part")
        return self


class Logging(Section):
    """The log of a fleet; without `file` it is `run/fleet.log`. `format: json` and `json_lines` are the same. A log
    larger than `max_file_size_mb` is rotated; `backup_count` older ones are kept."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], AsUpper, AsText] = "INFO"
    file: Annotated[Text, AfterValidator(unreserved_file)] | None = None
    format: Annotated[Text, AfterValidator(log_format)] = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    json_lines: Flag = False
    console: Flag = True
    max_file_size_mb: Annotated[float, Field(ge=0.001, le=1_000_000), AsReal] = 10.0
    backup_count: Annotated[int, Field(ge=0, le=1000), AsWhole] = 5


Country = Annotated[
    str,
    Field(pattern=r"^[A-Z]{2}$", description="a country code of two letters"),
    AsCountry,
    AsText,
]


class RandomLocation(Section):
    """The cities in which sensors are placed. `enabled` matters for a single sensor only: a fleet is always placed.
    `gps_variation` is the radius of the scatter in metres. `update_interval` is accepted and has no effect."""

    enabled: Flag = False
    number_of_cities: Count = 10
    gps_variation: Annotated[float, Field(ge=0, le=1_000_000), AsReal] = 100.0
    cities_file: Text | None = None
    min_population: Natural | None = None
    max_population: Natural | None = None
    include_countries: tuple[Country, ...] = Field(default=(), strict=False)
    exclude_countries: tuple[Country, ...] = Field(default=(), strict=False)
    update_interval: Positive | None = None

    @model_validator(mode="after")
    def in_order(self) -> RandomLocation:
        if None not in (self.min_population, self.max_population) and self.min_population > self.max_population:  # type: ignore[operator]
            raise FieldError(
                "min_population", f"{self.min_population} is more than max_population {self.max_population}"
            )
        return self


class Replicas(Section):
    """The number of sensors, their kinds and their names: `PREFIX_000001`, or after their city if there is no prefix. The
    sensors of one worker share its process and its database."""

    count: Annotated[int, Field(ge=1, le=100_000), AsWhole] = 1
    kinds: Mapping[Text, Weight] | None = None
    prefix: (
        Annotated[
            str,
            Field(pattern=name_pattern(51), description=NAME_DESCRIPTION.format(51)),
            AsText,
            AfterValidator(not_derived_name),
        ]
        | None
    ) = None
    start_index: Annotated[int, Field(ge=0, le=999_999_999), AsWhole] = 1
    sensors_per_worker: Annotated[int, Field(ge=1, le=100_000), AsWhole] = 1
    database: Annotated[Literal["own", "shared"], AsText] = "own"

    @model_validator(mode="after")
    def some_kind(self) -> Replicas:
        if self.kinds and not any(self.kinds.values()):
            raise FieldError("kinds", "all weights are 0; give a kind another weight, such as 1")
        return self

    @model_validator(mode="after")
    def one_layout(self) -> Replicas:
        if self.database == "shared" and self.sensors_per_worker > 1:
            raise FieldError(
                "database",
                f"shared does not go with sensors_per_worker {self.sensors_per_worker}, "
                "whose sensors share their worker's database; leave one of the two out",
            )
        return self


class DynamicReload(Section):
    """The files that are watched while the fleet runs."""

    enabled: Flag = True
    watch_config: Flag = True
    watch_identity: Flag = True
    check_interval_seconds: Annotated[float, Field(ge=0.1, le=86_400), AsSeconds] = 5.0


class Supervision(Section):
    """The time after which a worker counts as hung, the restart budget and backoff, the time to stop; all in
    seconds."""

    hang_seconds: Annotated[float, Field(ge=1, le=86_400), AsSeconds] = 20.0
    restart_budget: Annotated[int, Field(ge=0, le=1_000_000), AsWhole] = 10
    restart_window_seconds: Annotated[float, Field(gt=0, le=604_800), AsSeconds] = 600.0
    backoff_min_seconds: Annotated[float, Field(gt=0, le=3600), AsSeconds] = 0.5
    backoff_max_seconds: Annotated[float, Field(gt=0, le=86_400), AsSeconds] = 30.0
    drain_seconds: Annotated[float, Field(gt=0, le=86_400), AsSeconds] = 30.0

    @model_validator(mode="after")
    def in_order(self) -> Supervision:
        if self.backoff_min_seconds > self.backoff_max_seconds:
            raise FieldError(
                "backoff_min_seconds",
                f"{self.backoff_min_seconds:g} is more than backoff_max_seconds {self.backoff_max_seconds:g}",
            )
        return self


class Override(Section):
    """Hardware that replaces that of every identity file, for as long as it is in the config."""

    manufacturer: Text | None = None
    model: Text | None = None
    firmware_version: Text | None = None


class Identities(Section):
    """A folder of identity files, or the one file of a single sensor. With `strict`, values that are not in the
    catalogue are an error."""

    path: Annotated[Text, AfterValidator(file_path)] | None = None
    strict: Flag = False
    override: Override = Override()


RESERVED_PATHS = ("api", "compare", "grid", "livez", "metrics", "openapi.json", "sensors", "static", "workers")
"""The first parts of the paths that are not for renaming."""


def unreserved_path(value: str) -> str:
    if len(value) > 200:
        raise ValueError("is longer than 200 characters")
    if value.split("/")[1] in RESERVED_PATHS:
        raise ValueError(f"is taken by what is below {', '.join(f'/{name}' for name in RESERVED_PATHS)}")
    return value


UrlPath = Annotated[
    str,
    Field(pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+$", description="a path such as /healthz"),
    AsText,
    AfterValidator(unreserved_path),
]


class Endpoints(Section):
    """Additional paths of five documents, for the fleet and, below /workers/<sensor id>, for a sensor. The default
    paths are always served."""

    health: UrlPath = "/healthz"
    metrics: UrlPath = "/metricz"
    status: UrlPath = "/statusz"
    samples: UrlPath = "/samplez"
    db_stats: UrlPath = "/db_stats"

    @model_validator(mode="after")
    def different(self) -> Endpoints:
        usual = {field.default: name for name, field in type(self).model_fields.items()}
        seen: dict[str, str] = {}
        for name in type(self).model_fields:
            path = getattr(self, name)
            other = seen.setdefault(path, name) if usual.get(path, name) == name else usual[path]
            if other != name:
                raise FieldError(name, f"{path} is the path of {other}")
        return self

    def renamed(self) -> Mapping[str, str]:
        """Return the default path by each additional one."""
        fields = type(self).model_fields.items()
        return {path: field.default for name, field in fields if (path := getattr(self, name)) != field.default}


class Monitoring(Section):
    """The HTTP server. It is on by default, but in a version 1 config only if this section is present. Port 0 is any
    free one. It answers to localhost, to IP addresses, and to the names in `allowed_hosts`."""

    enabled: Flag = True
    host: Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), AsWhole] = 8080
    allowed_hosts: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    endpoints: Endpoints = Endpoints()

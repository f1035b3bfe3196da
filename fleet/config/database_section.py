"""The section `database` of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from fleet.config.file_names import database_file, unreserved_file
from fleet.config.sections import AsLower
from fleet.validation.scalars import (
    MAX_CONFIG_SECONDS,
    AsReal,
    AsSeconds,
    AsText,
    AsWhole,
    Count,
    Flag,
    Seconds,
    Section,
    Text,
)
from worker.spec import MIN_KEEP_SECONDS, Store


class Backup(Section):
    """Copies of each database every `interval` seconds, the last `keep` of them."""

    enabled: Flag = False
    interval: Seconds = 3600.0
    path: Annotated[Text, AfterValidator(unreserved_file)] = "data/backups"
    keep: Annotated[int, Field(ge=1, le=100_000), AsWhole] = 7


def as_none(value: object) -> object:
    """Convert the word none: nothing is stated."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


AsNone = BeforeValidator(as_none)
KeepSeconds = Annotated[float, Field(ge=MIN_KEEP_SECONDS, le=MAX_CONFIG_SECONDS), AsSeconds]


class Database(Section):
    """The databases of the readings. With `store: none` they keep what determines the readings, and not the readings, which
    `delivery` takes elsewhere. In a fleet `path` names the shared database; delays and intervals are seconds.
    After a power failure the last commits may be missing with `synchronous: normal`; `full` loses none and costs a
    disk sync each."""

    store: Annotated[Store, AsLower, AsText] = "sqlite"
    path: Annotated[Text, AfterValidator(database_file)] = "data/sensor_data.db"
    batch_size: Annotated[int, Field(ge=1, le=1_000_000), AsWhole] = 100
    batch_interval: Annotated[float, Field(gt=0, le=3600), AsSeconds] = 1.0
    retry_attempts: Annotated[int, Field(ge=1, le=1000), AsWhole] = 3
    retry_delay: Annotated[float, Field(ge=0, le=3600), AsSeconds] = 1.0
    wal_mode: Flag = True
    synchronous: Annotated[Literal["normal", "full"], AsLower, AsText] = "normal"
    preserve_existing: Flag = True
    max_size_mb: Annotated[float, Field(ge=0.1, le=1e9), AsReal] | None = None
    keep: Annotated[KeepSeconds | None, AsNone] = None
    error_limit: Count | None = None
    backup: Backup = Backup()

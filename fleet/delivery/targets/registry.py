"""The targets by the scheme of their URL: the places that `fleet collect --to` writes to and `fleet verify --against` reads.

To add a target: a module or package beside this one, with a class that has the methods of `TargetClass` and whose
instances have those of `fleet.delivery.target.Target`; and its line in TARGETS.
"""

from __future__ import annotations

import os
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.target import Target
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.target_urls import Login, TargetUrl, resolve_target


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Options for making a target. `environment` holds its secrets; setting `stop` ends its waiting. A delivery is tried again for
    at most `retry_seconds`, and `on_retry` is called before. `record` is the shape of the readings in a target that takes documents.
    `folder` is the folder of the collector's records, for what a target keeps on this machine."""

    gzip: bool = False
    record: Record = ROW
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stop: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], datetime] = utc_now
    retry_seconds: float = 30.0
    folder: Path = Path()
    on_retry: Callable[[], object] = lambda: None
    login: Login | None = None
    """The user and the password that the URL had; it comes to the target without them."""


@dataclass(frozen=True, slots=True)
class ReadBackOptions:
    """Options for reading a target back.

    `table` is a table of the user; None stands for a collector's tables if the target has them. `sensor` limits the readings to
    one sensor. `record` is the shape that they were delivered in. With `damaged`, some of them may be no readings. `folder` is
    that of TargetOptions, `environment` holds the secrets of the target.
    """

    table: str | None = None
    sensor: str | None = None
    record: Record = ROW
    damaged: bool = False
    folder: Path = Path()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    login: Login | None = None


class TargetClass(Protocol):
    """The class of a target."""

    def open(self, url: str, options: TargetOptions) -> Target:
        """Make the target that `--to` names. UserError if it cannot work."""
        ...

    def read_back(self, url: str, options: ReadBackOptions) -> DeliveredReadings:
        """Open the readings in the target that `--against` names, to be compared. UserError if the target cannot be read."""
        ...


class TargetEntry(NamedTuple):
    """A line of TARGETS. The module of the class is imported only when the scheme is used: some need an extra.

    `example` is shown in messages, None for an alias. `readable` is False for a target that cannot be read back. With `login` its
    URL may have a user and a password, which are in the options then.
    """

    class_path: str
    example: str | None
    readable: bool = True
    login: bool = False


TARGETS = {
    "http:": TargetEntry(
        "fleet.delivery.targets.http.target:HttpTarget", "http://HOST/PATH", readable=False, login=True
    ),
    "https:": TargetEntry(
        "fleet.delivery.targets.http.target:HttpTarget", "https://HOST/PATH", readable=False, login=True
    ),
    "sqlite:": TargetEntry("fleet.delivery.targets.sqlite.target:SqliteTarget", "sqlite:///FILE"),
    "postgresql:": TargetEntry(
        "fleet.delivery.targets.postgres.target:PostgresTarget", "postgresql://HOST/DATABASE", login=True
    ),
    "postgres:": TargetEntry("fleet.delivery.targets.postgres.target:PostgresTarget", None, login=True),
    "mqtt:": TargetEntry(
        "fleet.delivery.targets.mqtt.target:MqttTarget", "mqtt://HOST/TOPIC", readable=False, login=True
    ),
    "mqtts:": TargetEntry("fleet.delivery.targets.mqtt.target:MqttTarget", None, readable=False, login=True),
    "kafka:": TargetEntry(
        "fleet.delivery.targets.kafka.target:KafkaTarget", "kafka://HOST/TOPIC", readable=False, login=True
    ),
    "jsonl:": TargetEntry("fleet.delivery.targets.jsonl.target:JsonLinesTarget", "jsonl:FILE"),
    "csv:": TargetEntry("fleet.delivery.targets.csv.target:CsvTarget", "csv:FILE"),
    "batches:": TargetEntry("fleet.delivery.targets.batches.target:BatchesTarget", "batches:DIR"),
    "s3:": TargetEntry("fleet.delivery.targets.s3.target:S3Target", "s3://BUCKET/PREFIX"),
    "influx://": TargetEntry("fleet.delivery.targets.influx.server:InfluxTarget", "influx://HOST/DATABASE", login=True),
    "influxs://": TargetEntry("fleet.delivery.targets.influx.server:InfluxTarget", None, login=True),
    "influx:": TargetEntry("fleet.delivery.targets.influx.file:InfluxFileTarget", "influx:FILE"),
    "parquet:": TargetEntry("fleet.delivery.targets.parquet.target:ParquetTarget", "parquet:DIR"),
}


def open_target(given: str, options: TargetOptions) -> Target:
    """Open the target that `--to` names. UserError if there is none, it cannot work, or its extra is not installed."""
    examples = [entry.example for entry in TARGETS.values() if entry.example]
    target, entry = find_target(given, options.environment, "--to", examples)
    with hiding(target, "--to"):
        return load_class(entry).open(target.url, replace(options, login=target.login))


def read_back(given: str, options: ReadBackOptions) -> DeliveredReadings:
    """Open the readings in the target that `--against` names. UserError if there is none or it cannot be read."""
    examples = [entry.example for entry in TARGETS.values() if entry.example and entry.readable]
    target, entry = find_target(given, options.environment, "--against", examples)
    with hiding(target, "--against"):
        return load_class(entry).read_back(target.url, replace(options, login=target.login))


def find_target(
    given: str, environment: Mapping[str, str], option: str, examples: list[str]
) -> tuple[TargetUrl, TargetEntry]:
    """Find a target and its entry. UserError if there is none, or if it has no use for a user and a password."""
    target = resolve_target(given, environment, option)
    entry = find_entry(target.url)
    if entry is None:
        verb = "holds" if target.is_secret else "is"
        raise UserError(f"{option}: {escape_short(given)!r} {verb} no target: allowed is {join_or(examples)}")
    if target.login and not entry.login:
        raise UserError(
            f"{option}: {escape_short(given)}: {target.url.partition(':')[0]} takes no user and no password in a URL"
        )
    return target, entry


@contextmanager
def hiding(target: TargetUrl, option: str) -> Iterator[None]:
    """Replace a secret URL in the message of a UserError by what the user has given."""
    try:
        yield
    except UserError as error:
        if not target.is_secret:
            raise
        text = str(error).removeprefix(f"{option}: ")
        for spelling in (target.url, escape_short(target.url)):
            text = text.replace(spelling, target.given)
        text = text.removeprefix(f"{target.given}: ")
        raise UserError(f"{option}: {escape_short(target.given)}: {text}") from None


def find_entry(url: str) -> TargetEntry | None:
    return next((entry for scheme, entry in TARGETS.items() if url.startswith(scheme)), None)


def load_class(entry: TargetEntry) -> TargetClass:
    return cast("TargetClass", pkgutil.resolve_name(entry.class_path))


def join_or(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"

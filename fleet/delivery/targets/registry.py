"""What can be named after `--to`: each kind of target by the beginning of its name.

To add a kind: its class (`fleet.delivery.target.Target`), a function that makes one here, and its line in TARGET_FACTORIES.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fleet.delivery.target import Target
from fleet.errors import UserError
from fleet.escaping import escape_short


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What targets are made with. `environment` has their secrets; `stop` ends their waiting."""

    gzip: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stop: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], datetime] = utc_now


def make_sqlite_target(text: str, given: TargetOptions) -> Target:
    from fleet.delivery.targets.sqlite import SqliteTarget

    return SqliteTarget(sqlite_path(text), given.now)


def sqlite_path(text: str) -> Path:
    """As database URLs have it: three slashes, then the path; a fourth makes it absolute."""
    path = text.removeprefix("sqlite:///")
    if path == text or not path.strip("/"):
        raise UserError(
            f"--to: {escape_short(text)!r} names no file: sqlite:///central.db, or sqlite:////srv/central.db"
        )
    return Path(path)


def make_http_target(text: str, given: TargetOptions) -> Target:
    from fleet.delivery.targets.credentials import read_credentials
    from fleet.delivery.targets.http import HttpTarget
    from fleet.delivery.targets.retry import RetryPolicy

    retry = RetryPolicy(stop=given.stop)
    return HttpTarget(text, read_credentials(given.environment), gzip=given.gzip, retry=retry)


def make_postgres_target(text: str, given: TargetOptions) -> Target:
    from fleet.delivery.targets.postgres import PostgresTarget
    from fleet.delivery.targets.retry import RetryPolicy

    return PostgresTarget(text, given.now, RetryPolicy(stop=given.stop))


def make_parquet_target(text: str, given: TargetOptions) -> Target:
    from fleet.delivery.targets.parquet import ParquetTarget
    from fleet.delivery.targets.retry import RetryPolicy

    folder = text.removeprefix("parquet:")
    if not folder:
        raise UserError("--to: 'parquet:' names no directory: parquet:DIR")
    return ParquetTarget(Path(folder), given.now, RetryPolicy(stop=given.stop))


TARGET_FACTORIES: dict[str, Callable[[str, TargetOptions], Target]] = {
    "http:": make_http_target,
    "https:": make_http_target,
    "parquet:": make_parquet_target,
    "postgres:": make_postgres_target,
    "postgresql:": make_postgres_target,
    "sqlite:": make_sqlite_target,
}

TARGET_EXAMPLES = "http://HOST/PATH, https://HOST/PATH, sqlite:///FILE, postgresql://HOST/DATABASE or parquet:DIR"


def open_target(text: str, given: TargetOptions) -> Target:
    """The target of that name. UserError if it is none, or can be seen not to work; extras that are not installed too."""
    for beginning, make in TARGET_FACTORIES.items():
        if text.startswith(beginning):
            return make(text, given)
    raise UserError(f"--to: {escape_short(text)!r} is no target: allowed is {TARGET_EXAMPLES}")

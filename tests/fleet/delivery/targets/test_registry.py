"""The registry of targets: each line names a class that writes and reads back."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.delivery.targets.batches.target import BatchesTarget
from fleet.delivery.targets.csv.target import CsvTarget
from fleet.delivery.targets.http.target import HttpTarget
from fleet.delivery.targets.influx.file import InfluxFileTarget
from fleet.delivery.targets.influx.server import InfluxTarget
from fleet.delivery.targets.jsonl.target import JsonLinesTarget
from fleet.delivery.targets.kafka.target import KafkaTarget
from fleet.delivery.targets.mqtt.target import MqttTarget
from fleet.delivery.targets.parquet.target import ParquetTarget
from fleet.delivery.targets.postgres.target import PostgresTarget
from fleet.delivery.targets.registry import (
    TARGETS,
    ReadBackOptions,
    TargetClass,
    TargetOptions,
    load_class,
    open_target,
    read_back,
)
from fleet.delivery.targets.s3.target import S3Target
from fleet.delivery.targets.sqlite.target import SqliteTarget
from fleet.errors import UserError

# A class without the methods of TargetClass does not pass mypy here.
CLASSES: list[TargetClass] = [
    BatchesTarget,
    CsvTarget,
    HttpTarget,
    JsonLinesTarget,
    KafkaTarget,
    MqttTarget,
    ParquetTarget,
    PostgresTarget,
    S3Target,
    SqliteTarget,
]

INFLUX_CLASSES: list[TargetClass] = [InfluxTarget, InfluxFileTarget]


def test_every_line_names_a_class() -> None:
    loaded = {load_class(entry) for entry in TARGETS.values()}

    assert {*CLASSES, *INFLUX_CLASSES} == loaded


@pytest.mark.parametrize("url", ["central.db", "ftp://host/path", ""])
def test_an_unknown_scheme_lists_the_known_ones(url: str) -> None:
    """Those that can be read back, after --against."""
    with pytest.raises(UserError) as written:
        open_target(url, TargetOptions())
    with pytest.raises(UserError) as compared:
        read_back(url, ReadBackOptions())

    readable = (
        "sqlite:///FILE, postgresql://HOST/DATABASE, jsonl:FILE, csv:FILE, batches:DIR, s3://BUCKET/PREFIX, "
        "influx://HOST/DATABASE, influx:FILE or parquet:DIR"
    )
    allowed = f"http://HOST/PATH, https://HOST/PATH, {readable.replace('jsonl:', 'mqtt://HOST/TOPIC, kafka://HOST/TOPIC, jsonl:')}"
    assert f"--to: {url!r} is no target: allowed is {allowed}" == str(written.value)
    assert f"--against: {url!r} is no target: allowed is {readable}" == str(compared.value)


@pytest.mark.parametrize("query", ["?mode=memory", "?mode=ro&cache=shared", "?"])
def test_options_of_sqlite_are_refused(tmp_path: Path, query: str) -> None:
    """They would become a part of the file's name."""
    url = f"sqlite:///{tmp_path}/x.db{query}"
    with pytest.raises(UserError, match="has options after the"):
        open_target(url, TargetOptions())
    with pytest.raises(UserError, match="has options after the"):
        read_back(url, ReadBackOptions())

    assert [] == list(tmp_path.iterdir())


def test_a_server_cannot_be_read_back() -> None:
    """The message does not repeat the URL, which may hold a secret."""
    with pytest.raises(UserError, match="cannot be asked what it holds") as error:
        read_back("https://host/path?key=secret", ReadBackOptions())

    assert "secret" not in str(error.value)

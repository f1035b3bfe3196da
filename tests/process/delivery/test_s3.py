"""A bucket as a target, with a real server."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from fleet.delivery.target import HoldingTarget, Target, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.batches.open_batch import OpenBatch
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.delivery.targets.retry import RetryPolicy
from fleet.delivery.targets.s3 import bucket as s3_bucket
from fleet.delivery.targets.s3.address import parse_bucket
from fleet.delivery.targets.s3.bucket import Bucket
from tests.fleet.delivery.samples import batch, epochs
from tests.process.conftest import Up
from tests.process.running_fleet import ENVIRONMENT, fleet, wait_for
from tests.servers.moto import ANYBODY, ObjectServer, object_server

KEY = re.compile(r"\d{4}/\d\d/\d\d/edge-hostname_\d{19}\.(json|jsonl\.gz|parquet)")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with object_server(tmp_path_factory.mktemp("moto")) as server:
        server.create_bucket("plant")
        yield server


def url(server: ObjectServer, prefix: str, more: str = "") -> str:
    return f"s3://plant/{prefix}?endpoint={server.endpoint}{more}"


def opened(place: str, folder: Path, **variables: str) -> Target:
    environment = ANYBODY | {"EDGE_NODE_ID": "edge-hostname"} | variables
    return open_target(place, TargetOptions(environment=environment, folder=folder, retry_seconds=0.1))


def bucket(place: str) -> Bucket:
    return Bucket(parse_bucket(place, "--to", ANYBODY)[0], RetryPolicy(seconds=5), lambda: datetime.now(UTC))


def objects(place: str) -> dict[str, bytes]:
    """The objects with readings."""
    stored = bucket(place)
    return {key: stored.read(key) for key in sorted(stored.list()) if not key.startswith("_")}


def opens(process: psutil.Process, name: str) -> bool:
    return any(name in file.path for file in process.open_files())


def write_rest(target: Target) -> None:
    assert isinstance(target, HoldingTarget)
    target.write_held(everything=True)


def records(content: bytes) -> list[dict[str, Any]]:
    return list(json.loads(content))


@pytest.mark.claim("003.expanso.5")
def test_batches_are_objects(running: ObjectServer, tmp_path: Path) -> None:
    """Under the keys of the document, with its variables."""
    variables = {"S3_BUCKET": "plant", "S3_PREFIX": "variables/", "AWS_ENDPOINT_URL": running.endpoint}
    with closing(opened("s3:", tmp_path, BATCH_SIZE="3", BATCH_PERIOD="1h", **variables)) as target:
        target.deliver(batch(1, 6, epochs=epochs(0)))
        write_rest(target)

    stored = objects(url(running, "variables"))
    assert all(KEY.fullmatch(key) for key in stored)
    assert datetime.now(UTC).strftime("%Y/%m/") in next(iter(stored))
    assert [[1, 2, 3], [4, 5]] == [[record["id"] for record in records(content)] for content in stored.values()]
    history = [key for key in bucket(url(running, "variables")).list() if key.startswith("_history/edge-hostname_")]
    assert 1 == len(history)


@pytest.mark.parametrize("died", ["before the object", "after the object"])
def test_an_upload_that_is_tried_again_is_one_object(
    died: str, running: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process."""
    place = url(running, died.replace(" ", "-"), "&size=4")
    owner, name = (Bucket, "put") if died.startswith("before") else (OpenBatch, "clear")

    def refuse(*_: object) -> None:
        raise OSError(5, os.strerror(5))

    with closing(opened(place, tmp_path)) as first:
        first.deliver(batch(1, 3))
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refuse)
            with pytest.raises(TargetUnavailable):
                first.deliver(batch(3, 9))
    with closing(opened(place, tmp_path)) as second:
        second.deliver(batch(3, 9))

    contents = objects(place).values()
    assert [[1, 2, 3, 4], [5, 6, 7, 8]] == [[record["id"] for record in records(content)] for content in contents]


def test_many_objects_are_listed(running: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fit into one list; their keys may have any characters."""
    monkeypatch.setattr(s3_bucket, "KEYS_PER_LIST", 2)
    stored = bucket(url(running, "many and more+é"))
    keys = {*map(str, range(6)), "a b+c%20&=~/é"}
    for key in keys:
        stored.put(key, key.encode())

    assert keys == set(stored.list())
    assert keys == {stored.read(key).decode() for key in keys}


def test_a_server_that_is_away(tmp_path: Path) -> None:
    """It is said which; when it is there again, everything arrives, once."""
    with object_server(tmp_path) as server:
        server.create_bucket("plant")
        place = url(server, "away", "&size=2")
        server.kill()
        with closing(opened(place, tmp_path)) as target:
            for _ in range(2):
                with pytest.raises(
                    TargetUnavailable, match=rf"s3://plant/away/\?endpoint=\S+: {server.endpoint}: no connection"
                ):
                    target.deliver(batch(1, 6))
            server.start()
            server.create_bucket("plant")
            target.deliver(batch(1, 6))
            write_rest(target)
        contents = objects(place).values()
    assert [[1, 2], [3, 4], [5]] == [[record["id"] for record in records(content)] for content in contents]


def test_an_error_says_what_is_wrong(tmp_path: Path) -> None:
    """Bucket, access key, secret, permission, protocol; on one line, without a secret."""
    with object_server(tmp_path) as server:
        server.create_bucket("plant")
        writer, reader = server.create_user("writer", "s3:PutObject", "s3:ListBucket"), server.create_user("reader")
        server.check_credentials()
        good = url(server, "x", "&size=1")
        cases = {
            "there is no bucket 'elsewhere'": (good.replace("plant", "elsewhere"), writer),
            "the access key in AWS_ACCESS_KEY_ID is not known there": (good, ANYBODY),
            "AWS_SECRET_ACCESS_KEY is not the secret of the access key in AWS_ACCESS_KEY_ID": (
                good,
                writer | {"AWS_SECRET_ACCESS_KEY": "wrong-secret"},
            ),
            "permission denied: the credentials do not allow to write objects in the bucket 'plant'": (good, reader),
            "no TLS with it": (good.replace("http://", "https://"), writer),
        }
        for number, (reason, (place, variables)) in enumerate(cases.items()):
            with (
                closing(opened(place, tmp_path / str(number), **variables)) as target,
                pytest.raises(TargetMisconfigured) as raised,
            ):
                target.deliver(batch(1, 2))
            assert reason in str(raised.value)
            assert "\n" not in str(raised.value)
            assert variables["AWS_SECRET_ACCESS_KEY"] not in str(raised.value)
        with closing(opened(good, tmp_path / "good", **writer)) as target:
            target.deliver(batch(1, 2))


def test_a_fleet_delivers_while_the_server_stands_still(
    up: Up, running: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each format; the delivery process is killed, too."""
    for name, value in ANYBODY.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(ENVIRONMENT, name, value)
    data = tmp_path / "data"
    formats = ("batches&envelope=1", "jsonl.gz", "parquet")
    places = [url(running, f"fleet-{number}", f"&size=70&format={name}") for number, name in enumerate(formats)]
    options = [word for place in places for word in ("--to", place)]
    fleet_process = up("--replicas", 3, "--rate", 50, "--for", "6s", *options).ready()
    wait_for(lambda: len(objects(places[2])) > 1, "something is stored")
    with running.suspended():
        (victim,) = [each for each in psutil.Process(fleet_process.pid).children() if opens(each, "s3-")]
        victim.kill()
        wait_for(lambda: fleet_process.output.count("delivery: killed by SIGKILL"), "it is noticed")

    assert 0 == fleet_process.wait(), fleet_process.output
    for place in places:
        verdict = fleet("verify", "--data", data, "--against", place, "--complete")
        assert 0 == verdict.returncode, verdict.stdout + verdict.stderr
        assert "900 of 900 readings arrived" in verdict.stdout
        assert "no differences" in verdict.stdout
    lines = [line for content in objects(places[1]).values() for line in gzip.decompress(content).splitlines()]
    assert 900 == len(lines)
    (first, *_) = objects(places[0]).values()
    assert 70 == json.loads(first)["batch_meta"]["record_count"]

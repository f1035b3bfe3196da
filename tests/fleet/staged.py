"""A fleet as readers see it, without processes: a real roster, a real scoreboard, real databases."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from flask.testing import FlaskClient

from fleet.datadir.delivery_status import DELIVERY_STATUS_FILE, DeliveryStatus, TargetStatus
from fleet.datadir.roster import Member, Roster
from fleet.monitoring.observation import Observer
from fleet.web.app import create_app
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import STATE_INDEX, Scoreboard
from worker.spec import Identity, Layout
from worker.storage.schema import READING_COLUMNS, create_tables, identity_values, insert_readings_sql

CHANNELS = (("temperature", "°C"), ("humidity", "%"), ("pressure", "Pa"), ("vibration", "mm/s²"), ("voltage", "V"))
VALUES = (22.5, 60.25, 101325.0, 0.512, 24.03)
START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND_NS = 1_000_000_000


def sensor_name(number: int) -> str:
    return f"BER_{number:06d}"


def timestamp_at(seq: int) -> str:
    return (START + timedelta(seconds=seq)).isoformat(timespec="microseconds")


class StagedFleet:
    """`sensors` sensors of one reading a second, all healthy, started a minute ago, nothing written yet."""

    def __init__(self, data: Path, sensors: int = 3, layout: Layout = "own") -> None:
        self.data, self.run, self.layout = data, data / "run", layout
        self.run.mkdir(parents=True)
        self.started_ns = time.monotonic_ns() - 60 * SECOND_NS
        self.members = tuple(self.member(number) for number in range(sensors))
        self.write_roster()
        self.scoreboard = Scoreboard.create(self.run / "board", max(sensors, 1))
        now = time.monotonic_ns()
        rows = self.scoreboard.rows
        rows["started_ns"], rows["heartbeat_ns"] = self.started_ns, now
        rows["state"], rows["anomaly"] = STATE_INDEX["healthy"], -1
        rows["incarnation"] = np.arange(1, len(rows) + 1)  # a process each
        rows["leads"] = 1
        rows["values"][:, : len(VALUES)] = VALUES
        rows["values"][:, len(VALUES) :] = float("nan")

    def deliver(self, *targets: TargetStatus, written: float = 0.0, interval: float = 1.0) -> None:
        """What the delivery process reports, `written` seconds ago."""
        self.run.joinpath(DELIVERY_STATUS_FILE).unlink(missing_ok=True)
        DeliveryStatus(targets, time.time() - written, interval).write(self.run / DELIVERY_STATUS_FILE)

    def member(self, number: int) -> Member:
        one_each = self.layout == "own"
        identity = Identity(
            sensor_id=sensor_name(number),
            manufacturer="SensorTech",
            model="EnvMonitor-3000",
            firmware_version="1.4",
            location="Berlin",
            latitude=52.52,
            longitude=13.405,
            timezone="Europe/Berlin",
        )
        return Member(
            row=number,
            worker=sensor_name(number) if one_each else "pack_0001",
            rate=1.0,
            database=self.data / (f"{sensor_name(number)}.db" if one_each else "sensors.db"),
            log=self.run / "fleet.log",
            channels=CHANNELS,
            identity=identity,
        )

    def roster(self) -> Roster:
        return Roster(
            seed=42,
            layout=self.layout,
            run=1,
            pid=0,
            config="configs/fleet.yaml",
            started_at="2026-01-01T00:00:00+00:00",
            started_ns=self.started_ns,
            start_time="2026-01-01T00:00:00.000000+00:00",
            duration=None,
            url=None,
            members=self.members,
        )

    def write_roster(self, age: float = 60, **changes: Any) -> None:
        """Replace the roster by one that was written `age` seconds ago, with `changes` of its fields."""
        path = self.run / "roster.json"
        replace(self.roster(), **changes).write(path)
        written = time.time_ns() - int(age * SECOND_NS)
        os.utime(path, ns=(written, written))

    def set(self, number: int, state: str = "healthy", reason: str = "", **fields: Any) -> None:
        """Write a sensor's row on the scoreboard."""
        writer = self.scoreboard.row(number)
        with writer as row:
            row["state"] = STATE_INDEX[state]
            writer.reason(reason)
            for field, value in fields.items():
                if field == "anomalies":  # those of the first types
                    row[field][: len(value)] = value
                else:
                    row[field] = value

    def write(self, number: int, readings: int, kind: str | None = None) -> None:
        """Commit that many readings of a sensor to its database and to the scoreboard, the last one anomalous."""
        member = self.members[number]
        connection = apsw.Connection(str(member.database))
        connection.pragma("journal_mode", "wal")
        create_tables(connection)
        assert READING_COLUMNS[0] == "timestamp"
        with connection:
            for seq in range(readings):
                anomaly = kind if seq == readings - 1 else None
                values = (timestamp_at(seq), *VALUES, 1 if anomaly else 0, 1 if anomaly else 0, anomaly, seq)
                connection.execute(insert_readings_sql(1), (*identity_values(member.identity), *values))
            if kind:
                episode = (member.sensor_id, kind, "temperature", readings - 1, readings - 1)
                times = (timestamp_at(readings - 1), timestamp_at(readings - 1), json.dumps({"multiplier": 2.5}))
                connection.execute("INSERT INTO anomaly_episodes VALUES (?,?,?,?,?,?,?,?)", (*episode, *times))
        connection.close()
        with self.scoreboard.row(number) as row:
            row["readings"] = row["next_seq"] = readings
            row["commits"], row["commit_total_us"], row["committed_at_us"] = readings, 500 * readings, readings
            row["commit_buckets"][0] = readings
            row["timestamp_us"] = int(START.timestamp() + readings - 1) * 1_000_000
            row["anomaly"] = ANOMALY_TYPES.index(kind) if kind else -1
            if kind:
                row["anomalies"][ANOMALY_TYPES.index(kind)] += 1


def staged_with_readings(data: Path) -> StagedFleet:
    """One of three sensors with readings: 10, 11 and 12 of them, the last of the second sensor a spike."""
    staged = StagedFleet(data)
    for number in range(3):
        staged.write(number, 10 + number, "spike" if number == 1 else None)
    return staged


def client_of(staged: StagedFleet) -> FlaskClient:
    """Return a client of the HTTP app, which observes the fleet for every request."""
    return create_app(staged.run, Observer(staged.run, tick=0)).test_client()

"""MQTT as a broker's load test needs it: a connection for each sensor into mosquitto, and the share of a core that this takes.

python benchmarks/mqtt.py [SENSORS] [MESSAGES A SECOND] [QOS] [OPTIONS OF THE BROKER'S URL]
"""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psutil

from fleet.delivery.batch import Batch, Row, SourceDatabase, Value
from fleet.delivery.columns import DELIVERED_COLUMNS
from fleet.delivery.live import THREADS_PER_TARGET
from fleet.delivery.targets.registry import TargetOptions, open_target

SENSORS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
QOS = int(sys.argv[3]) if len(sys.argv) > 3 else 1
OPTIONS = sys.argv[4] if len(sys.argv) > 4 else ""
CONNECT_RATE, READINGS_PER_BATCH, SECONDS = 200, 5, 15.0


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as (port, process):
        url = f"mqtt://127.0.0.1:{port}/bench/{{sensor_id}}?connections=sensor&connect_rate={CONNECT_RATE}&qos={QOS}&{OPTIONS}"
        target = open_target(url, TargetOptions())
        batches = [Batches(number) for number in range(SENSORS)]
        with ThreadPoolExecutor(THREADS_PER_TARGET) as executor:
            begin = time.monotonic()
            list(executor.map(lambda each: target.deliver(each.next(1)), batches))
            seconds = time.monotonic() - begin
            print(f"{SENSORS:,} connections in {seconds:.1f} s: {SENSORS / seconds:,.0f} connects/s")

            own, brokers = time.process_time(), process.cpu_times()
            begin, sent, latencies = time.monotonic(), 0, []

            def deliver(number: int) -> None:
                due = begin + number * READINGS_PER_BATCH / RATE
                time.sleep(max(0.0, due - time.monotonic()))
                receipt = target.deliver(batches[number % SENSORS].next(READINGS_PER_BATCH))
                assert len(receipt.accepted) == READINGS_PER_BATCH, receipt
                latencies.append(time.monotonic() - due)

            for _ in executor.map(deliver, range(int(SECONDS * RATE / READINGS_PER_BATCH))):
                sent += READINGS_PER_BATCH
            seconds = time.monotonic() - begin
        after, latencies = process.cpu_times(), sorted(latencies)
        broker_share = (after.user + after.system - brokers.user - brokers.system) / seconds
        print(
            f"QoS {QOS}: {sent / seconds:,.0f} messages/s for {seconds:.0f} s, {(time.process_time() - own) / seconds:.0%} of a "
            f"core here, {broker_share:.0%} in the broker; acknowledged after {latencies[len(latencies) // 2] * 1000:.1f} ms, "
            f"99 % within {latencies[len(latencies) * 99 // 100] * 1000:.0f} ms"
        )
        target.close()


class Batches:
    """The readings of one sensor, batch after batch."""

    def __init__(self, number: int) -> None:
        self._sensor, self._ids = f"BENCH_{number:06d}", count(1)
        self._source = SourceDatabase(Path("x.db"), "x.db", f"generation-{number}", ("id", *DELIVERED_COLUMNS))

    def next(self, readings: int) -> Batch:
        return Batch(self._source, tuple(self._row(next(self._ids)) for _ in range(readings)))

    def _row(self, number: int) -> Row:
        values: dict[str, Value] = {
            "id": number,
            "timestamp": "2026-01-01T00:00:00.000000+00:00",
            "sensor_id": self._sensor,
            "seq": number,
        }
        return tuple(values.get(name, number / 7) for name in self._source.columns)


@contextmanager
def broker(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        sys.exit("mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\nlog_type error\n"
    )
    with subprocess.Popen([program, "-c", config]) as process:
        try:
            for _ in range(100):
                time.sleep(0.05)
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


if __name__ == "__main__":
    main()

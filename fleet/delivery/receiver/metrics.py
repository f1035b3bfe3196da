"""The metrics of a receiver, for its summary and for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

OUTCOMES = ("accepted", "duplicate", "rejected", "conflict")
FAULT_NAMES = ("failed", "unanswered")
DELIVERY_SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ReceiverMetrics:
    """Counters since the start.

    Outcomes of readings: `accepted` are stored, by this delivery or an earlier one; `duplicate` are those of them that
    were stored before; `rejected` are not stored; `conflict` are those of them that were stored with other content.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "fleet_receiver_requests", "Requests answered, by status.", ["status"], registry=self.registry
        )
        self._readings = Counter(
            "fleet_receiver_readings",
            "Readings by outcome; duplicates were accepted before, conflicts are rejected.",
            ["outcome"],
            registry=self.registry,
        )
        self._bytes = Counter(
            "fleet_receiver_body_bytes", "Bytes of bodies, as they came over the wire.", registry=self.registry
        )
        self._faults = Counter(
            "fleet_receiver_faults", "Deliveries spoilt on purpose, by fault.", ["fault"], registry=self.registry
        )
        self.seconds = Histogram(
            "fleet_receiver_delivery_seconds",
            "Time from a delivery's body having come to its answer.",
            registry=self.registry,
            buckets=DELIVERY_SECONDS_BUCKETS,
        )
        for outcome in OUTCOMES:
            self._readings.labels(outcome)
        for fault in FAULT_NAMES:
            self._faults.labels(fault)

    def count_request(self, status: int) -> None:
        self._requests.labels(str(status)).inc()

    def count_body(self, size: int) -> None:
        self._bytes.inc(size)

    def count_readings(self, outcome: str, count: int) -> None:
        self._readings.labels(outcome).inc(count)

    def count_fault(self, fault: str) -> None:
        self._faults.labels(fault).inc()

    def exposition(self) -> bytes:
        return generate_latest(self.registry)

    def readings(self) -> dict[str, int]:
        return {outcome: self._sample("fleet_receiver_readings_total", outcome=outcome) for outcome in OUTCOMES}

    def faults(self) -> dict[str, int]:
        return {fault: self._sample("fleet_receiver_faults_total", fault=fault) for fault in FAULT_NAMES}

    def deliveries(self) -> int:
        return self._sample("fleet_receiver_delivery_seconds_count")

    def body_bytes(self) -> int:
        return self._sample("fleet_receiver_body_bytes_total")

    def _sample(self, name: str, **labels: str) -> int:
        return int(self.registry.get_sample_value(name, labels) or 0)

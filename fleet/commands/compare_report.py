"""What `fleet verify --against` has to say of a delivery, as text and for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fleet.delivery.compare.verdict import DeliveryVerdict, Latency

DURATION_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def delivery_document(delivery: DeliveryVerdict) -> dict[str, Any]:
    return {"ok": delivery.ok, **asdict(delivery)}


def summary_lines(delivery: DeliveryVerdict) -> Iterator[str]:
    """The summary, in lines of less than 80 characters but for the target's name."""
    yield f"compared with {delivery.target}"
    yield f"  {delivery.arrived:,} of {delivery.generated:,} readings arrived, {delivery.pending:,} to be delivered yet"
    yield f"  {delivery.episodes:,} episodes and {delivery.epochs:,} epochs looked at"
    if delivery.strangers:
        yield f"  {delivery.strangers:,} readings of other databases were not judged"
    if delivery.alarms:
        yield f"  {delivery.alarms:,} came again with other content; the target refused them"
    if delivery.latency is not None:
        yield f"  on their way: {format_latency(delivery.latency)}"
    wrong = sum(delivery.counts.values())
    yield f"  {'all as it must be' if delivery.ok else f'{wrong:,} findings'}, {delivery.seconds:.1f} s"


def format_latency(latency: Latency) -> str:
    return (
        f"50 % {format_duration(latency.p50)}, 95 % {format_duration(latency.p95)}, "
        f"99 % {format_duration(latency.p99)}, all {format_duration(latency.max)}"
    )


def format_duration(seconds: float) -> str:
    for size, unit in DURATION_UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.2f} s"

"""Metric families, and the two formats that they are written in: the text format of Prometheus and OpenMetrics.

The formats are written here because prometheus_client needs a quarter of a second for the series of a thousand sensors,
ten times as long. The tests read the result back with its parsers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

from fleet.monitoring.memory import MemoryUsage
from fleet.monitoring.observation import Observation
from worker.scoreboard import Rows

Number = int | float
MetricType = Literal["counter", "gauge", "histogram", "info"]
SAMPLE_SUFFIXES = {"counter": "_total", "info": "_info"}


class Format(NamedTuple):
    """One of the two formats of `/metrics`."""

    content_type: str
    openmetrics: bool


TEXT = Format("text/plain; version=0.0.4; charset=utf-8", openmetrics=False)
OPENMETRICS = Format("application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics=True)

FORMAT_BY_MEDIA_TYPE = {"application/openmetrics-text": OPENMETRICS, "text/plain": TEXT, "text/*": TEXT, "*/*": TEXT}


@dataclass(frozen=True)
class Scrape:
    """The input of every metric: one observation, the memory of all processes, and the directory that holds the data."""

    observation: Observation
    memory: MemoryUsage
    data_directory: Path

    @cached_property
    def worker_rows(self) -> Rows:
        """One row per process. Sensors that share a process repeat its counts in each of their rows."""
        rows = self.observation.all_rows
        leading_rows: Rows = rows[rows["leads"] == 1]
        return leading_rows

    @cached_property
    def sensor_labels(self) -> list[str]:
        """The label that begins the label set of each sensor's series; the caller closes the brace."""
        return [f'{{sensor_id="{escape_label(member.sensor_id)}"' for member in self.observation.members]


class Metric(NamedTuple):
    """One metric family. `name` is its OpenMetrics name, with the unit and without the suffix of its samples; `lines`
    returns the sample lines."""

    name: str
    type: MetricType
    help: str
    lines: Callable[[Scrape], Iterable[str]]
    unit: str = ""

    def header(self, format_: Format) -> str:
        """The comment lines above the samples. The text format names a counter with its suffix and has neither units nor
        the type `info`."""
        if format_.openmetrics:
            unit = f"# UNIT {self.name} {self.unit}\n" if self.unit else ""
            return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.type}\n{unit}"
        name = self.name + SAMPLE_SUFFIXES.get(self.type, "")
        return f"# HELP {name} {self.help}\n# TYPE {name} {'gauge' if self.type == 'info' else self.type}\n"


def negotiate_format(accepted: Iterable[tuple[str, float]]) -> Format:
    """Return the best of (media type, quality), best first; the text format if none is known. Versions are ignored: the
    text format has one, and a client that knows OpenMetrics reads the version in the answer."""
    for media_type, quality in accepted:
        essence = media_type.partition(";")[0].strip().lower()
        if essence in FORMAT_BY_MEDIA_TYPE and quality > 0:
            return FORMAT_BY_MEDIA_TYPE[essence]
    return TEXT


def render(metrics: Iterable[Metric], scrape: Scrape, format_: Format) -> bytes:
    """Return the body of an answer with these metrics, without those that have no series."""
    parts: list[str] = []
    for metric in metrics:
        if lines := list(metric.lines(scrape)):
            parts.extend((metric.header(format_), *lines))
    return "".join([*parts, "# EOF\n" if format_.openmetrics else ""]).encode()


def counter(name: str, help_: str, value: Callable[[Scrape], Number]) -> Metric:
    return Metric(name, "counter", help_, lambda scrape: [f"{name}_total {value(scrape)}\n"])


def gauge(name: str, help_: str, value: Callable[[Scrape], Number], unit: str = "") -> Metric:
    return Metric(name, "gauge", help_, lambda scrape: [f"{name} {value(scrape)}\n"], unit)


def labelled(
    type_: MetricType, name: str, help_: str, label: str, values: Callable[[Scrape], Mapping[str, Number]]
) -> Metric:
    """A series for each key of `values`, which becomes the value of `label`."""
    sample = name + SAMPLE_SUFFIXES.get(type_, "")
    return Metric(
        name,
        type_,
        help_,
        lambda scrape: [
            f'{sample}{{{label}="{escape_label(key)}"}} {value}\n' for key, value in values(scrape).items()
        ],
    )


def info(name: str, help_: str, labels: Callable[[Scrape], Mapping[str, object]]) -> Metric:
    """One series whose labels are the information."""

    def lines(scrape: Scrape) -> list[str]:
        pairs = ",".join(f'{label}="{escape_label(str(value))}"' for label, value in labels(scrape).items())
        return [f"{name}_info{{{pairs}}} 1\n"]

    return Metric(name, "info", help_, lines)


def histogram(
    name: str, help_: str, bounds_us: tuple[int, ...], rows: Callable[[Scrape], Rows], buckets: str, total_us: str
) -> Metric:
    """Seconds, from two fields of `rows` in microseconds. The scoreboard counts each event in one bucket; Prometheus
    expects cumulative buckets."""
    bounds = [*(str(bound / 1e6) for bound in bounds_us), "+Inf"]

    def lines(scrape: Scrape) -> list[str]:
        counted = rows(scrape)
        counts = list(accumulate(counted[buckets].sum(axis=0).tolist()))
        return [
            *(f'{name}_bucket{{le="{bound}"}} {count}\n' for bound, count in zip(bounds, counts, strict=True)),
            f"{name}_count {counts[-1]}\n",
            f"{name}_sum {int(counted[total_us].sum()) / 1e6}\n",
        ]

    return Metric(name, "histogram", help_, lines, "seconds")


def sensor_metric(
    type_: MetricType, name: str, help_: str, column: Callable[[Observation], Sequence[Number]], unit: str = ""
) -> Metric:
    """A series per sensor, from a column in the order of the roster."""
    sample = name + SAMPLE_SUFFIXES.get(type_, "")

    def lines(scrape: Scrape) -> list[str]:
        columns = zip(scrape.sensor_labels, column(scrape.observation), strict=True)
        return [f"{sample}{label}}} {number}\n" for label, number in columns]

    return Metric(name, type_, help_, lines, unit)


def escape_label(text: str) -> str:
    """Escape the value of a label for either format; characters that UTF-8 cannot encode are escaped as in JSON."""
    encodable = text.encode(errors="backslashreplace").decode()
    return encodable.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

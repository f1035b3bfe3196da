"""The content of a report, read from a data directory, also while a fleet runs in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.config.config import load_config, to_yaml
from fleet.datadir.delivery_status import TargetStatus
from fleet.datadir.directory import DataDirectory
from fleet.datadir.events import EventRecord, read_events
from fleet.datadir.manifest import FleetManifest
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.history.stored import StoredHistory, read_histories
from fleet.monitoring.observation import FleetUnavailable, Observation, Observer
from fleet.monitoring.stats import FleetStats, error_classes, fleet_stats
from fleet.plots.points import EpisodeRow
from fleet.plots.selection import first_due, last_due
from fleet.report.redaction import without_secrets
from fleet.report.shares import GROUPINGS, GroupShares, LabelledPart, group_by, labelled_parts
from fleet.verify.findings import Verdict
from fleet.verify.verification import ProgressCallback, verify
from worker.schedule import SECOND_US, format_time
from worker.spec import Settings

MAX_GROUPS = 12
MAX_EVENTS = 40
MAX_EXAMPLES = 12

NO_PROGRESS: ProgressCallback = lambda _done, _total: None  # noqa: E731 - a default


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a fleet in the directory: its counters, errors by class, targets, and whether it still runs."""

    roster: Roster
    stats: FleetStats
    errors: dict[str, int]
    targets: tuple[TargetStatus, ...]
    running: bool


@dataclass(frozen=True, slots=True)
class KindSettings:
    """The settings in force of the first sensor of a kind, and how many sensors are of that kind."""

    kind: str
    sensors: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class Example:
    """An episode that stands for its type."""

    history: StoredHistory
    episode: EpisodeRow


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says. Times are in microseconds since 1970. `whole` has all readings, `groups` the largest groups of each
    grouping with the number of others. `config` is the text of the config, or the reason why there is none."""

    data: Path
    made_at: datetime
    version: str
    histories: Sequence[StoredHistory]
    start_us: int
    end_us: int
    manifest: FleetManifest | None
    last_run: LastRun | None
    verdict: Verdict | None
    whole: GroupShares
    episodes: Counter[str]
    groups: dict[str, tuple[list[GroupShares], int]]
    kinds: list[KindSettings]
    examples: dict[str, Example]
    events: list[EventRecord]
    event_counts: Counter[str]
    config_name: str
    config: str | None

    @property
    def seconds(self) -> float:
        return (self.end_us - self.start_us) / SECOND_US


def read_report(
    data: Path, made_at: datetime, version: str, *, verified: bool = True, on_progress: ProgressCallback = NO_PROGRESS
) -> Report:
    """Read all that a report says. UserError if there is no database of a fleet, or one that cannot be read."""
    verdict = verify(data, on_progress=on_progress) if verified and data.is_dir() else None
    histories = read_histories(data)
    if not histories:
        raise UserError(f"{data}: there is no reading in it yet")
    directory = DataDirectory(data)
    parts: list[LabelledPart] = []
    episodes: Counter[str] = Counter()
    candidates: dict[str, list[Example]] = {}
    for history in histories:
        of_sensor, rows = labelled_parts(history)
        parts += of_sensor
        episodes.update(row.type for row in rows)
        for row in rows:
            if row.last_seq < history.end and len(candidates.setdefault(row.type, [])) < MAX_EXAMPLES:
                candidates[row.type].append(Example(history, row))
    events = read_events(directory.events)
    last_run = read_last_run(directory)
    name, config = config_text(last_run)
    return Report(
        data=data,
        made_at=made_at,
        version=version,
        histories=histories,
        start_us=min(map(first_due, histories)),
        end_us=max(map(last_due, histories)),
        manifest=directory.read_manifest(),
        last_run=last_run,
        verdict=verdict,
        whole=(group_by(parts, lambda _identity: "all") or [GroupShares("all")])[0],
        episodes=episodes,
        groups={title: largest(group_by(parts, key)) for title, key in GROUPINGS},
        kinds=kinds_in_force(histories),
        examples={kind: typical(some) for kind, some in candidates.items()},
        events=events[: -MAX_EVENTS - 1 : -1],
        event_counts=Counter(str(event["kind"]) for event in events),
        config_name=name,
        config=config,
    )


def largest(groups: list[GroupShares]) -> tuple[list[GroupShares], int]:
    return groups[:MAX_GROUPS], max(0, len(groups) - MAX_GROUPS)


def typical(examples: list[Example]) -> Example:
    """Return the example of the median length."""
    ordered = sorted(examples, key=lambda each: each.episode.last_seq - each.episode.first_seq)
    return ordered[len(ordered) // 2]


def kinds_in_force(histories: Sequence[StoredHistory]) -> list[KindSettings]:
    """Return the settings of each kind of sensor, the kind with the most sensors first."""
    counts = Counter(history.epochs[-1].identity.sensor_type for history in histories)
    first = {history.epochs[-1].identity.sensor_type: history.epochs[-1].settings for history in reversed(histories)}
    return [KindSettings((kind or "").replace("_", " "), n, first[kind]) for kind, n in counts.most_common()]


def read_last_run(directory: DataDirectory) -> LastRun | None:
    """Read the counters of the last run, None if no fleet has run here or its files cannot be read."""
    observation: Observation
    try:
        observation = Observer(directory.run).observe()
    except FleetUnavailable:
        return None
    stats = fleet_stats(observation.all_rows)
    errors = error_classes(stats, observation.reload, observation.backups)
    targets = observation.delivery.targets if observation.delivery else ()
    return LastRun(observation.roster, stats, errors, targets, directory.holder() is not None)


def config_text(last_run: LastRun | None) -> tuple[str, str | None]:
    """Return the name of the config of the last run, and its values without secrets, None if it cannot be read any more."""
    if last_run is None or not last_run.roster.config:
        return "", None
    path = Path(last_run.roster.config)
    with suppress(OSError, UserError):
        return path.name, without_secrets(to_yaml(load_config(path, {}, {})))
    return path.name, None


def iso_minutes(time_us: int) -> str:
    """Return a time to the second, such as 2026-01-01 00:00:00."""
    return format_time(time_us)[:19].replace("T", " ")


def format_span(seconds: float) -> str:
    """Return a duration in two units, such as 31 d 4 h."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left = max(round(seconds), 0)
    parts: list[str] = []
    for name, size in units:
        count, left = divmod(left, size)
        if count and len(parts) < 2:
            parts.append(f"{count:,} {name}")
    return " ".join(parts) or "0 s"


def now_utc() -> datetime:
    return datetime.now(UTC)


def anomaly_rows(settings: Settings) -> list[tuple[str, float, str, str]]:
    """Return (type, share, length, parameters) of each type of anomaly that is enabled."""
    rows: list[tuple[str, float, str, str]] = []
    for spec in settings.anomalies:
        parameters: list[tuple[str, Any]] = list(spec.parameters)
        text = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in parameters)
        count = f"{spec.duration:g} reading{'s' if spec.duration > 1 else ''}"
        length = count if spec.unit == "readings" else format_span(spec.duration)
        rows.append((spec.kind, spec.share, length, text))
    return sorted(rows, key=lambda row: -row[1])

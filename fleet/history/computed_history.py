"""The histories of the sensors of a config, without a data directory."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.config.config import Config
from fleet.datadir.directory import DataDirectory
from fleet.history.computed import Span, epochs_of, plan_history
from fleet.history.source import Columns, RecordedEpisode, computed_tables, epoch_parts
from fleet.history.table import ReadingTable
from worker.readings.generator import SignalGenerator
from worker.storage.sinks import Epoch


@dataclass(frozen=True, slots=True)
class ComputedHistory:
    """The history of a sensor that is computed from its epochs when it is read."""

    sensor_id: str
    epochs: tuple[Epoch, ...]
    end: int
    first: int = 0

    def tables(self, first: int, end: int, columns: Columns, *, keep_missing: bool) -> Iterator[ReadingTable]:
        return computed_tables(self.epochs, first, end, keep_missing=keep_missing, where=self.sensor_id)

    def episodes(self, first: int, end: int) -> list[RecordedEpisode]:
        return [
            RecordedEpisode(
                episode.kind,
                ",".join(episode.channels) or None,
                episode.first_seq,
                min(episode.last_seq, until - 1),
                json.dumps(episode.parameters, separators=(",", ":")),
            )
            for epoch, low, until in epoch_parts(self.epochs, 0, self.end)
            if low < end and first < until
            for episode in generator_of(epoch).episodes(max(low, first), min(until, end))
        ]


def generator_of(epoch: Epoch) -> SignalGenerator:
    schedule = epoch.schedule
    return SignalGenerator(epoch.seed, epoch.identity, epoch.settings, schedule.first_seq, schedule.start_us)


def computed_histories(config: Config, span: Span) -> tuple[list[ComputedHistory], Sequence[str]]:
    """Return the sensors of a config and what they read in a span, and warnings in one line each. No file is changed. Raises
    UserError."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        identities = None
        if config.identities.path is not None:
            # Identities that are missing there are written where they are read.
            identities = copied(Path(config.identities.path), Path(folder))
        plan = plan_history(config, DataDirectory(Path(folder) / "data"), identities, span, 0)
    histories = []
    for worker in plan.workers:
        for spec in worker.sensors:
            epochs = epochs_of(spec, plan.run)
            if epochs:
                found = tuple(each.epoch for each in epochs)
                histories.append(ComputedHistory(spec.identity.sensor_id, found, epochs[-1].end))
    return histories, plan.warnings


def copied(identities: Path, folder: Path) -> Path:
    """Return a copy of identity files, or the path if there is nothing."""
    copy = folder / "identities"
    if identities.is_dir():
        shutil.copytree(identities, copy)
        return copy
    return identities if identities.exists() else copy

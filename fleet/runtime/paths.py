"""Where the files lie that a config names: all of them in the data directory, whatever folders the config names."""

from __future__ import annotations

from pathlib import Path

from fleet.config.config import Config
from fleet.datadir.directory import DataDirectory
from fleet.runtime.maintenance import BackupSchedule, CheckpointExport, MaintenanceConfig
from worker.log import JSON_FORMAT, LogSpec

MIN_INTERVAL_SECONDS = 0.1
"""Seconds; what is due more often than that is not due more often."""


def maintenance_config(config: Config, directory: DataDirectory) -> MaintenanceConfig:
    """What is to be kept around the databases of a fleet."""
    told, data = config.database.backup, directory.databases
    backups = BackupSchedule(data / Path(told.path).name, max(told.interval, MIN_INTERVAL_SECONDS), told.keep)
    export = config.simulation.checkpoint
    checkpoint = CheckpointExport(data / Path(export.file).name, max(export.interval, MIN_INTERVAL_SECONDS))
    return MaintenanceConfig(backups if told.enabled else None, checkpoint if export.enabled else None)


def log_spec(config: Config, directory: DataDirectory) -> LogSpec:
    """The log of a fleet: `run/fleet.log`, or `logs/` and the name that was asked for."""
    told = config.logging
    path = directory.databases / "logs" / Path(told.file).name if told.file else directory.run / "fleet.log"
    return LogSpec(path, told.level, JSON_FORMAT if told.json_lines else told.format)

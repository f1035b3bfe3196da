"""The records by their names in `--record` and in configs.

To add one that is a mapping: a file in `configs/records/`. Another one: a class with the methods of `Record`, its line in
RECORDS, and its name in `fleet.config.record_fields.COMPLETE_RECORDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet.catalogue.catalogue import kind_files, load_catalogue
from fleet.config.record_fields import (
    RECORD_SUFFIXES,
    KnownColumns,
    known_columns,
    packaged_records,
    read_record,
)
from fleet.datadir.directory import DataDirectory
from fleet.delivery.records.mapped import MappedRecord
from fleet.delivery.records.nested import NestedRecord
from fleet.delivery.records.record import ROW, Record
from fleet.errors import UserError
from fleet.escaping import escape_short

TABLE_SCHEMES = ("sqlite:", "postgresql:", "postgres:", "parquet:", "influx:", "influxs:")
"""The targets that have columns instead of documents, and take no record."""

RECORDS: dict[str, Record] = {record.name: record for record in (ROW, NestedRecord())}


def record_named(
    name: str | None, data: Path | None = None, own: Mapping[str, Mapping[str, Any]] | None = None
) -> Record:
    """Return the record of a name, `row` without one: one of `own`, which a config has, or of the program, or one that a file
    describes. UserError if there is none, or the file is not valid.

    The columns that a file may name are those of the packaged kinds of sensor, and of the kinds of the fleet in the data
    directory `data`.
    """
    name = name or ROW.name
    own, files = own or {}, packaged_records()
    if name in RECORDS:
        return RECORDS[name]
    if name in own:
        return MappedRecord(name, own[name], columns_of_fleet(data))
    file = files.get(name) or Path(name)
    if file.suffix not in RECORD_SUFFIXES:
        allowed = ", ".join((*RECORDS, *files, *own))
        raise UserError(
            f"--record: {escape_short(name)} is no record: allowed is {allowed}, or a file that ends in .yaml"
        )
    known = columns_of_fleet(data)
    return MappedRecord(file.stem, read_record(file, known), known)


def record_for(
    target: str, name: str | None, data: Path | None = None, own: Mapping[str, Mapping[str, Any]] | None = None
) -> Record:
    """Return `record_named` for the documents of a target. UserError if the target has none."""
    record = record_named(name, data, own)
    if record is not ROW and target.startswith(TABLE_SCHEMES):
        reason = "has columns and no documents: leave the record out, or name another target, such as jsonl:FILE"
        raise UserError(f"--record: {escape_short(name or '')}: {target.partition(':')[0]} {reason}")
    return record


def columns_of_fleet(data: Path | None) -> KnownColumns:
    """Return the columns of the packaged kinds of sensor, and of those of the fleet in a data directory."""
    files: list[Path] = []
    with suppress(UserError, OSError):  # not the directory of a fleet, or a damaged one, which others report
        manifest = DataDirectory(data).read_manifest() if data is not None else None
        files = [file for file in kind_files(manifest.kind_files) if file.exists()] if manifest else []
    return known_columns(load_catalogue(None, files))

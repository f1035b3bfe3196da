"""The formats by name. To add one: a module like `csv.py` with a `Writer`, and its name here."""

from __future__ import annotations

from importlib import import_module
from typing import Literal, NamedTuple, get_args

from fleet.history.formats.file_format import TableWriter, TimeFormat

FormatName = Literal["csv", "jsonl", "parquet", "arrow"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)


class FileFormat(NamedTuple):
    """A format: the class that writes its files, the end of their names, its media type, and how it writes times unless it is
    asked for something else."""

    name: FormatName
    writer: type[TableWriter]
    suffix: str
    media_type: str
    default_times: TimeFormat


def file_format(name: FormatName) -> FileFormat:
    """Return a format. UserError if it needs an extra that is not installed."""
    module = import_module(f"fleet.history.formats.{name}")
    return FileFormat(name, module.Writer, module.SUFFIX, module.MEDIA_TYPE, module.DEFAULT_TIMES)

"""YAML files: read, bounded and checked to be one document, with an error of one line for any bytes."""

from __future__ import annotations

from pathlib import Path

import yaml

from fleet.errors import UserError
from fleet.validation.yaml_nodes import Node, SourceMark, TreeBuilder

MAX_YAML_BYTES = 8_000_000


def read_yaml(path: Path) -> Node:
    """The one document of a YAML file, an empty mapping if it is empty; UserError if it cannot be read as one."""
    return parse_yaml(read_yaml_text(path), str(path))


def read_yaml_text(path: Path) -> str:
    """A UTF-8 text file of at most 8 MB; UserError if it is anything else."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{path}: cannot be read: {reason[:1].lower()}{reason[1:]}") from None
    if len(data) > MAX_YAML_BYTES:
        raise UserError(f"{path}: more than {MAX_YAML_BYTES // 1_000_000} MB is not a config file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise UserError(f"{path}:{line}:{column}: byte 0x{data[error.start]:02x} is not UTF-8 text") from None


def parse_yaml(text: str, origin: str) -> Node:
    """The one document in `text`; `origin` names it in errors."""
    try:
        return TreeBuilder(origin).build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = SourceMark(origin, mark.line + 1, mark.column + 1) if mark is not None else SourceMark(origin)
        raise UserError(f"{place}: not valid YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise UserError(f"{origin}: not valid YAML: {describe_reader_error(error)}") from None
    except RecursionError:  # the Python parser recurses where libyaml does not
        raise UserError(f"{origin}: nested too deeply") from None


def describe_reader_error(error: yaml.reader.ReaderError) -> str:
    code = error.character if isinstance(error.character, int) else ord(error.character)
    return f"{error.reason} (0x{code:02x} at position {error.position})"

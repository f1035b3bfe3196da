"""YAML as a tree of marked values: every key and value knows the line and column it was written at.

Plain scalars stay text until the field they are read into decides what they are: `1.10` is a version in one place and a number in
another, `NO` is Norway in a list of countries, and `0012` keeps its zeros. The tree is built from parser events with an
explicit stack, and the values that aliases repeat are counted: no input can exhaust memory or the C stack. A file that is not
one YAML document is refused with one line.
"""

from __future__ import annotations

import functools
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fleet.errors import UserError
from fleet.escaping import escape_short

MAX_YAML_VALUES = 200_000
MAX_YAML_DEPTH = 32
MAX_KEY_PATH_LENGTH = 200
MAX_KEY_LENGTH = 1000

STREAM_TIMEOUT_SECONDS = 10
"""Seconds of silence after which a config that is read from a pipe is given up."""

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainScalar(str):
    """A scalar written without quotes: text that may stand for a number, a truth value or nothing."""

    __slots__ = ()


ALLOWED_TAGS = (None, "!", "tag:yaml.org,2002:str")
NULL_WORDS = frozenset(("", "~", "null", "Null", "NULL"))


class SourceMark(NamedTuple):
    """A place in a file, counted from 1. Line 0 means that `origin` alone is the place (a flag, a variable)."""

    origin: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}:{self.column}" if self.line else self.origin


Scalar = str | int | float | Decimal | None
Value = Scalar | dict[str, "Node"] | list["Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """One value with its place and that of its key. A scalar of a file is a `PlainScalar`, a `str` if it was quoted,
    None if empty; only values from elsewhere are numbers."""

    value: Value
    mark: SourceMark
    key_mark: SourceMark
    key: str  # dotted, as written, for errors

    def depths(self) -> Iterator[int]:
        """Yield the depth of this node (0) and of each one below it, once for every time that aliases repeat it."""
        stack = [(self, 0)]
        while stack:
            node, depth = stack.pop()
            yield depth
            if isinstance(node.value, dict):
                stack.extend((child, depth + 1) for child in node.value.values())
            elif isinstance(node.value, list):
                stack.extend((child, depth + 1) for child in node.value)


@dataclass(slots=True)
class OpenCollection:
    """A mapping or list whose end has not been parsed yet."""

    node: Node
    anchor: str | None
    key: str | None = None  # the mapping key that waits for its value
    key_mark: SourceMark | None = None


@dataclass(slots=True)
class TreeBuilder:
    """A builder of the tree of one document from the parser's events."""

    origin: str
    stack: list[OpenCollection] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    root: Node | None = None
    values: int = 0

    def build(self, text: str) -> Node:
        documents = 0
        for event in yaml.parse(text, Loader=Loader):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise UserError(f"{self.mark(event)}: a second document begins; a config is one document")
            elif isinstance(event, yaml.NodeEvent):
                self.count_value(event)
                self.open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                done = self.stack.pop()
                self.register_anchor(done.anchor, done.node)
        start = SourceMark(self.origin, 1, 1)
        if self.root is None or self.root.value is None:
            return Node({}, start, start, "")
        return self.root

    def mark(self, event: yaml.Event) -> SourceMark:
        start = event.start_mark
        return (
            SourceMark(self.origin, start.line + 1, start.column + 1) if start is not None else SourceMark(self.origin)
        )

    def count_value(self, event: yaml.Event) -> None:
        self.values += 1
        if self.values > MAX_YAML_VALUES:
            raise UserError(f"{self.mark(event)}: more than {MAX_YAML_VALUES} values")

    def check_depth(self, event: yaml.Event, depth: int) -> None:
        if depth >= MAX_YAML_DEPTH:
            raise UserError(f"{self.mark(event)}: nested more than {MAX_YAML_DEPTH} levels deep")

    def open(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.ScalarEvent) and self.expects_key():
            self.take_key(event)
            return
        node = self.node(event)
        self.attach(node, event)
        if isinstance(event, yaml.CollectionStartEvent):
            self.check_depth(event, len(self.stack))
            self.stack.append(OpenCollection(node, event.anchor))
        elif isinstance(event, yaml.ScalarEvent):
            self.register_anchor(event.anchor, node)

    def node(self, event: yaml.NodeEvent) -> Node:
        mark = self.mark(event)
        key, key_mark = self.next_key(mark)
        if isinstance(event, yaml.AliasEvent):
            return self.copy(event, mark, key_mark, key)
        tag = getattr(event, "tag", None)
        if tag not in ALLOWED_TAGS:
            place = f"{mark}: {key or 'document'}"
            raise UserError(f"{place}: the tag {escape_short(tag)} is not allowed here; write a plain value")
        value: Value = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        if isinstance(event, yaml.ScalarEvent):
            value = scalar_value(event)
        return Node(value, mark, key_mark, key)

    def copy(self, event: yaml.AliasEvent, mark: SourceMark, key_mark: SourceMark, key: str) -> Node:
        original = self.anchors.get(event.anchor or "")
        if original is None:
            raise UserError(f"{mark}: {key}: the alias *{escape_short(event.anchor or '')} refers to nothing before it")
        for depth in original.depths():
            self.count_value(event)
            self.check_depth(event, len(self.stack) + depth)
        return Node(original.value, mark, key_mark, key)

    def expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].node.value, dict) and self.stack[-1].key is None

    def take_key(self, event: yaml.ScalarEvent) -> None:
        top, mark = self.stack[-1], self.mark(event)
        assert isinstance(top.node.value, dict)
        if len(event.value) > MAX_KEY_LENGTH:
            raise UserError(
                f"{mark}: {dotted_name(top.node.key, event.value)}: a key of more than {MAX_KEY_LENGTH} characters"
            )
        first = top.node.value.get(event.value)
        if first is not None:
            name = dotted_name(top.node.key, event.value)
            raise UserError(f"{mark}: {name}: duplicate key; it is already on line {first.key_mark.line}")
        top.key, top.key_mark = event.value, mark

    def next_key(self, mark: SourceMark) -> tuple[str, SourceMark]:
        """Return the dotted name of the next value, and the place of its key."""
        if not self.stack:
            return "", mark
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            return f"{top.node.key}[{len(top.node.value)}]", mark
        if top.key is None or top.key_mark is None:
            raise UserError(f"{mark}: {top.node.key or 'document'}: a key must be plain text")
        return dotted_name(top.node.key, top.key), top.key_mark

    def attach(self, node: Node, event: yaml.NodeEvent) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif isinstance(top.node.value, dict) and top.key is not None:
            top.node.value[top.key] = node
            top.key = None

    def register_anchor(self, anchor: str | None, node: Node) -> None:
        # Only once it is complete: an alias to what encloses it would be endless.
        if anchor is not None:
            self.anchors[anchor] = node


def scalar_value(event: yaml.ScalarEvent) -> str | None:
    plain = event.style in (None, "") and event.tag is None
    if plain and event.value in NULL_WORDS:
        return None
    return PlainScalar(event.value) if plain else str(event.value)


def dotted_name(parent: str, key: str) -> str:
    """Return the dotted name of a value. Only the end of a long name is kept, so that names never exceed the file in
    size."""
    name = f"{parent}.{escape_short(key)}" if parent else escape_short(key)
    return name if len(name) <= MAX_KEY_PATH_LENGTH else f"...{name[3 - MAX_KEY_PATH_LENGTH :]}"


MAX_YAML_BYTES = 8_000_000


def read_yaml(path: Path) -> Node:
    """Read the one document of a YAML file, an empty mapping if it is empty; UserError if it is not readable as one."""
    return parse_yaml(read_yaml_text(path), str(path))


def read_yaml_text(path: Path) -> str:
    """Read a UTF-8 text file of at most 8 MB; UserError if it is anything else."""
    try:
        data = read_stream(path) if is_stream(path) else read_start(path)
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


def read_start(path: Path) -> bytes:
    """Read a file up to one byte beyond the limit."""
    with path.open("rb") as file:
        return file.read(MAX_YAML_BYTES + 1)


def is_stream(path: Path) -> bool:
    """Whether the path is a pipe, a socket or a device, such as /dev/stdin or that of `<(command)`."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:  # reading it tells why
        return False


@functools.cache
def read_stream(path: Path) -> bytes:
    """Read a stream like a file, and keep the data: reading empties a pipe, and a config is read more than once.

    UserError if the stream is silent for STREAM_TIMEOUT_SECONDS, such as a FIFO that no program writes to.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)  # without O_NONBLOCK a FIFO blocks here
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        data = b""
        while len(data) <= MAX_YAML_BYTES:
            if not poll.poll(STREAM_TIMEOUT_SECONDS * 1000):
                raise UserError(f"{path}: cannot be read: nothing was written to it for {STREAM_TIMEOUT_SECONDS} s")
            part = os.read(descriptor, MAX_YAML_BYTES + 1 - len(data))
            if not part:
                break
            data += part
        return data
    finally:
        os.close(descriptor)


def parse_yaml(text: str, origin: str) -> Node:
    """Parse the one document in `text`; `origin` names it in errors."""
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

"""YAML as nobody should write it: files that work, with some of their keys and values made odd."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hypothesis import strategies as st

from tests.fuzz.changes import Entry, mutate_entries

SCALARS = (
    # numbers, and what looks like one
    *(
        "0",
        "-0",
        "1",
        "-1",
        "0.5",
        "1e3",
        "1e308",
        "1e309",
        "-1e309",
        "1e-320",
        "5e-324",
        "1e-9",
        "1e99999",
        "1e-99999",
    ),
    *("9" * 400, "9" * 5000, "0." + "0" * 5000 + "1", "0x1F", "0o17", "0b1", "1_000", "1:30", "012", "+5", ".5", "5."),
    *(".nan", ".NaN", ".inf", "-.inf", "nan", "inf", "Infinity", "１２", "٣", "−5", "½", "1e", "e1", "--1", "1.2.3"),
    # truth, nothing, dates
    *("true", "yes", "NO", "off", "~", "null", "''", '""', "' '", "2026-01-01", "2026-01-01T00:00:00+23:59", "<<", "="),
    # text that does harm elsewhere
    *('"\\0"', '"\\e[31m"', '"a\\nb"', '"\\u2028"', '"\\u202e"', '"\\ud800"', '"\\ufeff"', "\t", "\ufeff", "a\x85b"),
    *(
        "x" * 300,
        "x" * 2000,
        "../../etc/passwd",
        "/dev/zero",
        "/",
        ".",
        "..",
        "a/b",
        "-",
        "?",
        "%s%n",
        "${HOME}",
        "a b",
    ),
    *("nаme", "temperаture", "ｔｒｕｅ", "é", "e\u0301", "🦆", "\u200b"),
    # YAML of its own
    *("!!python/object:os.system {}", "!!python/name:os.system", "!!binary aGk=", "!!int '5'", "!x%0Ay z", "! 5"),
    *(
        "&a 5",
        "*a",
        "&a *a",
        "&a [*a]",
        "|\n    text",
        ">-\n    text",
        "[",
        "]",
        "{",
        "}",
        "{a: 1, a: 2}",
        "{? [a] : b}",
    ),
    *("[" * 40 + "]" * 40, "[" * 5000, "{a: " * 40 + "}" * 40, "{<<: *a}", "[]", "{}", "[1, 2]", "{a: 1}", "# x", "'"),
    *("@", "`", "%", "!", "&", "*", "- - - 1", ": ", ", ", "--- 1", "...", "1\n---\n2", "%YAML 9.9"),
)
KEYS = (
    *(
        "<<",
        "~",
        "''",
        '""',
        "5",
        "[a]",
        "{a: b}",
        "? x",
        "&k x",
        "*a",
        '"\\e[0m"',
        '"a\\nb"',
        "x" * 1000,
        "! y",
        "1.0",
    ),
    *("temperature", "mean", "min_value", "spike", "weight", "probability", "duration", "enabled", "location", "count"),
    *("Temperature", "tempеrature", "count ", "co unt", "a.b", "simulation.duration", "backup_interval_hours"),
)

odd_scalars = st.one_of(
    st.sampled_from(SCALARS),
    st.floats().map(repr),
    st.integers().map(str),
    st.text(max_size=20),
    st.text(max_size=20).map(json.dumps),
)
odd_keys = st.sampled_from(KEYS) | st.text(max_size=8)


def to_entries(text: str) -> list[Entry]:
    """The entries of a YAML mapping."""
    entries = tree(yaml.compose(text, Loader=yaml.SafeLoader))
    assert isinstance(entries, list)
    return entries


def tree(node: yaml.Node | None) -> str | list[Entry]:
    if isinstance(node, yaml.MappingNode):
        return [Entry(spelled(key), tree(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [Entry("", tree(item)) for item in node.value] or "[]"
    return spelled(node)


def spelled(node: yaml.Node | None) -> str:
    assert isinstance(node, yaml.ScalarNode)
    return str(node.value) if node.style is None else json.dumps(node.value)


def render(entries: Sequence[Entry], indent: str = "") -> Iterator[str]:
    """The lines of a block."""
    for entry in entries:
        start = f"{indent}{entry.key}:" if entry.key else f"{indent}-"
        if isinstance(entry.value, str):
            yield f"{start} {entry.value}\n"
        else:
            yield f"{start}\n"
            yield from render(entry.value, indent + "  ")


@st.composite
def mutated(draw: st.DrawFn, files: Sequence[Path]) -> str:
    """The text of one of the files with one to four things changed."""
    entries = to_entries(draw(st.sampled_from(files)).read_text())
    return "".join(render(mutate_entries(draw, entries, odd_keys, odd_scalars)))

"""JSON as nobody should write it: files that work, with some of their keys and values made odd."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.changes import Entry, mutate_entries

SCALARS = (
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "0", "-0", "-0.0", "1", "-1", "0.5", "90.0000001"),
    *("1" + "0" * 400, "1" + "0" * 4299, "1" + "0" * 5000, str(2**63), str(-(2**63) - 1), str(2**64), "1.0", "360"),
    *("true", "false", "null", "[]", "{}", "[[]]", "[null]", '{"": null}', '{"a": 1, "a": 2}', '""', '" "', '"\\t"'),
    *(
        '"\\u0000"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\u2028"',
        '"\\u001b[31m"',
        '"\\ufeff"',
        '"\\u202e"',
        '"\\u0130"',
    ),
    *('"2025-02-30"', '"2025-13-01"', '"0001-01-01"', '"9999-12-31"', '"2025-W01-1"', '"UTC"', '"Factory"', '"../UTC"'),
    *(
        '"Europe/Berlin"',
        '"europe/berlin"',
        '"a/b"',
        '"."',
        '".."',
        '"-a"',
        '"a b"',
        '"CON"',
        '"x.json"',
        '"é"',
        '"５"',
    ),
    *(f'"{"x" * length}"' for length in (64, 65, 200, 201, 1000, 20000)),
    *("[" * depth + "]" * depth for depth in (50, 300, 900, 960, 980, 990, 2000)),
    *("undefined", "'a'", "01", "+1", ".5", "0x1", "1,", "", "{", "]", '"', "# x", "// x", "/* x */", '"\t"', "\0"),
)
odd_values = st.one_of(
    st.sampled_from(SCALARS),
    st.floats().map(json.dumps),
    st.integers().map(str),
    st.text(max_size=20).map(json.dumps),
)
odd_keys = st.sampled_from(('""', "a", '"a', '"\\u0000"', '"\\ud800"', "5", f'"{"k" * 300}"')) | st.text(
    max_size=6
).map(json.dumps)


def to_entries(value: Any) -> str | list[Entry]:
    """What the standard parser has read, as entries."""
    if isinstance(value, dict) and value:
        return [Entry(json.dumps(key), to_entries(inner)) for key, inner in value.items()]
    if isinstance(value, list) and value:
        return [Entry("", to_entries(inner)) for inner in value]
    return json.dumps(value)


def render(value: str | Sequence[Entry]) -> str:
    if isinstance(value, str):
        return value
    if all(entry.key == "" for entry in value):
        return f"[{', '.join(render(entry.value) for entry in value)}]"
    return "{" + ", ".join(f"{entry.key}: {render(entry.value)}" for entry in value) + "}"


@st.composite
def mutated(draw: st.DrawFn, documents: Sequence[Path | Any], names: Sequence[str] = ()) -> str:
    """One of the documents (or files of one) with one to four things changed, keys among them to one of the names."""
    document = draw(st.sampled_from(documents))
    if isinstance(document, Path):
        document = json.loads(document.read_text())
    entries = to_entries(document)
    if isinstance(entries, str):
        return draw(odd_values)
    keys = st.sampled_from([json.dumps(name) for name in names]) | odd_keys if names else odd_keys
    return render(mutate_entries(draw, entries, keys, odd_values))

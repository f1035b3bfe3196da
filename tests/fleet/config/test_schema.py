"""The schema that `fleet config schema` prints accepts what the program accepts, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.catalogue_checks import complete_channels
from fleet.config.config import read_draft, valid_part
from fleet.config.dialects import KEY_ALIASES
from fleet.config.meanings import MEANINGS
from fleet.config.schema import file_schema
from fleet.resources import packaged_configs, resource_path

SCHEMA = file_schema()
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)
CATALOGUE = load_catalogue()
EARLIER = Path(__file__).parent / "earlier"
FILES = [
    *packaged_configs().values(),
    *resource_path("source_documents").glob("*.yaml"),
    *EARLIER.glob("*.yaml"),
]


class EditorLoader(yaml.SafeLoader):
    """YAML as editors read it, by the core schema of YAML 1.2."""


EditorLoader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    EditorLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


def accepted_by_schema(text: str) -> bool:
    return VALIDATOR.is_valid(yaml.load(text, EditorLoader) or {})


def accepted_by_program(path: Path) -> bool:
    """Whether all values are valid by themselves; that some contradict each other is beyond a schema."""
    draft = read_draft(path, {}, {})
    unknown_channels = list(complete_channels(draft, CATALOGUE))
    issues = [str(issue) for issue in (*draft.issues, *unknown_channels, *valid_part(draft)[1])]
    return not [
        issue for issue in issues if not re.search("is more than|is less than|is not between min|contradicts", issue)
    ]


def test_it_is_a_schema() -> None:
    """Of a dialect that it names, and as JSON."""
    assert jsonschema_rs.meta.is_valid(SCHEMA)
    assert "https://json-schema.org/draft/2020-12/schema" == SCHEMA["$schema"]
    assert SCHEMA == json.loads(json.dumps(SCHEMA))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_example_is_accepted(path: Path) -> None:
    assert [] == [error.message for error in VALIDATOR.iter_errors(yaml.load(path.read_text(), EditorLoader))]


def described(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}{name}", inner.get("description", "")
        for each in (inner, *inner.get("anyOf", ())):
            yield from described(each, f"{path}{name}.")
            yield from described(each.get("items", {}), f"{path}{name}.0.")
            if isinstance(each.get("additionalProperties"), dict):
                yield from described(each["additionalProperties"], f"{path}{name}.*.")


def test_every_key_has_a_description() -> None:
    assert [] == [key for key, description in described(SCHEMA) if not description]
    assert set() == MEANINGS.keys() - dict(described(SCHEMA)).keys()


KEYS = [
    *(key for key in MEANINGS if key != "scenario.0.at"),
    *KEY_ALIASES,
    *(f"scenario.{key}" for key in MEANINGS if key.startswith("anomalies.")),
]
VALUES = (
    *(
        "",
        "0",
        "1",
        "2",
        "7",
        "-1",
        "0.5",
        "1000000000",
        "100000000000000000",
        "word",
        "10m",
        "5%",
        "1/min",
        "'5'",
        "'word'",
        "yes",
        "OFF",
    ),
    *(
        "true",
        "[]",
        "[word]",
        "[2]",
        "{}",
        "{word: 1}",
        "/path",
        "debug",
        "INFO",
        "Normal",
        "de",
        "[usa]",
        "[Peru]",
        "skip",
    ),
    "a b",
)


def document(key: str, value: str) -> str:
    """A config with one key."""
    if key.startswith("delivery.to.0."):
        inner = document(key.removeprefix("delivery.to.0."), value)
        return f"delivery: {{to: [{{{'' if inner.startswith('{to:') else 'to: x, '}{inner[1:]}]}}"
    parts = [part if part != "*" else ("temperature" if "normal" in key else "trend") for part in key.split(".")]
    step = parts[0] == "scenario" and len(parts) > 1
    text = value
    for part in reversed(parts[1:] if step else parts):
        text = f"{{{part}: {text}}}"
    return f"scenario: [{{at: 1h, {text[1:]}]" if step else text


@pytest.mark.parametrize("key", KEYS)
def test_the_schema_and_the_program_agree(key: str, tmp_path: Path) -> None:
    """Of each key, in each spelling, about values of all kinds."""
    path, differing = tmp_path / "c.yaml", []
    for value in VALUES:
        text = document(key, value)
        path.write_text(text)
        accepted = accepted_by_program(path)
        if accepted != accepted_by_schema(text):
            differing.append((text, accepted))

    assert [] == differing


def test_two_spellings_of_one_key_are_refused() -> None:
    assert not accepted_by_schema("normal_parameters: {voltage: {min: 20, min_value: 20}}")
    assert not accepted_by_schema("config_reload: {}\ndynamic_reload: {}")
    assert not accepted_by_schema("scenario: [{anomalies: {probability: 1}}]")

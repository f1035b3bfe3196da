"""The documentation for language models: one page of Markdown, made from the program itself.

All of it comes from the code: options from the config's model, tables from the database schema, paths from the
aggregator's routes, commands from the command lines, the rest from docstrings and packaged files.

To add a chapter: a function that returns its lines, and its title in `CHAPTERS`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fleet import cli
from fleet.catalogue.catalogue import load_catalogue
from fleet.commands import console, worker
from fleet.commands.up import up
from fleet.config.config import json_schema
from fleet.config.dialects import KEY_ALIASES
from fleet.config.sources import ENVIRONMENT_VARIABLES
from fleet.identities.fields import FIELD_PATHS
from fleet.resources import resource_path
from fleet.web.app import create_app
from worker.readings.anomalies import ANOMALY_CLASSES
from worker.storage.schema import CREATE_READINGS_KEY, SCHEMA

Schema = Mapping[str, Any]

BOUND_TEXTS = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}


def llm_docs() -> str:
    """Return the whole page."""
    lines = ["# Sensor fleet", "", *docstring_lines(cli.cli), ""]
    for title, chapter in CHAPTERS.items():
        lines += [f"## {title}", "", *chapter(), ""]
    return "\n".join(lines)


def docstring_lines(documented: object) -> list[str]:
    """Return the docstring of an object, or the help of a command, in lines."""
    text = documented.help or "" if isinstance(documented, click.Command) else inspect.getdoc(documented) or ""
    return text.splitlines()


def code(language: str, text: str) -> list[str]:
    return [f"```{language}", *text.strip("\n").splitlines(), "```"]


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    cells = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in cells]


# Chapters


def commands() -> Iterator[str]:
    yield from [*docstring_lines(console)[1:], ""]
    for name, command in [*walk_commands("fleet", cli.cli), ("python -m worker", worker.worker)]:
        with click.Context(command, info_name=name, max_content_width=120, terminal_width=120) as context:
            yield from [f"### {name}", "", *code("text", command.get_help(context)), ""]


def walk_commands(name: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group and its subgroups with their full names."""
    for subcommand, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from walk_commands(f"{name} {subcommand}", command)
        else:
            yield f"{name} {subcommand}", command


def config() -> Iterator[str]:
    schema = json_schema()
    yield from table(("key", "value", "default"), options(schema, schema["$defs"], ()))
    yield ""
    for definition, section in schema["$defs"].items():
        if "description" in section:
            yield f"- {definition}: {' '.join(section['description'].split())}"


def options(section: Schema, definitions: Schema, path: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yield key, allowed values and default of every option in a section and its subsections; `path` is the section's."""
    for key, option in section.get("properties", {}).items():
        inner = section_of(option, definitions)
        if inner is None:
            yield f"`{'.'.join((*path, key))}`", allowed_values(option), default(option)
        elif "properties" in inner:
            yield from options(inner, definitions, (*path, key))
        else:
            yield from options(definitions[definition_name(inner)], definitions, (*path, key, "NAME"))


def section_of(option: Schema, definitions: Schema) -> Schema | None:
    """Return the section, or the mapping of names to sections, that an option holds; None for a plain value."""
    for choice in (option, *option.get("anyOf", ())):
        if "$ref" in choice:
            definition: Schema = definitions[choice["$ref"].rpartition("/")[2]]
            return definition if "properties" in definition else None
        if "$ref" in (choice.get("additionalProperties") or {}):
            mapping: Schema = choice
            return mapping
    return None


def definition_name(mapping: Schema) -> str:
    return str(mapping["additionalProperties"]["$ref"]).rpartition("/")[2]


def allowed_values(option: Schema) -> str:
    choices = [choice for choice in option.get("anyOf", (option,)) if choice.get("type") != "null"]
    return " or ".join(map(allowed_value, choices))


def allowed_value(choice: Schema) -> str:
    values = choice.get("enum") or ([choice["const"]] if "const" in choice else None)
    if values:
        return ", ".join(map(str, values))
    if choice.get("type") == "array":
        return f"list of {allowed_value(choice['items'])}" if "items" in choice else "list"
    bounds = [text.format(f"{choice[name]:g}") for name, text in BOUND_TEXTS.items() if name in choice]
    return " ".join([str(choice.get("description") or choice.get("type", "mapping")), *bounds])


def default(option: Schema) -> str:
    if "default" not in option or option["default"] is None:
        return ""
    return f"`{json.dumps(option['default'], ensure_ascii=False)}`"


def spellings() -> Iterator[str]:
    rows = (
        (f"`{old}`", f"`{new}`" + (f", {function_title(convert)}" if convert else ""))
        for old, (new, convert) in SPELLING_PAIRS
    )
    yield from table(("also understood", "means"), rows)


SPELLING_PAIRS = KEY_ALIASES.items()


def function_title(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", " ")


def environment() -> Iterator[str]:
    rows = {name: f"`{'.'.join(path)}`" for name, path in ENVIRONMENT_VARIABLES.items()}
    for command in (up, worker.worker):
        for option in command.params:
            if isinstance(option.envvar, str):
                rows[option.envvar] = f"`{max(option.opts, key=len)}`"
    yield from table(("variable", "stands for"), ((f"`{name}`", meaning) for name, meaning in sorted(rows.items())))


def identities() -> Iterator[str]:
    yield from table(
        ("path in the file", "field"), ((f"`{'.'.join(path)}`", name) for path, name in FIELD_PATHS.items())
    )


def database() -> list[str]:
    return code("sql", SCHEMA + CREATE_READINGS_KEY.lstrip())


def anomalies() -> Iterator[str]:
    for kind in ANOMALY_CLASSES:
        yield f"- {kind.name}: {' '.join(docstring_lines(kind))}"


def catalogue() -> Iterator[str]:
    yield from code("yaml", resource_path("catalogue.yaml").read_text(encoding="utf-8"))
    for kind in load_catalogue().types:
        yield from ["", *code("yaml", resource_path(f"kinds/{kind}.yaml").read_text(encoding="utf-8"))]


def endpoints() -> Iterator[str]:
    app = create_app(Path())
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("status.")]
    rows = ((f"`{rule.rule}`", " ".join(docstring_lines(app.view_functions[rule.endpoint]))) for rule in rules)
    yield from table(("GET", "answer"), rows)


def example() -> list[str]:
    return code("yaml", resource_path("fleet.yaml").read_text(encoding="utf-8"))


CHAPTERS: Mapping[str, Callable[[], Iterator[str] | list[str]]] = {
    "Commands": commands,
    "Configuration": config,
    "Other spellings of options": spellings,
    "Environment variables": environment,
    "An example with every option": example,
    "Identity files": identities,
    "The catalogue": catalogue,
    "Anomalies": anomalies,
    "The database": database,
    "HTTP": endpoints,
}

"""Make the tables of docs/configuration.md from the models; `--check` only reports differences.

Everything is made from the code, the meaning of each key from `fleet/config/meanings.py`; only the remarks about other
spellings are written in the page and kept.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fleet.catalogue.catalogue import load_catalogue
from fleet.commands.options import CONFIG_KEYS
from fleet.config.config import Config, json_schema
from fleet.config.dialects import KEY_ALIASES, KEYS_WITHOUT_EFFECT
from fleet.config.meanings import MEANINGS
from fleet.config.sources import ENVIRONMENT_VARIABLES
from fleet.validation.issues import resolve_schema, schema_violation, subschema
from worker.readings.anomalies import anomaly_class

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
TABLE = re.compile(r"<!-- table: ([^>]+) -->\n.*?<!-- end -->", re.DOTALL)
ROW = re.compile(r"^\| `([^`]+)` \|.*\| ([^|]*) \|$", re.MULTILINE)
FLAGS = {
    **dict(CONFIG_KEYS.values()),
    "replicas.database": "--shared-db",
    "monitoring.enabled": "--no-http",
    "simulation.duration_seconds": "--for",
    "identities.path": "--identities",
    "replicas.kinds": "--kind",
}
FROM_PROFILE = "profile"

Keys = tuple[str, ...]


def keys(schema: Mapping[str, Any], path: Keys) -> Iterator[Keys]:
    """Yield the path of every value below a section; `*` stands for the keys of a mapping."""
    here = subschema(schema, path)
    others = resolve_schema(here.get("additionalProperties") or {}, schema)
    inner = [*here.get("properties", {})] or (["*"] if others.get("type") == "object" else [])
    for name in inner:
        yield from keys(schema, (*path, name))
    if not inner:
        yield path


def kind(schema: Mapping[str, Any], path: Keys) -> str:
    """Return the allowed values, in the words of the error for any other value."""
    found = subschema(schema, path)
    if found.get("type") == "array":
        inner = resolve_schema(found["items"], schema)
        if inner.get("type") == "object":
            return "a list of sections"
        return f"a list of {inner.get('description', 'text').removeprefix('a ')}"
    if found.get("type") == "string" and "enum" not in found and "description" not in found:
        return "text"
    return schema_violation(None, found).removeprefix("is not ").removeprefix("one of ")


def default(path: Keys) -> str:
    """Return the default as YAML."""
    if "*" in path:
        return FROM_PROFILE
    here: Any = Config()
    for name in path:
        here = getattr(here, name)
    if here is None and path[:2] == ("anomalies", "types"):
        here = anomaly_class(path[2]).default_parameters().get(path[3])
    if here is None:
        return "–"
    if isinstance(here, bool):
        return f"`{str(here).lower()}`"
    if isinstance(here, tuple):
        return "`[]`"
    return f"`{here:g}`" if isinstance(here, float) else f"`{here}`"


def section(schema: Mapping[str, Any], name: str) -> Iterator[str]:
    yield "| key | value | default | variable | flag | meaning |"
    yield "|---|---|---|---|---|---|"
    named = [(key, variable) for variable, all_keys in ENVIRONMENT_VARIABLES.items() for key in all_keys]
    for path in keys(schema, tuple(name.split("."))):
        key = ".".join(path)
        variables = ", ".join(f"`{variable}`" for known, variable in named if known == key)
        flag = f"`{FLAGS[key]}`" if key in FLAGS else ""
        cells = (f"`{key}`", kind(schema, path), default(path), variables, flag, MEANINGS.get(key, ""))
        yield f"| {' | '.join(cells)} |"


def spellings(meanings: Mapping[str, str]) -> Iterator[str]:
    yield "| spelling | means | remark |"
    yield "|---|---|---|"
    for spelling, (key, _) in KEY_ALIASES.items():
        yield f"| `{spelling}` | `{key}` | {meanings.get(spelling, '')} |"


def without_effect() -> Iterator[str]:
    yield "| key | instead |"
    yield "|---|---|"
    for key, reason in KEYS_WITHOUT_EFFECT.items():
        yield f"| `{key}` | {reason[0].upper()}{reason[1:]}. |"


def channels() -> Iterator[str]:
    yield "| kind | channel | unit | mean | std_dev | min | max |"
    yield "|---|---|---|---|---|---|---|"
    for name, found in load_catalogue().types.items():
        for channel, profile in found.channels.items():
            values = (profile.mean, profile.std_dev, profile.min, profile.max)
            yield f"| {name} | {channel} | {profile.unit} | {' | '.join(f'{value:g}' for value in values)} |"


def hardware() -> Iterator[str]:
    yield "| kind | manufacturer | models |"
    yield "|---|---|---|"
    for name, found in load_catalogue().types.items():
        for maker, models in found.models.items():
            yield f"| {name} | {maker} | {', '.join(models)} |"
        yield f"| {name} | *firmware* | {', '.join(found.firmware)} |"


def rendered(page: str) -> str:
    """Return the page with each table made from the code."""
    meanings = dict(ROW.findall(page))
    schema = json_schema()

    def table(found: re.Match[str]) -> str:
        name = found[1]
        made = {
            "spellings": lambda: spellings(meanings),
            "without effect": without_effect,
            "channels": channels,
            "hardware": hardware,
        }
        lines = made[name]() if name in made else section(schema, name)
        return "\n".join((f"<!-- table: {name} -->", *lines, "<!-- end -->"))

    return TABLE.sub(table, page)


def missing(page: str) -> list[str]:
    """Return an error for each key that the page does not have, or has without a meaning."""
    schema = json_schema()
    known = dict(ROW.findall(page))
    every = [".".join(path) for name in schema["properties"] for path in keys(schema, (name,))]
    absent = [f"{key} is in no table" for key in (*every, *KEY_ALIASES) if key not in known]
    unknown = [f"{key} is no key" for key in MEANINGS if key not in every and ".0." not in key]
    return absent + [f"{key} has no meaning" for key in every if not MEANINGS.get(key)] + unknown


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    wanted = rendered(page)
    if "--check" not in sys.argv:
        PAGE.write_text(wanted, encoding="utf-8")
    else:
        print("\n".join(difflib.unified_diff(page.splitlines(), wanted.splitlines(), "is", "should be", lineterm="")))
    for lack in missing(wanted):
        print(
            f"docs/configuration.md: {lack}: write its meaning in fleet/config/meanings.py and run {sys.argv[0]}",
            file=sys.stderr,
        )
    return 1 if missing(wanted) or ("--check" in sys.argv and wanted != page) else 0


if __name__ == "__main__":
    sys.exit(main())

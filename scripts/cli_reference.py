"""Make docs/cli.md from the commands; `--check` only reports differences.

Descriptions, options and defaults come from the command line itself. The introduction, and for each command what may
stand below its table, is written in docs/cli.md and kept: everything between the end of a generated part and the next
heading.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from fleet.cli import cli
from fleet.commands.worker import worker

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
END = "<!-- end of the generated part -->"
SECTION = re.compile(r"^## (.+?)\n.*?" + re.escape(END) + r"\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, groups without their subcommands' options."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    for word, inner in sorted(command.commands.items()):
        yield from commands(f"{name} {word}", inner)


def usage(name: str, command: click.Command) -> str:
    arguments = [
        parameter.make_metavar(click.Context(command))
        for parameter in command.params
        if isinstance(parameter, click.Argument)
    ]
    return " ".join([name, "[OPTIONS]", *arguments])


def spelling(option: click.Option, context: click.Context) -> str:
    """The option's names as they are typed, such as `-c`, `--config FILE`."""
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    metavar = "" if option.is_flag else f" {option.make_metavar(context)}"
    return ", ".join(f"`{name}`" for name in names[:-1]) + (", " if names[1:] else "") + f"`{names[-1]}{metavar}`"


def default(option: click.Option) -> str:
    if option.required:
        return "required"
    shown = option.default if option.show_default or option.default not in (None, False, ()) else None
    if shown in (None, "") or option.is_flag or callable(shown) or "UNSET" in repr(shown).upper():
        return ""
    return f"`{shown}`"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def generated(name: str, command: click.Command) -> Iterator[str]:
    """The lines of one command's section."""
    context = click.Context(command, info_name=name)
    yield from (f"## {name}", "", f"    {usage(name, command)}", "")
    for paragraph in (command.help or "").split("\n\n"):
        yield from (" ".join(paragraph.split()), "")
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        yield from ("| option | default | meaning |", "|---|---|---|")
        for option in options:
            yield f"| {spelling(option, context)} | {default(option)} | {cell(option.help or '')} |"
        yield ""
    yield END


def rendered(page: str) -> str:
    """The page with the section of each command made from the command."""
    by_hand = dict(SECTION.findall(page))
    introduction = page.partition("\n## ")[0].rstrip("\n")
    parts = [introduction]
    for name, command in [*commands("fleet", cli), ("python -m worker", worker)]:
        below = by_hand.get(name, "").strip("\n")
        parts.append("\n".join(generated(name, command)) + (f"\n\n{below}" if below else ""))
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    page = PAGE.read_text(encoding="utf-8")
    wanted = rendered(page)
    if arguments == ["--check"]:
        sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), wanted.splitlines(True), "written", "made"))
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The entry point of the command lines: it runs a command, prints its errors and ends the process with an exit code.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | an error that the user can mend, one line on stderr; or a check that failed |
| 2 | wrong usage, one line on stderr |
| 3 | a bug, with its traceback |
| 130 | Ctrl-C |
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

import click

from fleet.errors import UserError


def program_version() -> str:
    """Return the installed version, or `source` in a source tree that is not installed."""
    try:
        return version("sensor-fleet")
    except PackageNotFoundError:
        return "source"


def run_command_line(command: click.Command, name: str) -> NoReturn:
    """Run a command line and end the process with its exit code."""
    try:
        code = command.main(prog_name=name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        reason = error.format_message().rstrip(".?")
        click.echo(f"{path}: {reason[:1].lower()}{reason[1:]}; see `{path} --help`", err=True)
        sys.exit(2)
    except UserError as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # `fleet status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception:  # noqa: BLE001 - the top of the program: any other exception is a bug
        traceback.print_exc()
        sys.exit(3)

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

import errno
import os
import sys
import traceback
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

import click

from fleet.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


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
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        print_error(error.format_message())
        sys.exit(2)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        reason = error.format_message().rstrip(".?")
        print_error(f"{path}: {reason[:1].lower()}{reason[1:]}; see `{path} --help`")
        sys.exit(2)
    except UserError as error:
        print_error(f"{name}: {error}")
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # `fleet status | head`
        discard_output()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the top of the program: any other exception is a bug
        reason = explain_system_error(error)
        if reason:
            print_error(f"{name}: {reason}")
            sys.exit(1)
        traceback.print_exc()
        sys.exit(3)


def print_error(message: str) -> None:
    """Print a message on stderr, if that can be written."""
    with suppress(OSError):
        click.echo(message, err=True)


def discard_output() -> None:
    """Send what is still to be written to stdout nowhere, so that the end of the process does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain_system_error(error: Exception) -> str:
    """Explain an exception by the surroundings of the process that any command may meet; empty if they are in order."""
    if not isinstance(error, OSError | RuntimeError):
        return ""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        discard_output()
        return f"{error.filename or 'the output'} cannot be written: {error.strerror}"
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same
    except FileNotFoundError:
        return "the working directory has been deleted; change to another folder"
    if isinstance(error, BlockingIOError) or "can't start new thread" in str(error):
        return "no process or thread can be started: a limit of the system is reached; raise it with `ulimit -u`"
    return ""

"""The entry point of the `fleet` command and of `python -m fleet`."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import NoReturn


def main() -> NoReturn:
    """Run the `fleet` command."""
    run_program("fleet.cli")


def run_program(module: str) -> NoReturn:
    """Import a module and run its `main`. Ctrl-C during the import ends the process without a traceback."""
    open_missing_streams()
    interrupt_handler = signal.getsignal(signal.SIGINT)
    if interrupt_handler is signal.default_int_handler:  # not if it is ignored, as after `nohup`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:  # in a container: the kernel delivers SIGTERM to process 1 only if it has a handler
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the supervisor replaces it; nothing is due before
    run = import_module(module).main

    signal.signal(signal.SIGINT, interrupt_handler)
    run()
    raise AssertionError(f"{module}.main returned")


def open_missing_streams() -> None:
    """Open /dev/null as each of stdin, stdout and stderr that is closed (`>&-`): the next file opened would take its place,
    such as a database that is then written over by messages."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()

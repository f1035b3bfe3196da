"""Where the `fleet` command begins, and `python -m fleet`."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from typing import NoReturn


def main() -> NoReturn:
    run_program("fleet.cli")


def run_program(program: str) -> NoReturn:
    """Import a program and run its `main`. Ctrl-C in between ends this process as it ends any other, without a
    traceback."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:  # and not ignored, as it is after `nohup`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:  # in a container: the kernel gives SIGTERM to its first process only if that handles it
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until the supervisor does: nothing is due before
    run = import_module(program).main

    signal.signal(signal.SIGINT, interrupted)
    run()
    raise AssertionError(f"{program}.main returned")


if __name__ == "__main__":
    main()

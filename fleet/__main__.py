"""Where the `fleet` command begins, and `python -m fleet`."""

from __future__ import annotations

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Import the program and run it. Ctrl-C in between ends this process as it ends any other, without a traceback."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:  # and not ignored, as it is after `nohup`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fleet.cli import main as run

    signal.signal(signal.SIGINT, interrupted)
    run()


if __name__ == "__main__":
    main()

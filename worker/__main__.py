"""The entry point of `python -m worker`: one sensor in the foreground.

It runs a fleet of one, so this is the only file of `worker` that imports from `fleet`.
"""

from __future__ import annotations

from fleet.__main__ import run_program

if __name__ == "__main__":
    run_program("fleet.commands.worker")

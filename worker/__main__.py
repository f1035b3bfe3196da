"""The command `python -m worker`: one sensor in the foreground.

It is a fleet of one; this is the only module of the package that imports `fleet`.
"""

from __future__ import annotations

from fleet.__main__ import run_program

if __name__ == "__main__":
    run_program("fleet.commands.worker")

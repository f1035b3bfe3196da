"""`python main.py` in the image: the same as `python -m worker`, under the name that older job files use."""  # noqa: INP001

from __future__ import annotations

from fleet.__main__ import run_program

if __name__ == "__main__":
    run_program("fleet.commands.worker")

"""`python -m worker`: one sensor in the foreground. It is a fleet of one, and so this file alone looks up to `fleet`."""

from __future__ import annotations

from fleet.__main__ import begin

if __name__ == "__main__":
    begin("fleet.commands.single_worker")

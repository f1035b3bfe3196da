"""Chaos: fleets of every layout under all faults at random moments, and the proof that it made no difference.

    python -m tests.faults.chaos --seconds 360 --each 20 --kills 100

Three fleets run for so many seconds each (own, shared and packed databases) while faults befall them, and a fourth
undisturbed. Then `fleet verify --complete` must find nothing, and their data must be the undisturbed one's, byte for
byte. `--each 0` goes on with faults at random until the time is over: a soak.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw
import click

from tests.e2e.running import fleet
from tests.faults.arena import SHAPES, Arena
from tests.faults.catastrophes import CATASTROPHES
from tests.faults.dumps import difference, episodes, readings
from tests.faults.misfortunes import MISFORTUNES, ORDERED

KILLED = ("worker killed at a random moment", "worker killed in a transaction")
NOT_SHARED = ("page corrupted", "garbage in the database's place", "log truncated")
WAITING = ("kill", "hold", "stuck", "segfault", "starve", "ioerr_write", "ioerr_read", "ioerr_fsync")
"""Orders that can be given while nobody is there."""

LAST = 12.0
"""Seconds before the end of the run in which nothing happens any more to the whole fleet."""


class Chaos:
    """What is still to be done, for all arenas together."""

    def __init__(self, folder: Path, sensors: int, seconds: float, quota: dict[str, int], seed: int) -> None:
        self.quota, self.seconds = quota, seconds
        dice = random.Random(seed)
        self.arenas = [Arena(folder / shape, shape, sensors, seconds, random.Random(dice.random())) for shape in SHAPES]
        self._over = threading.Event()
        self.calm = Arena(folder / "calm", "own", sensors, seconds, random.Random(0))

    @property
    def trouble(self) -> list[str]:
        """What went wrong on the way."""
        return [line for arena in [*self.arenas, self.calm] for line in arena.trouble]

    def run(self) -> None:
        """Until every fleet has come to the end of its run."""
        begun = time.monotonic()
        everybody = [*self.arenas, self.calm]
        for arena in everybody:
            arena.start()
        threads = [
            threading.Thread(target=self._attack, args=(arena, attack, begun))
            for arena in self.arenas
            for attack in (self._misfortune, self._catastrophe)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:  # after Ctrl-C too: who would start a fleet must not do so any more
            self._over.set()
            for thread in threads:
                thread.join()
        for arena in everybody:
            arena.undo(all_of_it=True)
            self._finish(arena)

    def counts(self) -> Counter[str]:
        """The faults that took place, by name."""
        total: Counter[str] = Counter()
        for arena in self.arenas:
            total += arena.counts
            orders = {(taken.action, taken.number) for taken in arena.sabotage.taken()}
            total.update(ORDERED[action] for action, _ in orders)
        return total

    def _attack(self, arena: Arena, attack: Callable[[Arena], None], begun: float) -> None:
        end = begun + self.seconds - LAST
        try:
            while time.monotonic() < end and not self.trouble and not self._over.is_set():
                attack(arena)
                time.sleep(arena.dice.uniform(0.0, 2.0) * self._pause(end - time.monotonic()))
        except Exception:  # noqa: BLE001 - the top of a thread: whatever it is, the run has failed
            arena.trouble.append(f"{arena.shape}: {traceback.format_exc()}")

    def _pause(self, left: float) -> float:
        """Seconds between two faults of an arena, an eighth of what there is for each: they take time themselves."""
        counts = self.counts()
        still = sum(max(0, most - counts[name]) for name, most in self.quota.items() if name in MISFORTUNES)
        return min(1.0, max(0.02, left * len(self.arenas) / max(still, 1) / 8))

    def _misfortune(self, arena: Arena) -> None:
        with arena.quiet:
            arena.undo()
            # Orders wait for whoever comes by; anything else would have to wait for somebody to come.
            name = self._choose(arena, [*MISFORTUNES] if arena.peopled else [ORDERED[action] for action in WAITING])
            if name and arena.up:
                arena.happened(name, MISFORTUNES[name](arena))

    def _catastrophe(self, arena: Arena) -> None:
        time.sleep(arena.dice.uniform(1.0, 3.0))  # it may have come up by then, or not
        name = self._choose(arena, [*CATASTROPHES])
        with arena.staying, arena.quiet:
            if not arena.up:
                arena.trouble.append(f"{arena.shape}: the fleet ended by itself: {arena.running.output[-2000:]}")
            elif name:
                arena.happened(name, CATASTROPHES[name](arena))

    def _choose(self, arena: Arena, names: list[str]) -> str | None:
        """One that is wanted still, in proportion to how much it is; any, if no
        number was asked for; None once that is reached."""
        fitting = [name for name in names if arena.shape != "shared" or name not in NOT_SHARED]
        counts = self.counts() + self._ordered()
        wanted = [max(0, self.quota[name] - counts[name]) for name in fitting]
        if any(self.quota[name] for name in names) and not any(wanted):
            return None
        return arena.dice.choices(fitting, weights=wanted if any(wanted) else None)[0]

    def _ordered(self) -> Counter[str]:
        """What will take place as soon as somebody comes by."""
        return Counter(ORDERED[action] for arena in self.arenas for action in arena.sabotage.waiting())

    def _finish(self, arena: Arena) -> None:
        code: int | str
        try:
            code = arena.running.process.wait(self.seconds + 60)
        except subprocess.TimeoutExpired:
            code = "a run that did not end"
        if code:
            arena.trouble.append(f"{arena.shape}: the last run ended with {code}: {arena.running.output[-2000:]}")


def judge(chaos: Chaos) -> bool:
    """Print what happened and what came of it. Whether all is as it must be."""
    counts = chaos.counts()
    click.echo(f"\n{'fault':45} count  asked for")
    for name, wanted in chaos.quota.items():
        click.echo(f"{name:45} {counts[name]:5}  {wanted:5}{'' if counts[name] >= wanted else '   TOO FEW'}")
    click.echo(f"{'all':45} {counts.total():5}; SIGKILLs of workers: {sum(counts[name] for name in KILLED)}")
    good = all(counts[name] >= wanted for name, wanted in chaos.quota.items()) and not chaos.trouble
    for trouble in chaos.trouble:
        click.echo(trouble)
    for arena in [*chaos.arenas, chaos.calm]:
        verdict = fleet("verify", "--complete", "--data", arena.data, timeout=300)
        click.echo(f"{arena.shape}: {len(arena.runs)} runs; {verdict.stdout[-3000:]}{verdict.stderr[-3000:]}".rstrip())
        good &= verdict.returncode == 0
    for arena in chaos.arenas:
        good &= same(arena, chaos.calm)
    return good


def same(arena: Arena, calm: Arena) -> bool:
    """Whether its data is that of the undisturbed fleet."""
    ids = arena.shape == "own"
    try:
        rows, unlike = difference(readings(arena.data, ids=ids), readings(calm.data, ids=ids))
        there, otherwise = difference(episodes(arena.data), episodes(calm.data))
    except apsw.Error as error:
        click.echo(f"{arena.shape}: {error}")
        return False
    columns = "all columns but synced" if ids else "all columns but id and synced"
    found = unlike or otherwise or f"{columns}: {rows:,} readings and {there:,} episodes are the undisturbed fleet's"
    click.echo(f"{arena.shape}: {found}")
    return rows > 0 and not unlike and not otherwise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=360.0)
    parser.add_argument("--sensors", type=int, default=50)
    parser.add_argument("--each", type=int, default=20, help="how many of every kind of fault")
    parser.add_argument("--kills", type=int, default=100, help="how many SIGKILLs of workers, a third in a transaction")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", type=Path, default=None, help="empty folder to leave everything in")
    told = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if told.seed is None else told.seed
    quota = dict.fromkeys([*MISFORTUNES, *CATASTROPHES], told.each)
    quota |= {KILLED[0]: told.kills - told.kills // 3, KILLED[1]: told.kills // 3}
    click.echo(f"chaos for {told.seconds:g} s, {told.sensors} sensors to a fleet, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        chaos = Chaos(told.keep or Path(folder), told.sensors, told.seconds, quota, seed)
        try:
            chaos.run()
            good = judge(chaos)
        finally:
            for arena in [*chaos.arenas, chaos.calm]:
                arena.end()
    click.echo("all is as it must be" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

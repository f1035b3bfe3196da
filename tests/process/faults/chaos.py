"""ChaosRun: fleets of every layout under all faults at random moments, and the proof that it made no difference.

    python -m tests.process.faults.chaos --seconds 360 --each 20 --kills 100

Three fleets run for the given time each (own, shared and packed databases) while faults befall them, and a fourth
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

from tests.process.faults.chaos_fleet import SHAPES, ChaosFleet
from tests.process.faults.dumps import difference, episodes, readings
from tests.process.faults.faults import FAULT_BY_ACTION, FAULTS
from tests.process.faults.power_loss_faults import FLEET_FAULTS
from tests.process.running_fleet import fleet

KILL_FAULTS = ("worker killed at a random moment", "worker killed in a transaction")
NOT_FOR_SHARED_DATABASE = ("page corrupted", "garbage in the database's place", "log truncated")
DEFERRABLE_ACTIONS = ("kill", "hold", "stuck", "segfault", "starve", "ioerr_write", "ioerr_read", "ioerr_fsync")
"""Orders that can be given while nobody is there."""

QUIET_END_SECONDS = 12.0
"""Seconds before the end of the run in which nothing happens any more to the whole fleet."""


class ChaosRun:
    """What is still to be done, for all fleets together."""

    def __init__(self, folder: Path, sensors: int, seconds: float, quota: dict[str, int], seed: int) -> None:
        self.quota, self.seconds = quota, seconds
        rng = random.Random(seed)
        self.fleets = [
            ChaosFleet(folder / shape, shape, sensors, seconds, random.Random(rng.random())) for shape in SHAPES
        ]
        self._over = threading.Event()
        self.undisturbed = ChaosFleet(folder / "calm", "own", sensors, seconds, random.Random(0))

    @property
    def failures(self) -> list[str]:
        """What went wrong on the way."""
        return [line for chaos_fleet in [*self.fleets, self.undisturbed] for line in chaos_fleet.failures]

    def run(self) -> None:
        """Until every fleet has come to the end of its run."""
        begun = time.monotonic()
        everybody = [*self.fleets, self.undisturbed]
        for chaos_fleet in everybody:
            chaos_fleet.start()
        threads = [
            threading.Thread(target=self._attack, args=(chaos_fleet, attack, begun))
            for chaos_fleet in self.fleets
            for attack in (self._inject_fault, self._inject_fleet_fault)
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
        for chaos_fleet in everybody:
            chaos_fleet.undo(everything=True)
            self._finish(chaos_fleet)

    def counts(self) -> Counter[str]:
        """The faults that took place, by name."""
        total: Counter[str] = Counter()
        for chaos_fleet in self.fleets:
            total += chaos_fleet.counts
            orders = {(taken.action, taken.number) for taken in chaos_fleet.fault_injector.injected()}
            total.update(FAULT_BY_ACTION[action] for action, _ in orders)
        return total

    def _attack(self, chaos_fleet: ChaosFleet, attack: Callable[[ChaosFleet], None], begun: float) -> None:
        end = begun + self.seconds - QUIET_END_SECONDS
        try:
            while time.monotonic() < end and not self.failures and not self._over.is_set():
                attack(chaos_fleet)
                time.sleep(chaos_fleet.rng.uniform(0.0, 2.0) * self._pause(end - time.monotonic()))
        except Exception:  # noqa: BLE001 - the top of a thread: whatever it is, the run has failed
            chaos_fleet.failures.append(f"{chaos_fleet.shape}: {traceback.format_exc()}")

    def _pause(self, left: float) -> float:
        """Seconds between two faults of an chaos_fleet, an eighth of what there is for each: they take time themselves."""
        counts = self.counts()
        still = sum(max(0, most - counts[name]) for name, most in self.quota.items() if name in FAULTS)
        return min(1.0, max(0.02, left * len(self.fleets) / max(still, 1) / 8))

    def _inject_fault(self, chaos_fleet: ChaosFleet) -> None:
        with chaos_fleet.action_lock:
            chaos_fleet.undo()
            # Orders wait for whoever comes by; anything else would have to wait for somebody to come.
            name = self._choose(
                chaos_fleet,
                [*FAULTS] if chaos_fleet.has_victim else [FAULT_BY_ACTION[action] for action in DEFERRABLE_ACTIONS],
            )
            if name and chaos_fleet.up:
                chaos_fleet.record_fault(name, FAULTS[name](chaos_fleet))

    def _inject_fleet_fault(self, chaos_fleet: ChaosFleet) -> None:
        time.sleep(chaos_fleet.rng.uniform(1.0, 3.0))  # it may have come up by then, or not
        name = self._choose(chaos_fleet, [*FLEET_FAULTS])
        with chaos_fleet.supervisor_lock, chaos_fleet.action_lock:
            if not chaos_fleet.up:
                chaos_fleet.failures.append(
                    f"{chaos_fleet.shape}: the fleet ended by itself: {chaos_fleet.running.output[-2000:]}"
                )
            elif name:
                chaos_fleet.record_fault(name, FLEET_FAULTS[name](chaos_fleet))

    def _choose(self, chaos_fleet: ChaosFleet, names: list[str]) -> str | None:
        """One that is wanted still, in proportion to how much it is; any, if no
        number was asked for; None once that is reached."""
        fitting = [name for name in names if chaos_fleet.shape != "shared" or name not in NOT_FOR_SHARED_DATABASE]
        counts = self.counts() + self._ordered()
        wanted = [max(0, self.quota[name] - counts[name]) for name in fitting]
        if any(self.quota[name] for name in names) and not any(wanted):
            return None
        return chaos_fleet.rng.choices(fitting, weights=wanted if any(wanted) else None)[0]

    def _ordered(self) -> Counter[str]:
        """What will take place as soon as somebody comes by."""
        return Counter(
            FAULT_BY_ACTION[action] for chaos_fleet in self.fleets for action in chaos_fleet.fault_injector.pending()
        )

    def _finish(self, chaos_fleet: ChaosFleet) -> None:
        code: int | str
        try:
            code = chaos_fleet.running.process.wait(self.seconds + 60)
        except subprocess.TimeoutExpired:
            code = "a run that did not end"
        if code:
            chaos_fleet.failures.append(
                f"{chaos_fleet.shape}: the last run ended with {code}: {chaos_fleet.running.output[-2000:]}"
            )


def print_report(chaos: ChaosRun) -> bool:
    """Print what happened and what came of it. Whether all is as it must be."""
    counts = chaos.counts()
    click.echo(f"\n{'fault':45} count  asked for")
    for name, wanted in chaos.quota.items():
        click.echo(f"{name:45} {counts[name]:5}  {wanted:5}{'' if counts[name] >= wanted else '   TOO FEW'}")
    click.echo(f"{'all':45} {counts.total():5}; SIGKILLs of workers: {sum(counts[name] for name in KILL_FAULTS)}")
    good = all(counts[name] >= wanted for name, wanted in chaos.quota.items()) and not chaos.failures
    for failure in chaos.failures:
        click.echo(failure)
    for chaos_fleet in [*chaos.fleets, chaos.undisturbed]:
        verdict = fleet("verify", "--complete", "--data", chaos_fleet.data, timeout=300)
        click.echo(
            f"{chaos_fleet.shape}: {len(chaos_fleet.runs)} runs; {verdict.stdout[-3000:]}{verdict.stderr[-3000:]}".rstrip()
        )
        good &= verdict.returncode == 0
    for chaos_fleet in chaos.fleets:
        good &= has_same_data(chaos_fleet, chaos.undisturbed)
    return good


def has_same_data(chaos_fleet: ChaosFleet, undisturbed: ChaosFleet) -> bool:
    """Whether its data is that of the undisturbed fleet."""
    ids = chaos_fleet.shape == "own"
    try:
        rows, unlike = difference(readings(chaos_fleet.data, ids=ids), readings(undisturbed.data, ids=ids))
        there, otherwise = difference(episodes(chaos_fleet.data), episodes(undisturbed.data))
    except apsw.Error as error:
        click.echo(f"{chaos_fleet.shape}: {error}")
        return False
    columns = "all columns but synced" if ids else "all columns but id and synced"
    found = unlike or otherwise or f"{columns}: {rows:,} readings and {there:,} episodes are the undisturbed fleet's"
    click.echo(f"{chaos_fleet.shape}: {found}")
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
    quota = dict.fromkeys([*FAULTS, *FLEET_FAULTS], told.each)
    quota |= {KILL_FAULTS[0]: told.kills - told.kills // 3, KILL_FAULTS[1]: told.kills // 3}
    click.echo(f"chaos for {told.seconds:g} s, {told.sensors} sensors to a fleet, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        chaos = ChaosRun(told.keep or Path(folder), told.sensors, told.seconds, quota, seed)
        try:
            chaos.run()
            good = print_report(chaos)
        finally:
            for chaos_fleet in [*chaos.fleets, chaos.undisturbed]:
                chaos_fleet.end()
    click.echo("all is as it must be" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""One sensor inside its worker: its position, the readings that are due, the next portion to deliver."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from worker.readings.generator import Block, SignalGenerator
from worker.readings.random_streams import NORMALS_PER_PAGE, page_phase
from worker.schedule import Schedule
from worker.spec import RunSpec, SensorSpec, Settings
from worker.storage.sinks import Epoch, Portion, Position

SEQ_LIMIT = 1 << 63
"""A number beyond all sequence numbers."""


class CurrentEpoch(NamedTuple):
    """The epoch of the next reading, compiled.

    `limit` is the sequence number after the last reading of the run, None if the run has no end. `new` is the record of
    the epoch if the sink does not have it yet, `previous` then the schedule that it ends.
    """

    generator: SignalGenerator
    limit: int | None
    new: Epoch | None = None
    previous: Schedule | None = None

    @property
    def schedule(self) -> Schedule:
        return self.generator.schedule


class Sensor:
    """The state machine of one sensor, without clock, I/O or process. `now_us` is always simulated time.

    It starts at the `position` that its sink reports. `next_seq` is the sequence number of the next reading to commit:
    `portions` proposes, only `commit` advances it.
    """

    def __init__(self, spec: SensorSpec, run: RunSpec, position: Position) -> None:
        self.spec, self._run = spec, run
        self._phase = page_phase(run.seed, spec.identity.sensor_id)
        self.next_seq = position.next_seq
        self._stored = position.epoch  # the epoch that the sink has
        self._resumed = True  # whether the next portion repeats the records of episodes that run
        self._chunk: Block | None = None  # readings that are computed ahead
        self._current = self._choose_epoch()
        self._stage_seq, self._pause_seq = self._look_ahead()

    @property
    def generator(self) -> SignalGenerator:
        return self._current.generator

    @property
    def schedule(self) -> Schedule:
        return self._current.schedule

    @property
    def limit(self) -> int | None:
        """The sequence number after the last reading of the run, None if the run has no end."""
        return self._current.limit

    def change(self, spec: SensorSpec) -> None:
        """Continue with another spec of the same sensor from the next uncommitted reading on."""
        self.spec = spec
        if self._stored is not None and self._current.new is None and self._continues(self._stored):
            # What was computed of the epoch stays true, and compiling it is most of the work.
            after_pauses = self._leave_out_pauses(self._current)
            if after_pauses is self._current:
                self._stage_seq, self._pause_seq = self._look_ahead()
            else:
                self._enter(after_pauses)
        else:
            self._resume()

    def skip(self, now_us: int) -> None:
        """Begin a new epoch that leaves out the time which a too long pause made overdue.

        Readings overdue since before this run are left out until the first one of the run, which may be due by now;
        others until `now_us`, on the same grid.
        """
        if self.overdue(self._run.start_us):
            until = self.spec.first_due_us(self._run.start_us)
        else:
            until = self.schedule.time(self.schedule.seq_after(now_us - 1))
        epoch = self._begin("skip", max(until, self.schedule.time(self.next_seq)))
        self._enter(self._leave_out_pauses(epoch))

    def overdue(self, now_us: int) -> bool:
        """Whether the oldest due reading is older than the longest pause of the run."""
        return self.lag(now_us) > self._run.longest_pause_us

    def due(self, now_us: int) -> int:
        """Return the sequence number after the last due reading, at most up to the next stage, pause or end of run."""
        ends = (end for end in (self.limit, self._stage_seq, self._pause_seq) if end is not None)
        return min(self.schedule.due(now_us), *ends, SEQ_LIMIT)

    def lag(self, now_us: int) -> int:
        """Return the age of the oldest due reading that is not committed, in microseconds; 0 if none is due."""
        return max(0, now_us - self.schedule.time(self.next_seq)) if self.due(now_us) > self.next_seq else 0

    @property
    def done(self) -> bool:
        """Whether all readings of the run are committed."""
        return self.limit is not None and self.next_seq >= self.limit

    @property
    def paused(self) -> bool:
        """Whether no reading is due until further notice."""
        return self._pause_seq is not None and self.next_seq >= self._pause_seq

    @property
    def backfilling(self) -> bool:
        """Whether the next reading belongs to the history that the run writes first."""
        return self.schedule.time(self.next_seq) < self._run.live_us and not (self.done or self.paused)

    @property
    def end_us(self) -> int | None:
        """When the last reading of the run is due."""
        return None if self.limit is None else self.schedule.time(self.limit - 1)

    def portions(self, now_us: int, most: int, *, final: bool = False) -> list[Portion]:
        """Return the next due readings, at most `most`, oldest first. `final`: nothing follows in this run."""
        end = min(self.due(now_us), self.next_seq + most)
        result, first = [], self.next_seq
        while first < end:
            block = self._readings_from(first, end)
            last = block.end == end
            result.append(self._portion(first, block, truncate=(final or block.end == self.limit) and last))
            first = block.end
        stored = self._stored
        if final and not result and stored and self.next_seq > stored.schedule.first_seq:
            # No reading follows, in particular none of a new epoch that would cut the episode that runs.
            how = stored.identity, stored.settings, stored.schedule
            result.append(Portion(*how, self.next_seq, None, truncate=True))
        return result

    def commit(self, portion: Portion) -> None:
        """Advance past a portion that the sink has taken."""
        if portion.block is None:
            return
        self.next_seq = portion.end
        self._stored = portion.epoch or self._stored
        self._current = self._current._replace(new=None, previous=None)
        self._resumed = False
        if self.next_seq in (self._stage_seq, self._pause_seq):
            self._resume()

    def _portion(self, first: int, block: Block, *, truncate: bool) -> Portion:
        opening = first == self.next_seq
        epoch = self._current.new if opening else None
        previous = self._current.previous if opening else None
        running = tuple(
            episode
            for episode in (self.generator.episodes(first, first + 1) if opening and self._resumed else ())
            if episode.first_seq < first
        )
        settings = self.generator.settings
        return Portion(self.spec.identity, settings, self.schedule, first, block, epoch, previous, running, truncate)

    def _readings_from(self, first: int, end: int) -> Block:
        """Return some readings from `first` on, at most up to `end`. A page of them is computed ahead and kept."""
        chunk = self._chunk
        if chunk is None or not chunk.first <= first < chunk.end:
            page_end = first + NORMALS_PER_PAGE - (first + self._phase) % NORMALS_PER_PAGE
            chunk = self._chunk = self.generator.block(first, max(end, page_end) - first)
        return chunk.between(first, min(end, chunk.end))

    def _resume(self) -> None:
        """Choose the epoch of the next reading again."""
        self._resumed = True
        self._enter(self._choose_epoch())

    def _enter(self, epoch: CurrentEpoch) -> None:
        self._current, self._chunk = epoch, None
        self._stage_seq, self._pause_seq = self._look_ahead()

    def _choose_epoch(self) -> CurrentEpoch:
        """Continue the epoch that the sink has, or begin a new one if the spec or the run asks for it."""
        stored = self._stored
        if stored is None:
            epoch = self._begin("start", self.spec.first_due_us(self._run.start_us))
        elif self._continues(stored):
            epoch = self._compile(stored.schedule, stored.settings)
        else:
            start = self._next_start(stored)
            epoch = self._begin(self._reason(stored, start), start)
        return self._leave_out_pauses(epoch)

    def _next_start(self, stored: Epoch) -> int:
        """Return when an epoch after the stored one begins: at its next reading, or at the first reading of the run if
        the time before that is left out."""
        run, next_us = self._run, stored.schedule.time(self.next_seq)
        if run.resume == "catch_up" or (stored.run == run.number and next_us >= run.start_us):
            return next_us
        return max(self.spec.first_due_us(run.start_us), next_us)

    def _continues(self, stored: Epoch) -> bool:
        """Whether the stored epoch continues: nothing has changed, and the run is the same or catches up."""
        settings = self.spec.settings_at(stored.schedule.time(self.next_seq))
        unchanged = (stored.settings, stored.identity) == (settings, self.spec.identity)
        return unchanged and (stored.run == self._run.number or self._run.resume == "catch_up")

    def _reason(self, stored: Epoch, start_us: int) -> str:
        """Return why the stored epoch ends: a change, time that is left out, or a stage of the same spec.

        The reason follows from the stored epoch, so that it is the same for a sensor that ran all the time and for one
        that catches up.
        """
        spec, schedule = self.spec, stored.schedule
        left_out = start_us > schedule.time(self.next_seq)
        injection = injection_reason(stored.settings, spec.settings_at(start_us))
        if injection and not left_out and stored.identity == spec.identity:
            return injection
        last_us = schedule.time(max(self.next_seq - 1, schedule.first_seq))
        if stored.identity != spec.identity or stored.settings != spec.settings_at(last_us):
            return "settings"
        return "resume" if left_out or stored.settings == spec.settings_at(start_us) else "scenario"

    def _leave_out_pauses(self, epoch: CurrentEpoch) -> CurrentEpoch:
        """Return `epoch`, or one that begins after the pause, on the same grid, if the next reading is in a past pause."""
        while True:
            now = epoch.schedule.time(self.next_seq)
            pause = self.spec.pause_after(now)
            if pause is None or pause.until_us is None or pause.from_us > now:
                return epoch
            grid = self._stored.schedule if self._stored else epoch.schedule
            epoch = self._begin("skip" if self._stored else "start", grid.time(grid.seq_after(pause.until_us - 1)))

    def _begin(self, reason: str, start_us: int) -> CurrentEpoch:
        """Make a new epoch whose first reading is the next one, due at `start_us`."""
        spec, run = self.spec, self._run
        settings = spec.settings_at(start_us)
        schedule = Schedule(self.next_seq, start_us, settings.exact_rate)
        new = Epoch(run.seed, run.number, reason, spec.identity, settings, schedule)
        previous = self._stored.schedule if self._stored else None
        return self._compile(schedule, settings)._replace(new=new, previous=previous)

    def _compile(self, schedule: Schedule, settings: Settings) -> CurrentEpoch:
        run = self._run
        generator = SignalGenerator(run.seed, self.spec.identity, settings, schedule.first_seq, schedule.start_us)
        limit = None if run.duration_us is None else schedule.end_seq(run.start_us + run.duration_us)
        return CurrentEpoch(generator, limit)

    def _look_ahead(self) -> tuple[int | None, int | None]:
        """Return the sequence numbers at which the next stage and the next pause begin, None if there is none."""
        schedule = self.schedule
        now = schedule.time(self.next_seq)
        current = self.generator.settings
        later = next((each for each in self.spec.stages if each.at_us > now and each.settings != current), None)
        pause = self.spec.pause_after(now)
        return (
            schedule.due(later.at_us - 1) if later else None,
            schedule.due(pause.from_us - 1) if pause else None,
        )


def injection_reason(before: Settings, after: Settings) -> str:
    """Return the reason of an epoch whose settings differ from those before by an injection alone, else ""."""
    if before.injection == after.injection or replace(before, injection=after.injection) != after:
        return ""
    if after.injection:
        return f"injection {after.injection.id}"
    return f"injection {before.injection.id} ends" if before.injection else ""

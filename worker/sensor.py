"""One sensor as its worker sees it: where it stands, what is due, and the next portion to deliver."""

from __future__ import annotations

from dataclasses import replace

from worker.readings.generator import Block, SignalGenerator
from worker.readings.random_streams import NORMALS_PER_PAGE, page_phase
from worker.schedule import Schedule
from worker.spec import RunSpec, SensorSpec, Settings
from worker.storage.sinks import Epoch, Portion, Position

SEQ_LIMIT = 1 << 63
"""Beyond all sequence numbers."""


class Sensor:
    """The state machine of one sensor, without clock, I/O or process: `now_us` is always simulated time.

    `next_seq` is where the sink stands. `portions` proposes; only `commit` moves on.
    """

    def __init__(self, spec: SensorSpec, run: RunSpec) -> None:
        self.spec, self._run = spec, run
        self._position_known = False  # whether it is known where the sink stands
        self._stored: Epoch | None = None  # the epoch that the sink has
        self._epoch: Epoch | None = None  # the one that begins with the next portion
        self._previous: Schedule | None = None  # the schedule that it ends
        self._phase = page_phase(run.seed, spec.identity.sensor_id)

    def resume(self, position: Position) -> None:
        """Continue from where the sink stands; begins a new epoch where the rules ask for one."""
        self.next_seq = position.next_seq
        self._position_known = True
        self._stored = position.epoch
        self._chunk: Block | None = None
        self._resumed = True
        stored = position.epoch
        if stored is None:
            self._begin("start", self._run.start_us)
        elif self._continues(stored):
            self._continue(stored)
        else:
            follow = self._run.start_us if self._run.resume == "skip" else 0
            start = max(follow, stored.schedule.time(self.next_seq))
            self._begin(self._reason(stored, start), start)
        self._leave_out_pauses()

    def change(self, spec: SensorSpec) -> None:
        """Behave by another spec of the same sensor from the next unsettled reading on."""
        self.spec = spec
        if not self._position_known:
            return
        if self._stored is not None and self._epoch is None and self._continues(self._stored):
            self._look_ahead()  # what is known of the epoch stays true, and to compile it is most of the work
            self._leave_out_pauses()
        else:
            self.resume(Position(self.next_seq, self._stored))

    def skip(self, now_us: int) -> None:
        """Begin a new epoch, leaving out what a too long pause made overdue: one before this run until the run's start,
        as its first readings may be due by now, else until now."""
        until = self._run.start_us if self.overdue(self._run.start_us) else now_us
        self._begin("skip", max(until, self.schedule.time(self.next_seq)))
        self._leave_out_pauses()

    def overdue(self, now_us: int) -> bool:
        """Whether the oldest due reading is older than the run's longest pause."""
        return self.lag(now_us) > self._run.longest_pause_us

    def due(self, now_us: int) -> int:
        """The sequence number after the last reading that is due; those of a later stage, and those after a pause, are
        not yet counted."""
        ends = (end for end in (self.limit, self._stage_seq, self._pause_seq) if end is not None)
        return min(self.schedule.due(now_us), *ends, SEQ_LIMIT)

    def lag(self, now_us: int) -> int:
        """The age of the oldest due reading that is not settled, microseconds; 0 if there is none."""
        return max(0, now_us - self.schedule.time(self.next_seq)) if self.due(now_us) > self.next_seq else 0

    @property
    def done(self) -> bool:
        return self.limit is not None and self.next_seq >= self.limit

    @property
    def paused(self) -> bool:
        """Whether no reading is due until further notice."""
        return self._pause_seq is not None and self.next_seq >= self._pause_seq

    @property
    def end_us(self) -> int | None:
        """When the last reading of the run is due."""
        return None if self.limit is None else self.schedule.time(self.limit - 1)

    def portions(self, now_us: int, most: int, *, final: bool = False) -> list[Portion]:
        """The next due readings, at most `most`, oldest first. `final`: nothing will follow in this run."""
        end = min(self.due(now_us), self.next_seq + most)
        result, first = [], self.next_seq
        while first < end:
            block = self._readings_from(first, end)
            last = block.end == end
            result.append(self._portion(first, block, truncate=(final or block.end == self.limit) and last))
            first = block.end
        stored = self._stored
        if final and not result and stored and self.next_seq > stored.schedule.first_seq:
            # Nothing follows, also not the first reading of an epoch that would have cut the episode that runs.
            how = stored.identity, stored.settings, stored.schedule
            result.append(Portion(*how, self.next_seq, None, truncate=True))
        return result

    def commit(self, portion: Portion) -> None:
        if portion.block is None:
            return
        self.next_seq = portion.end
        self._stored = portion.epoch or self._stored
        self._epoch = self._previous = None
        self._resumed = False
        if self.next_seq in (self._stage_seq, self._pause_seq):
            self.resume(Position(self.next_seq, self._stored))

    def _portion(self, first: int, block: Block, *, truncate: bool) -> Portion:
        opening = first == self.next_seq
        epoch = self._epoch if opening else None
        running = tuple(
            episode
            for episode in (self.generator.episodes(first, first + 1) if opening and self._resumed else ())
            if episode.first_seq < first
        )
        previous = self._previous if opening else None
        settings = self.generator.settings
        return Portion(self.spec.identity, settings, self.schedule, first, block, epoch, previous, running, truncate)

    def _readings_from(self, first: int, end: int) -> Block:
        """Some readings from `first` on, at most up to `end`. A page of them is made ahead and kept."""
        chunk = self._chunk
        if chunk is None or not chunk.first <= first < chunk.end:
            page_end = first + NORMALS_PER_PAGE - (first + self._phase) % NORMALS_PER_PAGE
            chunk = self._chunk = self.generator.block(first, max(end, page_end) - first)
        return chunk.between(first, min(end, chunk.end))

    def _continues(self, stored: Epoch) -> bool:
        """Whether the stored epoch goes on: the same run, or a later one that catches up, nothing changed."""
        told = self.spec.settings_at(stored.schedule.time(self.next_seq))
        unchanged = (stored.settings, stored.identity) == (told, self.spec.identity)
        return unchanged and (stored.run == self._run.number or self._run.resume == "catch_up")

    def _reason(self, stored: Epoch, start_us: int) -> str:
        """Why the stored epoch ends: something was changed, time was left out, or a stage of the same spec begins.

        It follows from what is stored, so that it is the same for a sensor that lived through it and for one that
        catches up.
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

    def _leave_out_pauses(self) -> None:
        """Where the next reading is in a pause that is over, it is the first one of the grid that follows."""
        while True:
            now = self.schedule.time(self.next_seq)
            pause = self.spec.pause_after(now)
            if pause is None or pause.until_us is None or pause.from_us > now:
                return
            grid = self._stored.schedule if self._stored else self.schedule
            self._begin("skip" if self._stored else "start", grid.time(grid.seq_after(pause.until_us - 1)))

    def _continue(self, stored: Epoch) -> None:
        self._epoch = self._previous = None
        self._compile(stored.schedule, stored.settings)

    def _begin(self, reason: str, start_us: int) -> None:
        """Propose an epoch whose first reading is the next one, due at `start_us`."""
        spec, run = self.spec, self._run
        settings = spec.settings_at(start_us)
        schedule = Schedule(self.next_seq, start_us, settings.exact_rate)
        self._epoch = Epoch(run.seed, run.number, reason, spec.identity, settings, schedule)
        self._previous = self._stored.schedule if self._stored else None
        self._compile(schedule, settings)

    def _compile(self, schedule: Schedule, settings: Settings) -> None:
        run = self._run
        self.schedule = schedule
        self.generator = SignalGenerator(run.seed, self.spec.identity, settings, schedule.first_seq, schedule.start_us)
        self._chunk = None
        self.limit = None if run.duration_us is None else schedule.end_seq(run.start_us + run.duration_us)
        self._look_ahead()

    def _look_ahead(self) -> None:
        """See when the next stage begins, and the next pause."""
        schedule = self.schedule
        now = schedule.time(self.next_seq)
        later = [stage for stage in self.spec.stages if stage.at_us > now and stage.settings != self.generator.settings]
        self._stage_seq = schedule.due(later[0].at_us - 1) if later else None
        pause = self.spec.pause_after(now)
        self._pause_seq = schedule.due(pause.from_us - 1) if pause else None


def injection_reason(before: Settings, after: Settings) -> str:
    """What to say where one differs from the other by an injection alone; nothing where it does not."""
    if before.injection == after.injection or replace(before, injection=after.injection) != after:
        return ""
    if after.injection:
        return f"injection {after.injection.id}"
    return f"injection {before.injection.id} ends" if before.injection else ""

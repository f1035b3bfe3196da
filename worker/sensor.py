"""One sensor as its worker sees it: where it stands, what is due, and the next portion to deliver."""

from __future__ import annotations

from worker.generation import Block, Plan
from worker.schedule import Schedule
from worker.sinks import Epoch, Portion, Position
from worker.spec import RunSpec, SensorSpec
from worker.streams import PAGE, phase


class Sensor:
    """The state machine of one sensor, without clock, I/O or process: `now_us` is always simulated time.

    `next_seq` is where the sink stands. `portions` proposes; only `settled` moves on.
    """

    def __init__(self, spec: SensorSpec, run: RunSpec) -> None:
        self.spec, self._run = spec, run
        self._stored: Epoch | None = None  # the epoch that the sink has
        self._epoch: Epoch | None = None  # the one that begins with the next portion
        self._previous: Schedule | None = None  # the schedule that it ends
        self._phase = phase(run.seed, spec.identity.sensor_id)

    def resume(self, position: Position) -> None:
        """Continue from where the sink stands; begins a new epoch where the rules ask for one."""
        self.next_seq = position.next_seq
        self._stored = position.epoch
        self._chunk: Block | None = None
        self._resumed = True
        stored = position.epoch
        if stored is None:
            self._begin("start", Schedule(self.next_seq, self._run.start_us, self.spec.settings.exact_rate))
        elif self._same(stored):
            self._continue(stored)
        else:
            reason = "resume" if stored.settings == self.spec.settings else "settings"
            follow = self._run.start_us if self._run.resume == "skip" else 0
            start = max(follow, stored.schedule.time(self.next_seq))
            self._begin(reason, Schedule(self.next_seq, start, self.spec.settings.exact_rate))

    def skip(self, now_us: int) -> None:
        """Begin a new epoch, leaving out what a too long pause made overdue: one before this run until the run's start,
        as its first readings may be due by now, else until now."""
        until = self._run.start_us if self.overdue(self._run.start_us) else now_us
        start = max(until, self.schedule.time(self.next_seq))
        self._begin("skip", Schedule(self.next_seq, start, self.spec.settings.exact_rate))

    def overdue(self, now_us: int) -> bool:
        """Whether the oldest due reading is older than the run's longest pause."""
        return self.lag(now_us) > self._run.longest_pause_us

    def due(self, now_us: int) -> int:
        """The sequence number after the last reading that is due."""
        due = self.schedule.due(now_us)
        return due if self.limit is None else min(due, self.limit)

    def lag(self, now_us: int) -> int:
        """The age of the oldest due reading that is not settled, microseconds; 0 if there is none."""
        return max(0, now_us - self.schedule.time(self.next_seq)) if self.due(now_us) > self.next_seq else 0

    @property
    def done(self) -> bool:
        return self.limit is not None and self.next_seq >= self.limit

    @property
    def end_us(self) -> int | None:
        """When the last reading of the run is due."""
        return None if self.limit is None else self.schedule.time(self.limit - 1)

    def portions(self, now_us: int, most: int, *, final: bool = False) -> list[Portion]:
        """The next due readings, at most `most`, oldest first. `final`: nothing will follow in this run."""
        end = min(self.due(now_us), self.next_seq + most)
        result, first = [], self.next_seq
        while first < end:
            block = self._take(first, end)
            last = block.end == end
            result.append(self._portion(first, block, cut=(final or block.end == self.limit) and last))
            first = block.end
        if final and not result and self.next_seq > self.schedule.first_seq and self._epoch is None:
            result.append(self._portion(self.next_seq, None, cut=True))
        return result

    def settled(self, portion: Portion) -> None:
        self.next_seq = portion.end
        self._stored = portion.epoch or self._stored
        self._epoch = self._previous = None
        self._resumed = False

    def _portion(self, first: int, block: Block | None, *, cut: bool) -> Portion:
        opening = first == self.next_seq
        epoch = self._epoch if opening else None
        running = tuple(
            episode
            for episode in (self.plan.episodes(first, first + 1) if opening and self._resumed and block else ())
            if episode.first_seq < first
        )
        previous = self._previous if opening else None
        spec = self.spec
        return Portion(spec.identity, spec.settings, self.schedule, first, block, epoch, previous, running, cut)

    def _take(self, first: int, end: int) -> Block:
        """Some readings from `first` on, at most up to `end`. A page of them is made ahead and kept."""
        chunk = self._chunk
        if chunk is None or not chunk.first <= first < chunk.end:
            page_end = first + PAGE - (first + self._phase) % PAGE
            chunk = self._chunk = self.plan.block(first, max(end, page_end) - first)
        return chunk.between(first, min(end, chunk.end))

    def _same(self, stored: Epoch) -> bool:
        """Whether the stored epoch goes on: the same run, or a later one that catches up, nothing changed."""
        unchanged = (stored.settings, stored.identity) == (self.spec.settings, self.spec.identity)
        return unchanged and (stored.run == self._run.number or self._run.resume == "catch_up")

    def _continue(self, stored: Epoch) -> None:
        self._epoch = self._previous = None
        self._compile(stored.schedule)

    def _begin(self, reason: str, schedule: Schedule) -> None:
        spec, run = self.spec, self._run
        self._epoch = Epoch(run.seed, run.number, reason, spec.identity, spec.settings, schedule)
        self._previous = self._stored.schedule if self._stored else None
        self._compile(schedule)

    def _compile(self, schedule: Schedule) -> None:
        spec, run = self.spec, self._run
        self.schedule = schedule
        self.plan = Plan(run.seed, spec.identity, spec.settings, schedule.first_seq, schedule.start_us)
        self._chunk = None
        self.limit = self._limit(schedule)

    def _limit(self, schedule: Schedule) -> int | None:
        """The sequence number at which this run ends: all readings that are due before its end."""
        if self._run.duration_us is None:
            return None
        left = self._run.start_us + self._run.duration_us - schedule.start_us
        return schedule.first_seq + max(0, schedule.count(left))

"""All connections of a target, and the thread that reads and writes them: one for all of them, however many there are."""

from __future__ import annotations

import heapq
import random
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count

from fleet.delivery.target import DeliveryFailed
from fleet.delivery.targets.mqtt.address import BrokerAddress
from fleet.delivery.targets.mqtt.client import raise_file_limit
from fleet.delivery.targets.mqtt.connection import Connection, State
from fleet.delivery.targets.mqtt.messages import Message, Outbox
from fleet.delivery.targets.mqtt.presence import Presence

TICK_SECONDS = 0.5
GOODBYE_SECONDS = 2.0
MAX_DELAY_SECONDS = 0.05
"""Seconds of a delay of the loop for which connections are made up."""

MAX_BACKOFF_SECONDS = 10.0
MAX_OPENING = 32
"""Connections that are opened at the same time, each by a thread."""

AT_ONCE, IN_A_STORM = 0.0, -1.0
"""Times of attempts that come before all others: as soon as `connect_rate` lets them, or even if it does not."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Connections:
    """The connections by client id. One is made when something is to be published over it; when it breaks, again at once, and
    after failed attempts with growing pauses."""

    def __init__(
        self,
        address: BrokerAddress,
        environment: Mapping[str, str],
        tls: ssl.SSLContext | None,
        presence: Callable[[str], Presence],
    ) -> None:
        """`presence` makes the announcements of the connection of a sensor."""
        self._address, self._environment, self._tls, self._presence = address, environment, tls, presence
        self._connections: dict[str, Connection] = {}
        self._due: list[tuple[float, int, Connection]] = []
        self._numbers = count()
        self._next_slot, self._opening, self._next_tick = 0.0, 0, 0.0
        self._next_storm = float("inf")
        self._tasks: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakened, READ)
        if address.options.per_sensor:
            raise_file_limit()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    # Called by other threads

    def publish(self, messages: Sequence[Message]) -> Outbox:
        """Publish messages; returns when each has been acknowledged or has failed."""
        outbox = Outbox(messages)
        self._call(lambda: self._enqueue(messages, outbox))
        while not outbox.done.wait(1.0):
            if not self._thread.is_alive():
                raise RuntimeError("the thread of the connections has ended")
        return outbox

    def any_open(self) -> bool:
        return any(connection.state is State.OPEN for connection in list(self._connections.values()))

    def close(self) -> None:
        """End the connections in good order, as far as that is quick."""
        self._call(self._stop)
        self._thread.join(2 * GOODBYE_SECONDS)

    def _call(self, task: Callable[[], None]) -> None:
        self._tasks.append(task)
        with suppress(OSError):
            self._waker.send(b"\0")

    # Called by the thread of the loop, as everything below

    def _run(self) -> None:
        while not self._stopping:
            self._turn()
        end = time.monotonic() + GOODBYE_SECONDS
        opened = [connection for connection in self._connections.values() if connection.state is State.OPEN]
        for connection in opened:
            connection.leave()
            self._watch(connection)
        while any(connection.socket for connection in opened) and time.monotonic() < end:
            self._turn()
        self._selector.close()
        self._waker.close()
        self._wakened.close()

    def _stop(self) -> None:
        self._stopping = True

    def _turn(self) -> None:
        for key, events in self._selector.select(self._timeout()):
            connection = key.data
            if connection is None:
                with suppress(BlockingIOError):
                    self._wakened.recv(4096)
                continue
            if events & READ:
                connection.read()
            else:
                connection.pump()
            self._watch(connection)
        while self._tasks:
            self._tasks.popleft()()
        if not self._stopping:
            self._open_due()
        if (now := time.monotonic()) >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._tick(now)

    def _timeout(self) -> float:
        now = time.monotonic()
        wake = self._next_tick
        if self._due and self._opening < MAX_OPENING and not self._stopping:
            due = self._due[0][0]
            wake = due if due == IN_A_STORM else min(wake, max(due, self._next_slot))
        return max(0.0, wake - now)

    def _enqueue(self, messages: Sequence[Message], outbox: Outbox) -> None:
        changed: dict[Connection, None] = {}
        for message in messages:
            message.outbox = outbox
            connection = self._connection(message.sensor)
            connection.enqueue(message)
            changed[connection] = None
        for connection in changed:
            if connection.state is State.OPEN:
                connection.pump()
                self._watch(connection)
            elif connection.state is State.CLOSED and connection.waits and connection.due > AT_ONCE:
                self._schedule(connection, AT_ONCE)

    def _connection(self, sensor: str) -> Connection:
        client_id = self._address.client_id(sensor)
        if client_id not in self._connections:
            self._connections[client_id] = Connection(
                self._address, client_id, self._presence(sensor), self._tls, self._environment, self._closed
            )
        return self._connections[client_id]

    def _schedule(self, connection: Connection, due: float) -> None:
        connection.due = due
        heapq.heappush(self._due, (due, next(self._numbers), connection))

    def _open_due(self) -> None:
        """Begin the attempts that are due, `connect_rate` a second."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now and self._opening < MAX_OPENING:
            due, _, connection = self._due[0]
            if due != IN_A_STORM and self._next_slot > now:
                return
            heapq.heappop(self._due)
            if connection.state is not State.CLOSED or connection.due != due:
                continue
            if due != IN_A_STORM:
                self._next_slot = max(self._next_slot, now - MAX_DELAY_SECONDS) + 1 / self._address.options.connect_rate
            self._opening += 1
            connection.state, connection.due = State.OPENING, float("inf")
            threading.Thread(target=self._open, args=(connection,), name="mqtt-connect", daemon=True).start()

    def _open(self, connection: Connection) -> None:
        """Open the socket of a connection, in a thread of its own."""
        failure = connection.connect()
        self._call(lambda: self._opened(connection, failure))

    def _opened(self, connection: Connection, failure: DeliveryFailed | None) -> None:
        self._opening -= 1
        if failure is not None:
            connection.failures += 1
            connection.fail(failure)
            self._closed(connection, None)
            return
        opened = connection.socket
        assert opened is not None
        connection.state = State.CONNECTING
        self._selector.register(opened, READ, connection)
        connection.begin(time.monotonic())
        self._watch(connection)
        if self._address.options.storm_seconds and self._next_storm == float("inf"):
            self._next_storm = time.monotonic() + self._address.options.storm_seconds

    def _closed(self, connection: Connection, closing: socket.socket | None) -> None:
        if closing is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(closing)
            return
        if connection.stormed:
            connection.stormed = False
            self._schedule(connection, IN_A_STORM)
            return
        longest = min(MAX_BACKOFF_SECONDS, connection.failures / 2)
        self._schedule(connection, time.monotonic() + longest * random.random())

    def _watch(self, connection: Connection) -> None:
        """Watch a connection for room to write exactly while something is to be written."""
        opened = connection.socket
        if opened is None or connection.state not in (State.CONNECTING, State.OPEN):
            return
        events = READ | WRITE if connection.wants_write else READ
        if self._selector.get_key(opened).events != events:
            self._selector.modify(opened, events, connection)

    def _tick(self, now: float) -> None:
        storm = now >= self._next_storm
        if storm:
            self._next_storm = now + self._address.options.storm_seconds
        for connection in list(self._connections.values()):
            if connection.state not in (State.CONNECTING, State.OPEN):
                continue
            if storm and connection.state is State.OPEN:
                connection.stormed = True
                connection.cut()
            connection.tick(now)
            self._watch(connection)

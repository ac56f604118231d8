"""Deadlines of many connections at the cost of one timer: each is checked when its next deadline may have come."""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

TURN = 64
"""So many connections are checked in one turn of the reactor: to refuse each takes some twenty microseconds."""


class Timed(Protocol):
    """Something with a deadline that moves. `Timeouts` sets ``check_at``, the time of the next check, or infinity."""

    check_at: float

    def check_timeouts(self, now: int) -> float:
        """Act on what is overdue and return when to check again; ``math.inf`` for never."""


@define(eq=False)
class Timeouts:
    """
    Checks connections for timeouts, to the second.

    Its time, ``now``, counts the seconds that this process has lived through: while it was stopped or starved no peer
    could be heard, so none is late for that. A deadline that moves, as it does with every request, is not moved here:
    the connection is checked when its old deadline comes, and again at the new one. So a request costs nothing.
    """

    clock: IReactorTime
    now: int = field(default=0, init=False)
    _due: dict[int, list[Timed]] = field(factory=dict, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        self._call = self.clock.callLater(1, self._tick)

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def watch(self, watched: Timed, at: float) -> None:
        """Check it at ``at``; a check that is due sooner stays."""
        at = max(math.ceil(at), self.now + 1)
        if at < watched.check_at:
            watched.check_at = at
            self._due.setdefault(at, []).append(watched)

    def _tick(self) -> None:
        self._call = self.clock.callLater(1, self._tick)
        self.now += 1
        self._check_all(self._due.pop(self.now, []), self.now)

    def _check_all(self, due: list[Timed], at: int) -> None:
        """Look at what is due at that time, some in each turn of the reactor: thousands may have come together."""
        for watched in due[:TURN]:
            if watched.check_at == at:
                self._check(watched)
        if len(due) > TURN:
            self.clock.callLater(0, self._check_all, due[TURN:], at)

    def _check(self, watched: Timed) -> None:
        watched.check_at = math.inf
        try:
            again = watched.check_timeouts(self.now)
        except Exception:
            self.log.failure("failed to check the timeouts of a connection")
            return
        if again < math.inf:
            self.watch(watched, again)

"""Counts how often the publisher of a stream was replaced while it was still connected."""

from __future__ import annotations

from collections import deque

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

MAX_TAKEOVERS = 3
WITHIN_S = 60.0
"""After this many takeovers within this time, the next is refused: two encoders are fighting over one name."""
MAX_STREAMS = 10_000


@define(eq=False)
class Takeovers:
    """Takeovers by stream, from publishers at this ingest and at others."""

    clock: IReactorTime
    _recent: dict[str, deque[float]] = field(factory=dict, init=False)

    def count(self, stream: str) -> None:
        """Count a takeover."""
        recent = self._recent.pop(stream, None) or deque(maxlen=MAX_TAKEOVERS)
        self._recent[stream] = recent
        recent.append(self.clock.seconds())
        if len(self._recent) > MAX_STREAMS:
            del self._recent[next(iter(self._recent))]

    def are_too_many(self, stream: str) -> bool:
        recent = self._recent.get(stream, deque())
        return len(recent) == MAX_TAKEOVERS and self.clock.seconds() - recent[0] < WITHIN_S

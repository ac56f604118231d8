"""How often the publisher of a stream was replaced by another who came while it was still there."""

from __future__ import annotations

from collections import deque

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

MOST = 3
WITHIN_S = 60.0
"""Two encoders that fight over one name: after so many takeovers in so many seconds the newcomer is refused."""
NAMES = 10_000


@define(eq=False)
class Takeovers:
    """Counts them by stream, of publishers who were here and of those who were at another ingest."""

    clock: IReactorTime
    _recent: dict[str, deque[float]] = field(factory=dict, init=False)

    def count(self, stream: str) -> None:
        """A publisher was replaced."""
        recent = self._recent.pop(stream, None) or deque(maxlen=MOST)
        self._recent[stream] = recent
        recent.append(self.clock.seconds())
        if len(self._recent) > NAMES:
            del self._recent[next(iter(self._recent))]

    def are_too_many(self, stream: str) -> bool:
        recent = self._recent.get(stream, deque())
        return len(recent) == MOST and self.clock.seconds() - recent[0] < WITHIN_S

"""How late the media of a push comes, measured by the viewer alone."""

from __future__ import annotations

from statistics import median

from attrs import define, field, frozen

LEAST_BEFORE = 20
"""So many samples say what a connection's media was like before."""


@frozen
class _Sample:
    connection: int
    at_s: float
    behind_s: float
    """When it came, less its time stamp: only differences of one connection mean something."""


@define(eq=False)
class Lag:
    """What has come on each connection, and when."""

    _samples: list[_Sample] = field(factory=list, init=False)

    def note(self, connection: int, at_s: float, timestamp_ms: int) -> None:
        self._samples.append(_Sample(connection, at_s, at_s - timestamp_ms / 1000))

    def added(self, begin_s: float, end_s: float) -> list[float]:
        """By how many seconds what came from ``begin_s`` to ``end_s`` was later than before, in the same connection."""
        before: dict[int, list[float]] = {}
        for sample in self._samples:
            if sample.at_s < begin_s:
                before.setdefault(sample.connection, []).append(sample.behind_s)
        usual = {number: median(behind) for number, behind in before.items() if len(behind) >= LEAST_BEFORE}
        during = (sample for sample in self._samples if begin_s <= sample.at_s <= end_s)
        return [sample.behind_s - usual[sample.connection] for sample in during if sample.connection in usual]

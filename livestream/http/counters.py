"""Counts of requests, kept as plain integers where every request passes and handed to the registry when it is read."""

from __future__ import annotations

from attrs import define, field

from livestream.http.response import Answer
from livestream.metrics import Metrics


@define(eq=False)
class Tally:
    """The requests of one kind and outcome since the last hand-over, and the bytes of their bodies."""

    kind: str
    outcome: str
    requests: int = field(default=0, init=False)
    body_bytes: int = field(default=0, init=False)


@define(eq=False)
class Tallies:
    """Every tally of a process. A counter of the registry costs a lock per step; a tally costs an addition."""

    metrics: Metrics
    _tallies: dict[tuple[str, str], Tally] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics.before_scrape(self.hand_over)

    def tally(self, kind: str, outcome: str) -> Tally:
        """The tally to add to; it stays the same for good."""
        tally = self._tallies.get((kind, outcome))
        if tally is None:
            tally = self._tallies[kind, outcome] = Tally(kind, outcome)
        return tally

    def count(self, answer: Answer) -> None:
        """Count one answer, if it is of a kind that is counted."""
        if answer.kind:
            tally = self.tally(answer.kind, answer.outcome)
            tally.requests += 1
            tally.body_bytes += answer.length

    def hand_over(self) -> None:
        """Bring the registry up to date."""
        for tally in self._tallies.values():
            self.metrics.http_requests.labels(tally.kind, tally.outcome).inc(tally.requests)
            self.metrics.http_bytes.labels(tally.kind).inc(tally.body_bytes)
            tally.requests = tally.body_bytes = 0

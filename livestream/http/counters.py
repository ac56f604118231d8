"""Counts of requests, kept as plain integers where every request passes and handed to the registry when it is read."""

from __future__ import annotations

from attrs import define, field

from livestream.http.response import Response
from livestream.metrics import Metrics


@define(eq=False)
class RequestCounter:
    """The requests of one kind and outcome since the last hand-over, and the bytes of their bodies."""

    kind: str
    outcome: str
    requests: int = field(default=0, init=False)
    body_bytes: int = field(default=0, init=False)


@define(eq=False)
class RequestCounters:
    """The requests of a process. A counter of the registry costs a lock per step; one of these costs an addition."""

    metrics: Metrics
    _counters: dict[tuple[str, str], RequestCounter] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics.before_scrape(self.hand_over)

    def counter(self, kind: str, outcome: str) -> RequestCounter:
        """The counter to add to; it stays the same for good."""
        counter = self._counters.get((kind, outcome))
        if counter is None:
            counter = self._counters[kind, outcome] = RequestCounter(kind, outcome)
        return counter

    def count(self, response: Response) -> None:
        """Count one response, if it is of a kind that is counted."""
        if response.kind:
            counter = self.counter(response.kind, response.outcome)
            counter.requests += 1
            counter.body_bytes += response.length

    def hand_over(self) -> None:
        """Bring the registry up to date."""
        for counter in self._counters.values():
            self.metrics.http_requests.labels(counter.kind, counter.outcome).inc(counter.requests)
            self.metrics.http_bytes.labels(counter.kind).inc(counter.body_bytes)
            counter.requests = counter.body_bytes = 0

"""Measures this node's load, from its metrics."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from livestream.metrics import Metrics
from livestream.steering.nodes import Load


@define(eq=False)
class LoadMeter:
    """Called once every ``period_s``, which also shows how late the reactor is."""

    period_s: float
    metrics: Metrics
    monotonic: Callable[[], float]
    _read_at: float = field(init=False)
    _requests: float = field(default=0.0, init=False)
    _bytes: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._read_at = self.monotonic()

    def measure(self) -> Load:
        """The load since the last measurement."""
        now, metrics = self.monotonic(), self.metrics
        passed_s = max(now - self._read_at, 1e-3)
        requests = metrics.total(metrics.http_requests)
        sent = metrics.total(metrics.http_bytes) + metrics.total(metrics.push_bytes)
        viewers = {protocol: int(count) for protocol, count in metrics.values(metrics.viewers).items() if count > 0}
        publishers = sum(metrics.values(metrics.broadcasts).values())
        load = Load(
            connections=sum(viewers.values()) + int(publishers),
            requests_per_s=(requests - self._requests) / passed_s,
            bits_per_s=(sent - self._bytes) * 8 / passed_s,
            delay_ms=max(passed_s - self.period_s, 0.0) * 1000,
            viewers=viewers,
        )
        self._read_at, self._requests, self._bytes = now, requests, sent
        return load

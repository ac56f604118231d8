"""What a rendition really costs and shows, measured over its segments."""

from __future__ import annotations

from attrs import define, field

SHORTEST_MS = 1_000
"""A shorter segment says nothing of a peak."""


@define(eq=False)
class RateMeter:
    """Bits and pictures a second of one rendition."""

    peak: int = field(default=0, init=False)
    _bits: int = field(default=0, init=False)
    _pictures: int = field(default=0, init=False)
    _ms: int = field(default=0, init=False)

    def add(self, size_bytes: int, pictures: int, duration_ms: int) -> None:
        """Count one segment."""
        self._bits += size_bytes * 8
        self._pictures += pictures
        self._ms += max(duration_ms, 1)
        if duration_ms >= SHORTEST_MS or not self.peak:
            self.peak = max(self.peak, size_bytes * 8000 // max(duration_ms, 1))

    @property
    def average(self) -> int:
        """Bits a second, over all segments."""
        return self._bits * 1000 // max(self._ms, 1)

    @property
    def frame_rate(self) -> float:
        """Pictures a second, over all segments."""
        return round(self._pictures * 1000 / max(self._ms, 1), 3)

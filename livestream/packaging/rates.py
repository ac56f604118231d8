"""A rendition's bit rate and frame rate, measured over its segments."""

from __future__ import annotations

from attrs import define, field

MIN_MS = 1_000
"""Shorter segments do not count towards the peak."""


@define(eq=False)
class RateMeter:
    """Bits and video frames per second of one rendition."""

    peak: int = field(default=0, init=False)
    _bits: int = field(default=0, init=False)
    _frames: int = field(default=0, init=False)
    _ms: int = field(default=0, init=False)

    def add(self, size_bytes: int, frames: int, duration_ms: int) -> None:
        """Count one segment."""
        self._bits += size_bytes * 8
        self._frames += frames
        self._ms += max(duration_ms, 1)
        if duration_ms >= MIN_MS or not self.peak:
            self.peak = max(self.peak, size_bytes * 8000 // max(duration_ms, 1))

    @property
    def average(self) -> int:
        """Bits per second, over all segments."""
        return self._bits * 1000 // max(self._ms, 1)

    @property
    def frame_rate(self) -> float:
        """Video frames per second, over all segments."""
        return round(self._frames * 1000 / max(self._ms, 1), 3)

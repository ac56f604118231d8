"""What a multivariant playlist says of a rendition's bit rate and frame rate, measured."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import median_low

from attrs import define, field

SPAN_MS = 60_000
"""How much of a rendition's newest media its bit rate is measured over."""
MIN_MS = 1_000
"""A rate is never that of less media."""
MAX_SEGMENTS = 1_024
"""How many segments are kept, whatever their length."""

MAX_PICTURES = 600
"""How many of the newest pictures a frame rate is measured over: 20 s at 30 a second."""
CONFIRMATIONS = 3
"""How often, a second apart, another frame rate must be measured in succession before it is believed."""
MAX_LOST = 8
"""A longer pause, in pictures, is an interruption, and says nothing of the frame rate."""
ROUNDING_MS = 0.3
"""The standard deviation of times that are rounded to milliseconds."""

_STANDARD = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 100.0, 120.0)
_NTSC = (24.0, 30.0, 48.0, 60.0, 120.0)
"""Those that are also in use slowed down by 1000/1001."""
_NEAR = 0.012
"""How far a measured rate may be from a standard one: less than half the distance between 24 and 25."""
_EXACT = 0.0004
"""The same where a rate is to be told from its NTSC counterpart, which is 0.001 below it."""
_HELD, _HELD_ODD = 0.0006, 0.05
"""A rate this near is not another one; the second is for rates that vary, which are near no standard one."""


@define(eq=False)
class RateMeter:
    """
    Bits per second of one rendition, over its publisher's newest ``span_ms``.

    The target duration is taken to be ``target_ms``.
    """

    target_ms: int = 3_000
    span_ms: int = SPAN_MS
    _segments: deque[tuple[int, int, float]] = field(factory=lambda: deque(maxlen=MAX_SEGMENTS), init=False)
    """Bits, duration in milliseconds, and the highest rate of a set that ends with the segment; 0 if there is none."""
    _earlier: list[tuple[int, int, float]] = field(factory=list, init=False)
    """The same of the publisher before, until there is enough of the current one."""

    def add(self, size_bytes: int, duration_ms: int) -> None:
        """Count a segment of the publisher's media; not one that was made up while it was away."""
        segments = self._segments
        segments.append((size_bytes * 8, max(duration_ms, 1), 0.0))
        segments[-1] = (*segments[-1][:2], self._highest_rate())
        total_ms = sum(ms for _, ms, _ in segments)
        while total_ms - segments[0][1] >= self.span_ms:
            total_ms -= segments.popleft()[1]
        if total_ms >= MIN_MS:
            self._earlier = []

    def reset(self) -> None:
        """Another publisher follows: forget this one as soon as there is enough of that."""
        self._earlier = [*self._earlier, *self._segments][-MAX_SEGMENTS:]
        self._segments.clear()

    @property
    def peak(self) -> int:
        """
        The peak segment bit rate (RFC 8216bis, 4.4.6.2), in bits per second.

        That is the highest of any contiguous set of segments of 0.5 to 1.5 target durations.
        """
        return max(self.average, int(max((rate for _, _, rate in self._measured()), default=0.0)))

    @property
    def average(self) -> int:
        """Bits per second over all segments."""
        measured = self._measured()
        return sum(bits for bits, _, _ in measured) * 1000 // max(sum(ms for _, ms, _ in measured), MIN_MS)

    def _measured(self) -> list[tuple[int, int, float]]:
        return [*self._earlier, *self._segments]

    def _highest_rate(self) -> float:
        """The highest rate of a set of segments that ends with the newest; 0 if all together are too short."""
        low, high = max(self.target_ms // 2, MIN_MS), self.target_ms * 3 // 2
        highest, bits, ms = 0.0, 0, 0
        for segment_bits, segment_ms, _ in reversed(self._segments):
            if ms >= low and ms + segment_ms > high:
                break
            bits, ms = bits + segment_bits, ms + segment_ms
            if ms >= low:
                highest = max(highest, bits * 1000 / ms)
        return highest


@define(eq=False)
class FrameRateMeter:
    """
    The nominal frame rate of a broadcast's pictures, which is that of every rendition that shows all of them.

    The rate at which a publisher really sends is never quite the nominal one, and players compare what renditions
    state: so the rate is measured once, on the source, and changes only when another was measured repeatedly.
    """

    hint: float = 0.0
    """Pictures per second by the bitstream; 0 if it tells none. It holds only where the times agree."""
    _rate: float = field(default=0.0, init=False)
    _times_ms: deque[int] = field(factory=lambda: deque(maxlen=MAX_PICTURES), init=False)
    _due_ms: int | None = field(default=None, init=False)
    _is_new: bool = field(default=True, init=False)
    """Whether nothing was measured of the current publisher."""
    _candidate: float = field(default=0.0, init=False)
    _confirmations: int = field(default=0, init=False)

    def add(self, dts_ms: int) -> None:
        """Count a picture by its decoding time."""
        self._times_ms.append(dts_ms)

    def reset(self) -> None:
        """Another publisher follows, or other pictures: their rate holds as soon as it is measured."""
        self._measure()
        self._times_ms.clear()
        self._due_ms = None
        self._is_new = True
        self._confirmations = 0
        self.hint = 0.0

    @property
    def rate(self) -> float:
        """Pictures per second; 0 while there is less than a second, or no video."""
        self._measure()
        return self._rate

    def _measure(self) -> None:
        """Measure the rate, if that was not done within the last second."""
        times = self._times_ms
        if len(times) > 1 and times[-1] - times[0] >= MIN_MS and (self._due_ms is None or times[-1] >= self._due_ms):
            self._due_ms = times[-1] + MIN_MS
            self._update()

    def _update(self) -> None:
        fps, error = measured_frame_rate(self._times_ms)
        if self.hint and abs(fps / self.hint - 1) <= max(error, _EXACT):
            fps, error = self.hint, 0.0
        rate = self._held(fps) or nominal_frame_rate(fps, error)
        self._confirmations = self._confirmations + 1 if rate == self._candidate else 1
        self._candidate = rate
        if self._is_new or self._confirmations >= CONFIRMATIONS:
            self._rate, self._is_new = rate, False

    def _held(self, fps: float) -> float:
        """The current rate, if ``fps`` is no reason to change it; else 0."""
        if self._is_new or not self._rate:
            return 0.0
        is_odd = nominal_frame_rate(fps, 1.0) not in _STANDARD
        return self._rate if abs(fps / self._rate - 1) <= (_HELD_ODD if is_odd else _HELD) else 0.0


def measured_frame_rate(times_ms: deque[int]) -> tuple[float, float]:
    """
    Pictures per second of at least two different times, and the relative error that this may have.

    Lost pictures are counted, those that share a time are not. The rate is the slope of a line through the times, which
    depends on no single one.
    """
    times = sorted(set(times_ms))
    steps = [after - before for before, after in pairwise(times)]
    period: float = median_low(steps)
    single = [step for step in steps if 0.5 * period <= step < 1.5 * period]
    period = sum(single) / len(single)
    points = [(0, 0)]
    for step in steps:
        index, time_ms = points[-1]
        count = int(step / period + 0.5)
        if count <= MAX_LOST:
            points.append((index + count, time_ms + step))
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    square = sum((x - mean_x) ** 2 for x, _ in points)
    period = sum((x - mean_x) * (y - mean_y) for x, y in points) / square
    residue = sum((y - mean_y - period * (x - mean_x)) ** 2 for x, y in points) / len(points)
    deviation_ms = max(residue**0.5, ROUNDING_MS)
    return 1000 / period, 3 * deviation_ms / square**0.5 / period


def nominal_frame_rate(measured_fps: float, error: float = 0.0) -> float:
    """
    The frame rate that pictures were meant to have which were measured at ``measured_fps``.

    ``error`` is the relative error of the measurement: 29.97 and its like are told from 30 only if it is small enough.
    Rates near no standard one are rounded to halves, low ones to tenths and high ones to whole numbers.
    """
    for rate in _NTSC:
        slowed = rate * 1000 / 1001
        if error <= _EXACT and abs(measured_fps / slowed - 1) <= _EXACT:
            return round(slowed, 3)
    nearest = min(_STANDARD, key=lambda rate: abs(rate - measured_fps))
    if abs(measured_fps / nearest - 1) <= _NEAR:
        return nearest
    if measured_fps < 2:
        return round(measured_fps, 1)
    return round(measured_fps * 2) / 2 if measured_fps < 60 else float(round(measured_fps))

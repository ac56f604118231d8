"""A publisher's timestamps, made into one time line for the whole broadcast."""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

from livestream.model.frames import VIDEO, Track

JUMP_MS = 10_000
"""A step forward of more than this is a jump of the encoder's clock, not a pause in its media."""
BACK_MS = 1_000
"""A step back of more than this is a reset; less is jitter."""
STEADY_MS = 250
"""A step of no more than this is a track's own, whatever the other does."""
START_MS = 10_000
"""Where a time line begins: the other track's first frame may be older than the first, and no time is below zero."""
AFTER_JUMP_MS = 40
"""A frame after a jump is taken to follow the one before it by a usual step."""
WRAP = 1 << 32

_new = tuple.__new__  # a NamedTuple's own constructor, which is written in Python, takes thrice as long


class Placed(NamedTuple):
    """Where a timestamp lies on the broadcast's time line; ``is_jump`` when the encoder's clock jumped right before."""

    dts_ms: int
    is_jump: bool


@define(eq=False)
class _Line:
    """How one track lies on the line: its distance to it, and where its newest frame is; unknown before the first."""

    offset_ms: int | None = None
    near_ms: int | None = None
    floor_ms: int = 0

    def step(self, timestamp_ms: int, near_ms: int) -> int | None:
        """How far a timestamp, modulo 2^32, is from ``near_ms`` at this track's distance."""
        if self.offset_ms is None:
            return None
        return (timestamp_ms + self.offset_ms - near_ms + (WRAP >> 1)) % WRAP - (WRAP >> 1)


@define(eq=False)
class Timeline:
    """
    Places 32-bit RTMP timestamps on a line that never jumps and, for each track, never goes back.

    A publisher's first timestamp is placed at ``base_ms``, as is the first after :meth:`resume`. Times rise past 2^32.
    Each track keeps its own distance to the line, for some encoders count the two from different clocks; when both
    jump, the second follows the first.
    """

    base_ms: int = START_MS
    newest_ms: int = field(init=False)
    """The latest time placed on any track."""
    _video: _Line = field(factory=_Line, init=False)
    _audio: _Line = field(factory=_Line, init=False)

    def __attrs_post_init__(self) -> None:
        self.newest_ms = self.base_ms

    def resume(self, base_ms: int) -> None:
        """A new publisher goes on: its first timestamp will be placed at ``base_ms``."""
        self.base_ms = self.newest_ms = max(base_ms, self.newest_ms)
        for line in (self._video, self._audio):
            line.offset_ms = line.near_ms = None

    def place(self, track: Track, timestamp_ms: int) -> Placed:
        """Place one timestamp, given modulo 2^32; a usual step by a short way, for nothing but the time changes."""
        own, other = (self._video, self._audio) if track is VIDEO else (self._audio, self._video)
        if own.offset_ms is not None and own.near_ms is not None:
            time_ms = timestamp_ms + own.offset_ms
            if own.near_ms <= time_ms <= own.near_ms + STEADY_MS and time_ms >= own.floor_ms:
                own.near_ms = own.floor_ms = time_ms
                if time_ms > self.newest_ms:  # noqa: PLR1730 -- max() takes longer than all the rest
                    self.newest_ms = time_ms
                return _new(Placed, (time_ms, False))
        return self._place_unsteady(own, other, timestamp_ms)

    def _place_unsteady(self, own: _Line, other: _Line, timestamp_ms: int) -> Placed:
        is_known = own.near_ms is not None
        near_ms = self.newest_ms if own.near_ms is None else own.near_ms
        step = self._step(own, other, timestamp_ms, near_ms, BACK_MS if is_known else JUMP_MS)
        is_jump = step is None and is_known
        time_ms = self.newest_ms + (AFTER_JUMP_MS if is_jump else 0) if step is None else near_ms + step
        own.offset_ms = time_ms - timestamp_ms
        own.near_ms = max(time_ms, near_ms) if is_known and not is_jump else time_ms
        own.floor_ms = time_ms = max(time_ms, own.floor_ms)
        self.newest_ms = max(self.newest_ms, time_ms)
        return Placed(time_ms, is_jump)

    def _step(self, own: _Line, other: _Line, timestamp_ms: int, near_ms: int, back_ms: int) -> int | None:
        """The likeliest step that is no jump. The track's own distance holds, unless the other's fits far better."""
        step = own.step(timestamp_ms, near_ms)
        if step is not None and -STEADY_MS <= step <= STEADY_MS:
            return step
        steps = [
            likely
            for likely in (step, other.step(timestamp_ms, near_ms))
            if likely is not None and -back_ms <= likely <= JUMP_MS
        ]
        return min(steps, key=abs, default=None)

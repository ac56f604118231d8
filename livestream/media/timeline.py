"""Maps a publisher's timestamps to one timeline for the whole broadcast."""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

from livestream.model.frames import VIDEO, Track

JUMP_MS = 10_000
"""A larger step forward is a jump of the encoder's clock, not a pause in its media."""
BACK_MS = 1_000
"""A larger step back is a reset of the encoder's clock; less is jitter."""
STEADY_MS = 250
"""A step up to this is valid by the track's own offset, whatever the other track does."""
START_MS = 10_000
"""Where a timeline begins: above zero, since the other track's first frame may be older than the first frame."""
AFTER_JUMP_MS = 40
"""A frame after a jump is placed this much after the one before it."""
WRAP = 1 << 32

_new = tuple.__new__  # three times as fast as a NamedTuple's own constructor, which is written in Python


class TimelinePosition(NamedTuple):
    """A timestamp's time on the broadcast's timeline; ``is_jump`` if the encoder's clock jumped right before it."""

    dts_ms: int
    is_jump: bool


@define(eq=False)
class _TrackOffset:
    """One track's offset to the timeline, and the time of its newest frame; ``None`` before the first."""

    offset_ms: int | None = None
    near_ms: int | None = None
    floor_ms: int = 0

    def step(self, timestamp_ms: int, near_ms: int) -> int | None:
        """How far a timestamp, modulo 2^32, is from ``near_ms`` with this track's offset."""
        if self.offset_ms is None:
            return None
        return (timestamp_ms + self.offset_ms - near_ms + (WRAP >> 1)) % WRAP - (WRAP >> 1)


@define(eq=False)
class Timeline:
    """
    Places 32-bit RTMP timestamps on a timeline that never jumps and, for each track, never goes back.

    A publisher's first timestamp is placed at ``base_ms``, as is the first after :meth:`resume`. Times rise past 2^32.
    Each track has its own offset to the timeline, since some encoders take the two from different clocks; when both
    jump, the second follows the first.
    """

    base_ms: int = START_MS
    newest_ms: int = field(init=False)
    """The latest time placed on any track."""
    _video: _TrackOffset = field(factory=_TrackOffset, init=False)
    _audio: _TrackOffset = field(factory=_TrackOffset, init=False)

    def __attrs_post_init__(self) -> None:
        self.newest_ms = self.base_ms

    def resume(self, base_ms: int) -> None:
        """Continue with a new publisher, whose first timestamp will be placed at ``base_ms``."""
        self.base_ms = self.newest_ms = max(base_ms, self.newest_ms)
        for line in (self._video, self._audio):
            line.offset_ms = line.near_ms = None

    def place(self, track: Track, timestamp_ms: int) -> TimelinePosition:
        """Place one timestamp, given modulo 2^32. Usual steps take a fast path."""
        own, other = (self._video, self._audio) if track is VIDEO else (self._audio, self._video)
        if own.offset_ms is not None and own.near_ms is not None:
            time_ms = timestamp_ms + own.offset_ms
            if own.near_ms <= time_ms <= own.near_ms + STEADY_MS and time_ms >= own.floor_ms:
                own.near_ms = own.floor_ms = time_ms
                if time_ms > self.newest_ms:  # noqa: PLR1730 -- max() takes longer than all the rest
                    self.newest_ms = time_ms
                return _new(TimelinePosition, (time_ms, False))
        return self._place_unsteady(own, other, timestamp_ms)

    def _place_unsteady(self, own: _TrackOffset, other: _TrackOffset, timestamp_ms: int) -> TimelinePosition:
        is_known = own.near_ms is not None
        near_ms = self.newest_ms if own.near_ms is None else own.near_ms
        step = self._step(own, other, timestamp_ms, near_ms, BACK_MS if is_known else JUMP_MS)
        is_jump = step is None and is_known
        time_ms = self.newest_ms + (AFTER_JUMP_MS if is_jump else 0) if step is None else near_ms + step
        own.offset_ms = time_ms - timestamp_ms
        own.near_ms = max(time_ms, near_ms) if is_known and not is_jump else time_ms
        own.floor_ms = time_ms = max(time_ms, own.floor_ms)
        self.newest_ms = max(self.newest_ms, time_ms)
        return TimelinePosition(time_ms, is_jump)

    def _step(
        self, own: _TrackOffset, other: _TrackOffset, timestamp_ms: int, near_ms: int, back_ms: int
    ) -> int | None:
        """The likeliest step that is not a jump: by the track's own offset, unless the other's fits far better."""
        step = own.step(timestamp_ms, near_ms)
        if step is not None and -STEADY_MS <= step <= STEADY_MS:
            return step
        steps = [
            likely
            for likely in (step, other.step(timestamp_ms, near_ms))
            if likely is not None and -back_ms <= likely <= JUMP_MS
        ]
        return min(steps, key=abs, default=None)

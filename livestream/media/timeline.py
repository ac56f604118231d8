"""Maps a publisher's timestamps to one timeline for the whole broadcast."""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

from livestream.model.frames import VIDEO, Track

JUMP_MS = 10_000
"""A larger step forward is a jump of the encoder's clock, not a pause in its media."""
BACK_MS = 1_000
"""A larger step back is a reset of the encoder's clock; less is jitter."""
SUDDEN_MS = 1_000
"""A longer step forward, and longer than a few usual ones, is a pause of the encoder or an error of this timestamp."""
SUDDEN_STEPS = 4
STEADY_MS = 250
"""A step up to this is valid by the track's own offset, whatever the other track does."""
START_MS = 10_000
"""Where a timeline begins: above zero, since the other track's first frame may be older than the first frame."""
AFTER_JUMP_MS = 40
"""A frame after a jump is placed this much after the one before it."""
WRAP = 1 << 32


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
    usual_ms: int = 0
    """The longest of the latest steps."""

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
            line.usual_ms = 0

    def is_sudden(self, track: Track, timestamp_ms: int) -> bool:
        """Whether a timestamp is so far from the one before it on its track that it may be an error."""
        own, other = (self._video, self._audio) if track is VIDEO else (self._audio, self._video)
        near_ms = own.near_ms
        if near_ms is None:
            return False
        step = self._step(own, other, timestamp_ms, near_ms, BACK_MS)
        return step is None or step > max(SUDDEN_MS, SUDDEN_STEPS * own.usual_ms)

    def newest_of(self, track: Track) -> int:
        """The latest time placed on this track."""
        near_ms = (self._video if track is VIDEO else self._audio).near_ms
        return self.newest_ms if near_ms is None else near_ms

    def unclamped(self, track: Track, timestamp_ms: int) -> int:
        """Where a timestamp is that was placed just now, even if that is before the one before it."""
        own = self._video if track is VIDEO else self._audio
        step = own.step(timestamp_ms, self.newest_of(track))
        return self.newest_of(track) + (step or 0)

    def place(self, track: Track, timestamp_ms: int) -> TimelinePosition:
        """Place one timestamp, given modulo 2^32."""
        time_ms = self.place_steady(track, timestamp_ms)
        if time_ms is not None:
            return TimelinePosition(time_ms, False)
        own, other = (self._video, self._audio) if track is VIDEO else (self._audio, self._video)
        return self._place_unsteady(own, other, timestamp_ms)

    def place_steady(self, track: Track, timestamp_ms: int) -> int | None:
        """Place a timestamp that is a usual step after the one before it; ``None`` if it is not. This is fast."""
        own = self._video if track is VIDEO else self._audio
        if own.offset_ms is None or own.near_ms is None:
            return None
        time_ms = timestamp_ms + own.offset_ms
        if not own.near_ms <= time_ms <= own.near_ms + STEADY_MS or time_ms < own.floor_ms:
            return None
        own.near_ms = own.floor_ms = time_ms
        if time_ms > self.newest_ms:  # noqa: PLR1730 -- max() takes longer than all the rest
            self.newest_ms = time_ms
        return time_ms

    def _place_unsteady(self, own: _TrackOffset, other: _TrackOffset, timestamp_ms: int) -> TimelinePosition:
        is_known = own.near_ms is not None
        near_ms = self.newest_ms if own.near_ms is None else own.near_ms
        step = self._step(own, other, timestamp_ms, near_ms, BACK_MS if is_known else JUMP_MS)
        is_jump = step is None and is_known
        time_ms = self.newest_ms + (AFTER_JUMP_MS if is_jump else 0) if step is None else near_ms + step
        own.offset_ms = time_ms - timestamp_ms
        own.usual_ms = max(time_ms - near_ms, own.usual_ms * 7 // 8) if is_known and not is_jump else 0
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

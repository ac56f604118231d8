"""Where a broadcast is cut into segments: decided once, from the source's frames, in media time alone."""

from __future__ import annotations

from math import ceil

from attrs import define, field, frozen

from livestream.model import Frame

EARLY_MS = 100
"""A key frame so little before a segment's length is taken: encoders round their intervals."""
ROUNDING_MS = 500
"""RFC 8216, 4.3.3.1: a duration, rounded to the nearest second, may not exceed the target duration."""
LONGEST_S = 12
"""A source with no key frame for so long is cut without one, for a window must not grow with its mood."""


@frozen
class Cut:
    """
    The beginning of a segment, in every rendition.

    ``pts_ms`` is its time on the broadcast's time line and ``starts_at_ms`` on the wall clock (Unix milliseconds).
    ``independent`` says that the source has a key frame there; a rung always has.
    """

    msn: int
    pts_ms: int
    discontinuity: int
    starts_at_ms: int
    independent: bool = True


@define(eq=False)
class CutPlanner:
    """
    Watches the frames of one track, video if there is any, and says before which of them a segment begins.

    The first segment fixes ``target_s``, the target duration in seconds, for the whole broadcast. A source whose key
    frames later come too late for it is cut between them, so that no rule of HLS breaks: that segment of the source
    begins with no key frame, and the rungs are given one. ``msn`` and ``discontinuity`` are the numbers that the first
    segment gets.
    """

    segment_s: int
    msn: int
    discontinuity: int
    target_s: int | None = field(default=None, init=False)
    current: Cut | None = field(default=None, init=False)
    _end_ms: int | None = field(default=None, init=False)
    _ends_at_ms: int = field(default=0, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _key_ms: int | None = field(default=None, init=False)
    _key_interval_ms: int = field(default=0, init=False)
    _dts_ms: int = field(default=0, init=False)

    def add(self, frame: Frame) -> Cut | None:
        """The cut right before ``frame``, if there is one. Configurations are not to be shown to it."""
        interval_ms, self._dts_ms = frame.dts_ms - self._dts_ms, frame.dts_ms
        if frame.is_key:
            self._key_interval_ms = frame.pts_ms - self._key_ms if self._key_ms is not None else 0
            self._key_ms = frame.pts_ms
        if not self._cuts_before(frame, interval_ms):
            return None
        if self.current is not None and self.target_s is None:
            length_s = (frame.pts_ms - self.current.pts_ms - EARLY_MS) / 1000
            self.target_s = max(self.segment_s, ceil(length_s))
        return self._cut(frame)

    def interrupt(self) -> None:
        """The next key frame begins a new segment, with a discontinuity before it."""
        self._is_interrupted = True

    def finish(self, end_ms: int) -> None:
        """The publisher has gone; its media ended at ``end_ms``. What follows begins with a discontinuity."""
        if self.current is None:
            return
        self._end_ms = max(end_ms, self.current.pts_ms + 1)
        self._ends_at_ms = self.current.starts_at_ms + self._end_ms - self.current.pts_ms
        if self.target_s is None:
            self.target_s = max(self.segment_s, ceil((self._end_ms - self.current.pts_ms - EARLY_MS) / 1000))
        self.current = None
        self._is_interrupted = True

    @property
    def end_ms(self) -> int:
        """Where the media ended, once :meth:`finish` was told."""
        assert self._end_ms is not None
        return self._end_ms

    def gap(self) -> tuple[Cut, int]:
        """A segment of one target duration for which there is no media, after :meth:`finish`; and its length in ms."""
        assert self.target_s is not None
        cut = Cut(self.msn, self.end_ms, self.discontinuity, self._ends_at_ms)
        self.msn += 1
        self._end_ms = self.end_ms + self.target_s * 1000
        self._ends_at_ms += self.target_s * 1000
        return cut, self.target_s * 1000

    def _cuts_before(self, frame: Frame, interval_ms: int) -> bool:
        if self.current is None or self._is_interrupted:
            return frame.is_key
        elapsed_ms = frame.pts_ms - self.current.pts_ms
        longest_ms = (self.target_s or LONGEST_S) * 1000 + ROUNDING_MS
        if frame.is_key:
            is_due = elapsed_ms >= self.segment_s * 1000 - EARLY_MS
            return is_due or (self.target_s is not None and elapsed_ms + self._key_interval_ms >= longest_ms)
        return elapsed_ms + interval_ms >= longest_ms

    def _cut(self, frame: Frame) -> Cut:
        starts_at_ms = self._starts_at_ms(frame)
        if self._is_interrupted:
            self.discontinuity += 1
            self._is_interrupted = False
        self.current = Cut(self.msn, frame.pts_ms, self.discontinuity, starts_at_ms, frame.is_key)
        self.msn += 1
        return self.current

    def _starts_at_ms(self, frame: Frame) -> int:
        """Time goes on from the segment before; where there is a break, it catches up with the wall clock."""
        arrived_ms = int(frame.arrived * 1000)
        if self.current is not None:
            earliest_ms = self.current.starts_at_ms + frame.pts_ms - self.current.pts_ms
            return max(earliest_ms, arrived_ms) if self._is_interrupted else earliest_ms
        return max(self._ends_at_ms, arrived_ms)

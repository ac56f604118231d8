"""Where a broadcast is cut into segments: decided once for all renditions, from the source's frames and media time."""

from __future__ import annotations

from collections import deque
from math import ceil, inf

from attrs import define, field, frozen

from livestream.model.frames import VIDEO, Frame, Track
from livestream.packaging.track_activity import TrackActivity

EARLY_MS = 100
"""A key frame may come this much before a segment's length: encoders round their key frame intervals."""
ROUNDING_MS = 500
"""RFC 8216, 4.3.3.1: a duration, rounded to the nearest second, may not exceed the target duration."""
MAX_SEGMENT_S = 12
"""A source without a key frame for this long is cut without one, so that the window stays bounded."""
MAX_INTERRUPTIONS = 4
"""How many segments may be cut short, by a new configuration or a jump, within as many usual segment lengths."""
MAX_STEP_MS = 500
"""A longer step between two frames is a gap, and does not predict the next step."""


@frozen
class Cut:
    """
    The beginning of a segment, in every rendition.

    ``pts_ms`` is its time on the broadcast's timeline and ``starts_at_ms`` on the wall clock (Unix milliseconds).
    ``independent`` says that the source has a key frame there; a rung always has. ``tracks`` are the tracks of the
    segment, which change only with ``discontinuity``.
    """

    msn: int
    pts_ms: int
    discontinuity: int
    starts_at_ms: int
    independent: bool = True
    tracks: frozenset[Track] = frozenset(Track)


@define(eq=False)
class CutPlanner:
    """
    Decides before which of the source's frames a segment begins.

    The first segment fixes ``target_s``, the target duration in seconds, for the whole broadcast. A source whose later
    key frames come too late for it is cut between them, and one that sends nothing for that long is cut within the gap,
    so that no segment is ever longer. ``msn`` and ``discontinuity`` are the numbers of the next segment.
    """

    segment_s: int
    msn: int
    discontinuity: int
    target_s: int | None = field(default=None, init=False)
    current: Cut | None = field(default=None, init=False)
    end_ms: int = field(default=0, init=False)
    """Where the newest video frame ends, or audio frame in a broadcast without video."""
    _ends_at_ms: int = field(default=0, init=False)
    _ends_before_ms: float = field(default=inf, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _interrupted_ms: deque[int] = field(factory=lambda: deque(maxlen=MAX_INTERRUPTIONS), init=False)
    """When the latest segments that were not due yet began."""
    _activity: TrackActivity = field(factory=TrackActivity, init=False)
    _tracks: frozenset[Track] = field(default=frozenset(), init=False)
    _leader: Track | None = field(default=None, init=False)
    _dts_ms: int = field(default=0, init=False)
    _pts_ms: int = field(default=0, init=False)
    _step_ms: int = field(default=0, init=False)
    _key_ms: int | None = field(default=None, init=False)
    _key_interval_ms: int = field(default=0, init=False)

    def add(self, frame: Frame) -> list[Cut]:
        """
        Process a frame or configuration, and return the cuts right before it: none or one.

        There are more only after a gap that is longer than a segment may be.
        """
        activity = self._activity
        if activity.update(frame) and self.current is not None:
            self._is_interrupted = True
        if frame.codec.track is not activity.leader or frame.is_config:
            return []
        pts_ms = frame.dts_ms + frame.cts_ms
        cuts = self._cuts_in_gap(frame, pts_ms) if pts_ms >= self._ends_before_ms else []
        self._measure(frame, pts_ms)
        if (frame.is_key or pts_ms + self._step_ms >= self._ends_before_ms) and self._is_due(frame, pts_ms):
            cuts.append(self._begin(pts_ms, frame))
        return cuts

    def interrupt(self) -> None:
        """Begin a new segment at the next key frame, after a discontinuity."""
        self._is_interrupted = True

    def finish(self) -> int | None:
        """
        End the last segment, since the publisher has left; return where it ends, or ``None`` if none had begun.

        What follows begins with a discontinuity, and with its own configurations.
        """
        self._activity = TrackActivity()
        self._leader = None
        self._is_interrupted = self.target_s is not None or self.current is not None
        if self.current is None:
            return None
        begins_ms = self.current.pts_ms
        self.end_ms = min(max(self.end_ms, begins_ms + 1), begins_ms + self._max_length_ms - 1)
        self._ends_at_ms = self.current.starts_at_ms + self.end_ms - begins_ms
        self._fix_target(self.end_ms)
        self.current, self._ends_before_ms = None, inf
        return self.end_ms

    def gap(self, max_ms: int) -> tuple[Cut, int]:
        """After :meth:`finish`: a segment without media of at most ``max_ms``; return it with its length in ms."""
        assert self.target_s is not None
        length_ms = min(max_ms, self.target_s * 1000)
        cut = Cut(self.msn, self.end_ms, self.discontinuity, self._ends_at_ms, tracks=self._tracks)
        self.msn += 1
        self.end_ms += length_ms
        self._ends_at_ms += length_ms
        return cut, length_ms

    @property
    def _max_length_ms(self) -> int:
        """Every segment is shorter than this."""
        return (self.target_s or MAX_SEGMENT_S) * 1000 + ROUNDING_MS

    def _cuts_in_gap(self, frame: Frame, pts_ms: int) -> list[Cut]:
        """Cuts between the previous frame and ``frame``, without which the segment would be too long."""
        cuts = []
        while self.current is not None and pts_ms >= self._ends_before_ms:
            begins_ms, length_ms = self.current.pts_ms, (self.target_s or MAX_SEGMENT_S) * 1000
            ends_ms = min(max(begins_ms + length_ms, self.end_ms), begins_ms + self._max_length_ms - 1)
            cuts.append(self._begin(ends_ms, frame))
        return cuts

    def _measure(self, frame: Frame, pts_ms: int) -> None:
        """Update the expected distances of the next frame and key frame, and where ``frame`` ends."""
        dts_ms = frame.dts_ms
        if frame.codec.track is not self._leader:
            self._leader, self._key_ms, self._dts_ms, self._pts_ms = frame.codec.track, None, dts_ms, pts_ms
        step_ms = pts_ms - self._pts_ms
        if step_ms > 0:
            if step_ms > MAX_STEP_MS:
                step_ms, self._key_ms = MAX_STEP_MS, None
            before_ms = self._step_ms * 7 // 8
            self._step_ms = step_ms if step_ms > before_ms else before_ms
            self._pts_ms = pts_ms
        if frame.is_key:
            self._key_interval_ms = pts_ms - self._key_ms if self._key_ms is not None else 0
            self._key_ms = pts_ms
        length_ms = dts_ms - self._dts_ms
        if not 0 < length_ms <= MAX_STEP_MS:
            length_ms = min(max(length_ms, 1), MAX_STEP_MS)
        self._dts_ms = dts_ms
        self.end_ms = max(self.end_ms, pts_ms + length_ms)

    def _is_due(self, frame: Frame, pts_ms: int) -> bool:
        """Whether a segment begins with this frame: a key frame, or the last one before the segment is too long."""
        if self.current is None:
            return True
        elapsed_ms = pts_ms - self.current.pts_ms
        if elapsed_ms <= 0:
            return False
        early_ms = EARLY_MS if frame.codec.track is VIDEO else 0
        if not frame.is_key or elapsed_ms >= self.segment_s * 1000 - early_ms:
            return True
        if self._is_interrupted and self._may_interrupt(pts_ms):
            self._interrupted_ms.append(pts_ms)
            return True
        return self.target_s is not None and elapsed_ms + self._key_interval_ms >= self._max_length_ms

    def _may_interrupt(self, at_ms: int) -> bool:
        """Whether the segment may be cut short: an encoder might send a new configuration with every frame."""
        latest = self._interrupted_ms
        return len(latest) < MAX_INTERRUPTIONS or at_ms - latest[0] >= MAX_INTERRUPTIONS * self.segment_s * 1000

    def _begin(self, pts_ms: int, frame: Frame) -> Cut:
        """Cut at ``pts_ms``, right before ``frame``."""
        starts_at_ms = self._ends_at_ms
        if self.current is not None:
            self._fix_target(pts_ms)
            starts_at_ms = self.current.starts_at_ms + pts_ms - self.current.pts_ms
        if frame.is_key and pts_ms == frame.pts_ms and (self._is_interrupted or self.current is None):
            starts_at_ms = max(starts_at_ms, int(frame.arrived * 1000))
            self.discontinuity += self._is_interrupted
            self._is_interrupted = False
            self._tracks = self._activity.tracks
        self.current = Cut(self.msn, pts_ms, self.discontinuity, starts_at_ms, frame.is_key, self._tracks)
        self._ends_before_ms = pts_ms + self._max_length_ms
        self.msn += 1
        return self.current

    def _fix_target(self, end_ms: int) -> None:
        """Fix the target duration by the first segment, which ends at ``end_ms``."""
        if self.target_s is None and self.current is not None:
            self.target_s = max(self.segment_s, ceil((end_ms - self.current.pts_ms - EARLY_MS) / 1000))

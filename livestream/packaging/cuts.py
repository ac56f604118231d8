"""Where a broadcast is cut into segments: decided once, from the source's frames, in media time alone."""

from __future__ import annotations

from collections import deque
from math import ceil, inf

from attrs import define, field, frozen

from livestream.model.frames import VIDEO, Frame, Track
from livestream.packaging.track_activity import Presence

EARLY_MS = 100
"""A picture so little before a segment's length is taken: encoders round the intervals of their key frames."""
ROUNDING_MS = 500
"""RFC 8216, 4.3.3.1: a duration, rounded to the nearest second, may not exceed the target duration."""
LONGEST_S = 12
"""A source with no key frame for so long is cut without one, for a window must not grow with its mood."""
INTERRUPTIONS = 4
"""So many segments in a row are cut short by another configuration or a jump, and no more in as many usual lengths."""
LONGEST_STEP_MS = 500
"""A longer step between two pictures is a hole, and says nothing of the next."""


@frozen
class Cut:
    """
    The beginning of a segment, in every rendition.

    ``pts_ms`` is its time on the broadcast's time line and ``starts_at_ms`` on the wall clock (Unix milliseconds).
    ``independent`` says that the source has a key frame there; a rung always has. ``tracks`` is what the segment is
    made of, and changes only with ``discontinuity``.
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
    Watches the source's frames and says before which of them a segment begins.

    The first segment fixes ``target_s``, the target duration in seconds, for the whole broadcast. A source whose key
    frames later come too late for it is cut between them, and one that shows nothing for so long is cut where nothing
    is shown, so that no segment is ever longer. ``msn`` and ``discontinuity`` are the numbers of the next segment.
    """

    segment_s: int
    msn: int
    discontinuity: int
    target_s: int | None = field(default=None, init=False)
    current: Cut | None = field(default=None, init=False)
    end_ms: int = field(default=0, init=False)
    """Where the newest picture (or sound, in a broadcast without pictures) ends."""
    _ends_at_ms: int = field(default=0, init=False)
    _ends_before_ms: float = field(default=inf, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _interrupted_ms: deque[int] = field(factory=lambda: deque(maxlen=INTERRUPTIONS), init=False)
    """When the latest segments began that were not due yet."""
    _presence: Presence = field(factory=Presence, init=False)
    _tracks: frozenset[Track] = field(default=frozenset(), init=False)
    _leader: Track | None = field(default=None, init=False)
    _dts_ms: int = field(default=0, init=False)
    _shown_ms: int = field(default=0, init=False)
    _step_ms: int = field(default=0, init=False)
    _key_ms: int | None = field(default=None, init=False)
    _key_interval_ms: int = field(default=0, init=False)

    def add(self, frame: Frame) -> list[Cut]:
        """
        Watch a frame, configurations included, and return the cuts right before it: none, or one.

        There are more only where nothing was shown for longer than a segment may be.
        """
        presence = self._presence
        if presence.changes(frame) and self.current is not None:
            self._is_interrupted = True
        if frame.codec.track is not presence.leader or frame.is_config:
            return []
        shown_ms = frame.dts_ms + frame.cts_ms
        cuts = self._holes(frame, shown_ms) if shown_ms >= self._ends_before_ms else []
        self._measure(frame, shown_ms)
        if (frame.is_key or shown_ms + self._step_ms >= self._ends_before_ms) and self._is_due(frame, shown_ms):
            cuts.append(self._begin(shown_ms, frame))
        return cuts

    def interrupt(self) -> None:
        """The next key frame begins a new segment, with a discontinuity before it."""
        self._is_interrupted = True

    def finish(self) -> int | None:
        """
        The publisher has gone: where the last segment ends, or ``None`` if none had begun.

        What follows begins with a discontinuity, and with what its own configurations say.
        """
        self._presence = Presence()
        self._leader = None
        self._is_interrupted = self.target_s is not None or self.current is not None
        if self.current is None:
            return None
        begins_ms = self.current.pts_ms
        self.end_ms = min(max(self.end_ms, begins_ms + 1), begins_ms + self._longest_ms - 1)
        self._ends_at_ms = self.current.starts_at_ms + self.end_ms - begins_ms
        self._fix_target(self.end_ms)
        self.current, self._ends_before_ms = None, inf
        return self.end_ms

    def gap(self, longest_ms: int) -> tuple[Cut, int]:
        """After :meth:`finish`: a segment without media, as long as is given and as may be; and its length in ms."""
        assert self.target_s is not None
        length_ms = min(longest_ms, self.target_s * 1000)
        cut = Cut(self.msn, self.end_ms, self.discontinuity, self._ends_at_ms, tracks=self._tracks)
        self.msn += 1
        self.end_ms += length_ms
        self._ends_at_ms += length_ms
        return cut, length_ms

    @property
    def _longest_ms(self) -> int:
        """A segment is shorter than this."""
        return (self.target_s or LONGEST_S) * 1000 + ROUNDING_MS

    def _holes(self, frame: Frame, shown_ms: int) -> list[Cut]:
        """Cuts between what was shown last and ``frame``, if the segment would be too long without them."""
        cuts = []
        while self.current is not None and shown_ms >= self._ends_before_ms:
            begins_ms, length_ms = self.current.pts_ms, (self.target_s or LONGEST_S) * 1000
            ends_ms = min(max(begins_ms + length_ms, self.end_ms), begins_ms + self._longest_ms - 1)
            cuts.append(self._begin(ends_ms, frame))
        return cuts

    def _measure(self, frame: Frame, shown_ms: int) -> None:
        """How far the next picture, and the next key frame, may be from ``frame``, and where it ends."""
        dts_ms = frame.dts_ms
        if frame.codec.track is not self._leader:
            self._leader, self._key_ms, self._dts_ms, self._shown_ms = frame.codec.track, None, dts_ms, shown_ms
        step_ms = shown_ms - self._shown_ms
        if step_ms > 0:
            if step_ms > LONGEST_STEP_MS:
                step_ms, self._key_ms = LONGEST_STEP_MS, None
            before_ms = self._step_ms * 7 // 8
            self._step_ms = step_ms if step_ms > before_ms else before_ms
            self._shown_ms = shown_ms
        if frame.is_key:
            self._key_interval_ms = shown_ms - self._key_ms if self._key_ms is not None else 0
            self._key_ms = shown_ms
        length_ms = dts_ms - self._dts_ms
        if not 0 < length_ms <= LONGEST_STEP_MS:
            length_ms = min(max(length_ms, 1), LONGEST_STEP_MS)
        self._dts_ms = dts_ms
        self.end_ms = max(self.end_ms, shown_ms + length_ms)

    def _is_due(self, frame: Frame, shown_ms: int) -> bool:
        """Whether a segment begins with a key frame, or with a picture after which it would be too late."""
        if self.current is None:
            return True
        elapsed_ms = shown_ms - self.current.pts_ms
        if elapsed_ms <= 0:
            return False
        early_ms = EARLY_MS if frame.codec.track is VIDEO else 0
        if not frame.is_key or elapsed_ms >= self.segment_s * 1000 - early_ms:
            return True
        if self._is_interrupted and self._may_interrupt(shown_ms):
            self._interrupted_ms.append(shown_ms)
            return True
        return self.target_s is not None and elapsed_ms + self._key_interval_ms >= self._longest_ms

    def _may_interrupt(self, at_ms: int) -> bool:
        """Whether the segment may be cut short: an encoder may have another configuration with every frame."""
        latest = self._interrupted_ms
        return len(latest) < INTERRUPTIONS or at_ms - latest[0] >= INTERRUPTIONS * self.segment_s * 1000

    def _begin(self, pts_ms: int, frame: Frame) -> Cut:
        """A cut at ``pts_ms``, with ``frame`` as the first that follows."""
        starts_at_ms = self._ends_at_ms
        if self.current is not None:
            self._fix_target(pts_ms)
            starts_at_ms = self.current.starts_at_ms + pts_ms - self.current.pts_ms
        if frame.is_key and pts_ms == frame.pts_ms and (self._is_interrupted or self.current is None):
            starts_at_ms = max(starts_at_ms, int(frame.arrived * 1000))
            self.discontinuity += self._is_interrupted
            self._is_interrupted = False
            self._tracks = self._presence.tracks
        self.current = Cut(self.msn, pts_ms, self.discontinuity, starts_at_ms, frame.is_key, self._tracks)
        self._ends_before_ms = pts_ms + self._longest_ms
        self.msn += 1
        return self.current

    def _fix_target(self, end_ms: int) -> None:
        """The target duration that the first segment, which ends at ``end_ms``, needs."""
        if self.target_s is None and self.current is not None:
            self.target_s = max(self.segment_s, ceil((end_ms - self.current.pts_ms - EARLY_MS) / 1000))

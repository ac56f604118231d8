"""Where a broadcast is cut into segments: decided once for all renditions, from the source's frames and media time."""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import ceil, inf

from attrs import define, field, frozen

from livestream.media.sync import is_sync
from livestream.model.frames import AUDIO, Frame, Track
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
ALLOWED_MS = 1_000
"""A source whose key frames allow segments that differ by no more than this from the usual length is passed."""
CUT_TOLERANCE_MS = 2
"""A picture this much before a cut is its first: timestamps are rounded to milliseconds."""
MAX_ABSENCES = 8
"""How many segments may be added for the time until a publisher that has returned sends a key frame."""
MIN_FREEZE_MS = 200
"""A shorter absence leaves no segment of its own."""


class SourceMode(Enum):
    """What the HLS rendition of the source is."""

    PASS = "pass"
    """The frames as they came, cut at key frames."""
    ENCODE = "encode"
    """Encoded, as the rungs are, and cut at exact times."""


@frozen
class Cut:
    """
    The beginning of a segment, in every rendition.

    ``pts_ms`` is its time on the broadcast's timeline and ``starts_at_ms`` on the wall clock (Unix milliseconds). In
    the source it begins with the first frame that is decoded at ``dts_ms`` or later. ``tracks`` are the tracks of the
    segment, which become more only with ``discontinuity``, or within the first segment. With ``absence_ms``
    its publisher is away: it lasts so long, and no media is to come for it; with ``has_slate`` the slate is shown.
    """

    msn: int
    pts_ms: int
    dts_ms: int
    discontinuity: int
    starts_at_ms: int
    tracks: frozenset[Track] = frozenset(Track)
    absence_ms: int = 0
    has_slate: bool = False


@define(eq=False)
class CutPlanner:
    """
    Decides before which of the source's frames a segment begins.

    A source that is passed is cut at the key frame nearest to ``segment_s``, the earlier of two that are equally near;
    its first segment fixes ``target_s``, the target duration in seconds, for the whole broadcast. If its later key
    frames come too late for it, it is cut between them. One that is encoded is cut every ``segment_s``. A source that
    sends nothing for long is cut within the gap, so that no segment is ever longer than its target duration allows.

    While ``mode`` is ``None`` nothing is cut after the first key frame; once there is a `proposal`, :meth:`settle`
    decides it. ``msn`` and ``discontinuity`` are the numbers of the next segment.
    """

    segment_s: int
    msn: int
    discontinuity: int
    mode: SourceMode | None = SourceMode.PASS
    target_s: int | None = field(default=None, init=False)
    current: Cut | None = field(default=None, init=False)
    end_ms: int = field(default=0, init=False)
    """Where the newest frame of the leading track ends."""
    proposal: SourceMode | None = field(default=None, init=False)
    """The mode that the key frames so far suggest, once they do."""
    activity: TrackActivity = field(factory=TrackActivity, init=False)
    has_slate: bool = field(default=False, init=False)
    """Whether a slate is there for the absence of the publisher. It begins after a discontinuity."""
    ends_at_ms: int = field(default=0, init=False)
    """After :meth:`finish`: the date of ``end_ms``, in Unix milliseconds."""
    _ends_before_ms: float = field(default=inf, init=False)
    _shows_slate: bool = field(default=False, init=False)
    """Whether it has begun since the publisher left."""
    _is_interrupted: bool = field(default=False, init=False)
    _is_interrupted_now: bool = field(default=False, init=False)
    """Whether the next segment begins at the next frame, key frame or not."""
    _interrupted_ms: deque[int] = field(factory=lambda: deque(maxlen=MAX_INTERRUPTIONS), init=False)
    """When the latest segments that were not due yet began."""
    _tracks: frozenset[Track] = field(default=frozenset(), init=False)
    _leader: Track | None = field(default=None, init=False)
    _newest: Frame | None = field(default=None, init=False)
    _dts_ms: int = field(default=0, init=False)
    _pts_ms: int = field(default=0, init=False)
    _step_ms: int = field(default=0, init=False)
    _key_ms: int | None = field(default=None, init=False)
    _key_interval_ms: int = field(default=0, init=False)

    def add(self, frame: Frame) -> list[Cut]:
        """
        Process a frame or configuration, and return the cuts right before it: none or one.

        There are more only after a gap that is longer than a segment may be, or after an absence.
        """
        activity = self.activity
        if activity.update(frame):
            self._tracks_changed(frame)
        if frame.codec.track is not activity.leader or frame.is_config:
            return []
        pts_ms = frame.dts_ms + frame.cts_ms
        if self.mode is None:
            return self._add_undecided(frame, pts_ms)
        if self.mode is SourceMode.ENCODE and self.current is not None:
            self._measure(frame, pts_ms)
            return self._cuts_on_time(frame, pts_ms)
        cuts = self._cuts_in_gap(frame, pts_ms) if pts_ms >= self._ends_before_ms else []
        self._measure(frame, pts_ms)
        if (frame.is_key or self._is_interrupted_now or pts_ms + self._step_ms >= self._ends_before_ms) and (
            self._is_due(frame, pts_ms)
        ):
            cuts += self._begin_at(frame, pts_ms)
        return cuts

    def settle(self, mode: SourceMode) -> list[Cut]:
        """Decide the mode, and return the cuts that are already due with it."""
        self.mode, self.proposal = mode, None
        frame = self._newest
        if frame is None or self.current is None:
            return []
        if mode is SourceMode.ENCODE:
            return self._cuts_on_time(frame, max(frame.pts_ms, self._pts_ms))
        if frame.is_key and self._is_due(frame, frame.pts_ms):
            return self._begin_at(frame, frame.pts_ms)
        return []

    def interrupt(self) -> None:
        """Begin a new segment at the next key frame, after a discontinuity."""
        self._is_interrupted = True

    def finish(self) -> int | None:
        """
        End the last segment, since the publisher has left; return where it ends, or ``None`` if none had begun.

        What follows begins with a discontinuity, and with its own configurations.
        """
        self.activity.restart()
        self._leader = self._newest = None
        self._is_interrupted = self.target_s is not None or self.current is not None
        self._is_interrupted_now = self._shows_slate = False
        if self.current is None:
            return None
        begins_ms = self.current.pts_ms
        self.end_ms = min(max(self.end_ms, begins_ms + 1), begins_ms + self._max_length_ms - 1)
        self.ends_at_ms = self.current.starts_at_ms + self.end_ms - begins_ms
        self._fix_target(self.end_ms)
        self.current, self._ends_before_ms = None, inf
        return self.end_ms

    def forget(self) -> None:
        """As :meth:`finish`, but with nothing of what this publisher sent, for which nothing was cut yet."""
        assert self.current is not None
        self.activity = TrackActivity()
        self._leader = self._newest = self.current = self.proposal = None
        self.msn = self.msn - 1
        self._ends_before_ms = inf
        self._is_interrupted = self._is_interrupted_now = False

    def absence(self, length_ms: int) -> Cut:
        """After :meth:`finish`: begin a segment of ``length_ms`` without media."""
        if self.has_slate and not self._shows_slate:
            self._shows_slate = True
            self.discontinuity += 1
        at_ms, has_slate = self.end_ms, self._shows_slate
        cut = Cut(self.msn, at_ms, at_ms, self.discontinuity, self.ends_at_ms, self._tracks, length_ms, has_slate)
        self.msn += 1
        self.end_ms += length_ms
        self.ends_at_ms += length_ms
        return cut

    @property
    def _max_length_ms(self) -> int:
        """Every segment is shorter than this."""
        return (self.target_s or MAX_SEGMENT_S) * 1000 + ROUNDING_MS

    @property
    def _usual_length_ms(self) -> int:
        """The length of the segments that are cut in a gap."""
        if self.activity.leader is AUDIO:
            return self.segment_s * 1000
        return (self.target_s or MAX_SEGMENT_S) * 1000

    def _tracks_changed(self, frame: Frame) -> None:
        """Begin a new segment, unless the first one can still have the tracks as they are now."""
        if self.current is None:
            return
        if self.target_s is None and not frame.is_config:
            self._tracks = self.activity.tracks
            return
        self._is_interrupted = True
        if frame.is_config and frame.codec.track is AUDIO:
            self._is_interrupted_now = True  # what is heard does not wait for what is shown

    def _add_undecided(self, frame: Frame, pts_ms: int) -> list[Cut]:
        """Collect what decides the mode; the first key frame begins the first segment."""
        self._measure(frame, pts_ms)
        self._newest = frame
        if frame.codec.track is AUDIO:
            self.proposal = SourceMode.PASS
        if self.current is None:
            return self._begin_at(frame, pts_ms) if frame.is_key else []
        segment_ms, elapsed_ms = self.segment_s * 1000, pts_ms - self.current.pts_ms
        least_ms = max(segment_ms - ALLOWED_MS, segment_ms // 2)
        if frame.is_key and least_ms - EARLY_MS <= elapsed_ms <= segment_ms + ALLOWED_MS and is_sync(frame):
            self.proposal = SourceMode.PASS
        elif elapsed_ms * 2 >= segment_ms * 3 or (frame.is_key and elapsed_ms > segment_ms + ALLOWED_MS):
            self.proposal = SourceMode.ENCODE
        return []

    def _cuts_on_time(self, frame: Frame, pts_ms: int) -> list[Cut]:
        """The cuts up to a frame of a source that is encoded; an interruption cuts at the frame itself."""
        cuts, segment_ms = [], self.segment_s * 1000
        assert self.current is not None
        while pts_ms + CUT_TOLERANCE_MS >= self.current.pts_ms + segment_ms:
            cuts.append(self._begin(self.current.pts_ms + segment_ms, frame))
        if pts_ms > self.current.pts_ms and self._interrupts(frame, pts_ms):
            cuts.append(self._begin(pts_ms, frame, is_at_frame=True))
        return cuts

    def _cuts_in_gap(self, frame: Frame, pts_ms: int) -> list[Cut]:
        """Cuts between the previous frame and ``frame``, without which the segment would be too long."""
        cuts = []
        while self.current is not None and pts_ms >= self._ends_before_ms:
            begins_ms = self.current.pts_ms
            ends_ms = min(max(begins_ms + self._usual_length_ms, self.end_ms), begins_ms + self._max_length_ms - 1)
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
        if self.current is not None:
            self.end_ms = max(self.end_ms, pts_ms + length_ms)

    def _is_due(self, frame: Frame, pts_ms: int) -> bool:
        """Whether a segment begins with this frame: a key frame, or the last one before the segment is too long."""
        if self.current is None:
            return frame.is_key
        elapsed_ms = pts_ms - self.current.pts_ms
        if elapsed_ms <= 0:
            return False
        if self._interrupts(frame, pts_ms):
            return True
        if not frame.is_key:
            return pts_ms + self._step_ms >= self._ends_before_ms
        return self._is_nearest(frame, elapsed_ms) or (
            self.target_s is not None and elapsed_ms + self._key_interval_ms >= self._max_length_ms
        )

    def _is_nearest(self, frame: Frame, elapsed_ms: int) -> bool:
        """Whether this key frame is nearer to the usual length of a segment than the next one will be."""
        segment_ms = self.segment_s * 1000
        if frame.codec.track is AUDIO:
            return elapsed_ms >= segment_ms
        if elapsed_ms >= segment_ms - EARLY_MS:
            return True
        interval_ms = self._key_interval_ms
        is_nearer = segment_ms - elapsed_ms <= elapsed_ms + interval_ms - segment_ms + CUT_TOLERANCE_MS
        return interval_ms > 0 and is_nearer and elapsed_ms * 3 >= segment_ms

    def _interrupts(self, frame: Frame, at_ms: int) -> bool:
        """Whether the segment is cut short here. There is a limit: configurations might come with every frame."""
        if not self._is_interrupted or not (frame.is_key or self._is_interrupted_now):
            return False
        latest = self._interrupted_ms
        if len(latest) == MAX_INTERRUPTIONS and at_ms - latest[0] < MAX_INTERRUPTIONS * self.segment_s * 1000:
            return False
        latest.append(at_ms)
        return True

    def _begin_at(self, frame: Frame, pts_ms: int) -> list[Cut]:
        """Cut right before ``frame``; after an absence, with segments for the time before it that is not filled."""
        cuts: list[Cut] = []
        if self.current is None and self.target_s is not None:
            while (absent_ms := frame.dts_ms - self.end_ms) >= MIN_FREEZE_MS and len(cuts) < MAX_ABSENCES:
                cuts.append(self.absence(absent_ms if absent_ms < self._max_length_ms else self.target_s * 1000))
            pts_ms = max(pts_ms, self.end_ms)
        return [*cuts, self._begin(pts_ms, frame, is_at_frame=True)]

    def _begin(self, pts_ms: int, frame: Frame, *, is_at_frame: bool = False) -> Cut:
        """Cut at ``pts_ms``, before ``frame``; ``is_at_frame`` says that the frame begins the segment."""
        starts_at_ms = self.ends_at_ms
        if self.current is not None:
            self._fix_target(pts_ms)
            starts_at_ms = self.current.starts_at_ms + pts_ms - self.current.pts_ms
        breaks = self._is_interrupted and (frame.is_key or self._is_interrupted_now)
        if is_at_frame and (breaks or (self.current is None and frame.is_key)):
            starts_at_ms = max(starts_at_ms, int(frame.arrived * 1000))
            self.discontinuity += self._is_interrupted
            self._is_interrupted = self._is_interrupted_now = False
            self._tracks = self.activity.tracks
        dts_ms = frame.dts_ms if is_at_frame else min(frame.dts_ms, pts_ms)
        self.current = Cut(self.msn, pts_ms, dts_ms, self.discontinuity, starts_at_ms, self._tracks)
        self._ends_before_ms = pts_ms + self._max_length_ms
        self.end_ms = max(self.end_ms, pts_ms + 1)
        self.msn += 1
        return self.current

    def _fix_target(self, end_ms: int) -> None:
        """Fix the target duration by the first segment, which ends at ``end_ms``."""
        if self.target_s is None and self.current is not None:
            self.target_s = max(self.segment_s, ceil((end_ms - self.current.pts_ms - EARLY_MS) / 1000))

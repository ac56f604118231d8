"""Which tracks a broadcast currently has: those with a configuration whose frames actually arrive."""

from __future__ import annotations

from attrs import define, field

from livestream.model.frames import AUDIO, VIDEO, Codec, Frame, Track

START_MS = 2_000
"""A broadcast that has had audio but no video for this long is one without video."""
AUDIO_LOST_MS = 2_000
"""Audio this far behind the video has stopped."""
VIDEO_LOST_MS = 4_000
"""Video this far behind the audio has stopped. On a bad network encoders drop video for long, and keep the audio."""
AUDIO_BACK_MS = 1_000
"""Audio has resumed once it is no farther behind than this."""

NO_TRACKS: frozenset[Track] = frozenset()
AUDIO_ONLY = frozenset({AUDIO})
VIDEO_ONLY = frozenset({VIDEO})
BOTH = frozenset(Track)


@define(eq=False)
class TrackActivity:
    """The active tracks of one publisher's media."""

    tracks: frozenset[Track] = field(default=NO_TRACKS, init=False)
    leader: Track | None = field(default=None, init=False)
    """The track at whose frames segments are cut."""
    _configs: dict[Track, tuple[Codec, bytes]] = field(factory=dict, init=False)
    _is_begun: bool = field(default=False, init=False)
    _video_ms: int = field(default=0, init=False)
    _audio_ms: int = field(default=0, init=False)

    def update(self, frame: Frame) -> bool:
        """Process a frame; return whether the tracks, or the configuration of one, change with it."""
        if frame.is_config:
            return self._configure(frame)
        if self.tracks is not BOTH:
            return self._update_tracks(frame)
        pts_ms = frame.dts_ms + frame.cts_ms
        if frame.codec.track is VIDEO:
            if pts_ms <= self._video_ms:
                return False
            self._video_ms = pts_ms
            return pts_ms - self._audio_ms > AUDIO_LOST_MS and self._set_tracks(VIDEO_ONLY)
        if pts_ms <= self._audio_ms:
            return False
        self._audio_ms = pts_ms
        return pts_ms - self._video_ms > VIDEO_LOST_MS and self._set_tracks(AUDIO_ONLY)

    def _configure(self, frame: Frame) -> bool:
        track, record = frame.codec.track, (frame.codec, bytes(frame.data))
        known = self._configs.get(track)
        self._configs[track] = record
        return known is not None and known != record and track in self.tracks

    def _update_tracks(self, frame: Frame) -> bool:
        """Process a frame of a broadcast that lacks a track; return whether the tracks change with it."""
        track, pts_ms = frame.codec.track, frame.dts_ms + frame.cts_ms
        if track not in self._configs:
            return False
        if not self._is_begun:
            self._is_begun = True
            self._video_ms = self._audio_ms = pts_ms
        if track is VIDEO:
            self._video_ms = max(pts_ms, self._video_ms)
            return self._set_tracks(self._tracks_after_video(frame.is_key, self._video_ms - self._audio_ms))
        self._audio_ms = max(pts_ms, self._audio_ms)
        return self._set_tracks(self._tracks_after_audio(self._audio_ms - self._video_ms))

    def _set_tracks(self, tracks: frozenset[Track]) -> bool:
        if tracks is self.tracks:
            return False
        self.tracks = tracks
        self.leader = AUDIO if tracks is AUDIO_ONLY else VIDEO
        return True

    def _tracks_after_video(self, is_key: bool, audio_late_ms: int) -> frozenset[Track]:
        if self.tracks is VIDEO_ONLY or not is_key or -audio_late_ms > VIDEO_LOST_MS:
            return self.tracks
        return BOTH if AUDIO in self._configs and audio_late_ms <= AUDIO_LOST_MS else VIDEO_ONLY

    def _tracks_after_audio(self, video_late_ms: int) -> frozenset[Track]:
        if self.tracks is NO_TRACKS:
            return AUDIO_ONLY if video_late_ms >= START_MS else NO_TRACKS
        if self.tracks is AUDIO_ONLY or video_late_ms > VIDEO_LOST_MS:
            return AUDIO_ONLY
        return BOTH if -video_late_ms <= AUDIO_BACK_MS else self.tracks

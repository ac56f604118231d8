"""Which tracks a broadcast has at the moment: what its configurations promise, and what then really comes."""

from __future__ import annotations

from attrs import define, field

from livestream.model import Codec, Frame, Track

START_MS = 2_000
"""Sound that has come for so long with no picture is a broadcast without pictures."""
SILENT_MS = 2_000
"""Audio so far behind the video has stopped."""
DARK_MS = 4_000
"""Video so far behind the audio has stopped. Encoders on a bad network drop pictures, and keep the sound, for long."""
BACK_MS = 1_000
"""Audio is there again when it is no farther behind than this."""


NOTHING: frozenset[Track] = frozenset()
SOUND = frozenset({Track.AUDIO})
PICTURES = frozenset({Track.VIDEO})
BOTH = frozenset(Track)


@define(eq=False)
class Presence:
    """The tracks of one publisher's media."""

    tracks: frozenset[Track] = field(default=NOTHING, init=False)
    leader: Track | None = field(default=None, init=False)
    """The track whose frames are cut at."""
    _configs: dict[Track, tuple[Codec, bytes]] = field(factory=dict, init=False)
    _shown_ms: int | None = field(default=None, init=False)
    _heard_ms: int | None = field(default=None, init=False)

    def changes(self, frame: Frame) -> bool:
        """Watch a frame; whether the tracks, or the configuration of one of them, are others from here on."""
        track = frame.track
        if frame.is_config:
            return self._configure(track, frame)
        if track not in self._configs:
            return False
        if self._shown_ms is None or self._heard_ms is None:
            self._shown_ms = self._heard_ms = frame.pts_ms
        if track is Track.VIDEO:
            self._shown_ms = max(frame.pts_ms, self._shown_ms)
            tracks = self._seen_from_video(frame.is_key, self._shown_ms - self._heard_ms)
        else:
            self._heard_ms = max(frame.pts_ms, self._heard_ms)
            tracks = self._seen_from_audio(self._heard_ms - self._shown_ms)
        if tracks is self.tracks:
            return False
        self.tracks = tracks
        self.leader = Track.AUDIO if tracks is SOUND else Track.VIDEO
        return True

    def _configure(self, track: Track, frame: Frame) -> bool:
        record = frame.codec, bytes(frame.data)
        known = self._configs.get(track)
        self._configs[track] = record
        return known is not None and known != record and track in self.tracks

    def _seen_from_video(self, is_key: bool, audio_late_ms: int) -> frozenset[Track]:
        if self.tracks is BOTH or self.tracks is PICTURES:
            return PICTURES if audio_late_ms > SILENT_MS else self.tracks
        if not is_key or -audio_late_ms > DARK_MS:
            return self.tracks
        return BOTH if Track.AUDIO in self._configs and audio_late_ms <= SILENT_MS else PICTURES

    def _seen_from_audio(self, video_late_ms: int) -> frozenset[Track]:
        if self.tracks is NOTHING:
            return SOUND if video_late_ms >= START_MS else NOTHING
        if self.tracks is SOUND or video_late_ms > DARK_MS:
            return SOUND
        return BOTH if -video_late_ms <= BACK_MS else self.tracks

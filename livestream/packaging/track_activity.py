"""Which tracks a broadcast has at the moment: what its configurations promise, and what then really comes."""

from __future__ import annotations

from attrs import define, field

from livestream.model.frames import AUDIO, VIDEO, Codec, Frame, Track

START_MS = 2_000
"""Sound that has come for so long with no picture is a broadcast without pictures."""
SILENT_MS = 2_000
"""Audio so far behind the video has stopped."""
DARK_MS = 4_000
"""Video so far behind the audio has stopped. Encoders on a bad network drop pictures, and keep the sound, for long."""
BACK_MS = 1_000
"""Audio is there again when it is no farther behind than this."""

NOTHING: frozenset[Track] = frozenset()
SOUND = frozenset({AUDIO})
PICTURES = frozenset({VIDEO})
BOTH = frozenset(Track)


@define(eq=False)
class Presence:
    """The tracks of one publisher's media."""

    tracks: frozenset[Track] = field(default=NOTHING, init=False)
    leader: Track | None = field(default=None, init=False)
    """The track whose frames are cut at."""
    _configs: dict[Track, tuple[Codec, bytes]] = field(factory=dict, init=False)
    _is_begun: bool = field(default=False, init=False)
    _shown_ms: int = field(default=0, init=False)
    _heard_ms: int = field(default=0, init=False)

    def changes(self, frame: Frame) -> bool:
        """Watch a frame; whether the tracks, or the configuration of one of them, are others from here on."""
        if frame.is_config:
            return self._configure(frame)
        if self.tracks is not BOTH:
            return self._joins(frame)
        seen_ms = frame.dts_ms + frame.cts_ms
        if frame.codec.track is VIDEO:
            if seen_ms <= self._shown_ms:
                return False
            self._shown_ms = seen_ms
            return seen_ms - self._heard_ms > SILENT_MS and self._turn_to(PICTURES)
        if seen_ms <= self._heard_ms:
            return False
        self._heard_ms = seen_ms
        return seen_ms - self._shown_ms > DARK_MS and self._turn_to(SOUND)

    def _configure(self, frame: Frame) -> bool:
        track, record = frame.codec.track, (frame.codec, bytes(frame.data))
        known = self._configs.get(track)
        self._configs[track] = record
        return known is not None and known != record and track in self.tracks

    def _joins(self, frame: Frame) -> bool:
        """Watch a frame of a broadcast that lacks a track; whether the tracks are others from here on."""
        track, seen_ms = frame.codec.track, frame.dts_ms + frame.cts_ms
        if track not in self._configs:
            return False
        if not self._is_begun:
            self._is_begun = True
            self._shown_ms = self._heard_ms = seen_ms
        if track is VIDEO:
            self._shown_ms = max(seen_ms, self._shown_ms)
            return self._turn_to(self._seen_from_video(frame.is_key, self._shown_ms - self._heard_ms))
        self._heard_ms = max(seen_ms, self._heard_ms)
        return self._turn_to(self._seen_from_audio(self._heard_ms - self._shown_ms))

    def _turn_to(self, tracks: frozenset[Track]) -> bool:
        if tracks is self.tracks:
            return False
        self.tracks = tracks
        self.leader = AUDIO if tracks is SOUND else VIDEO
        return True

    def _seen_from_video(self, is_key: bool, audio_late_ms: int) -> frozenset[Track]:
        if self.tracks is PICTURES or not is_key or -audio_late_ms > DARK_MS:
            return self.tracks
        return BOTH if AUDIO in self._configs and audio_late_ms <= SILENT_MS else PICTURES

    def _seen_from_audio(self, video_late_ms: int) -> frozenset[Track]:
        if self.tracks is NOTHING:
            return SOUND if video_late_ms >= START_MS else NOTHING
        if self.tracks is SOUND or video_late_ms > DARK_MS:
            return SOUND
        return BOTH if -video_late_ms <= BACK_MS else self.tracks

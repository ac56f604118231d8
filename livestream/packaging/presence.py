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


@define(eq=False)
class Presence:
    """The tracks of one publisher's media."""

    tracks: frozenset[Track] = field(default=frozenset(), init=False)
    _configs: dict[Track, tuple[Codec, bytes]] = field(factory=dict, init=False)
    _newest_ms: dict[Track, int] = field(factory=dict, init=False)
    _first_ms: int | None = field(default=None, init=False)

    @property
    def leader(self) -> Track | None:
        """The track whose frames are cut at."""
        if Track.VIDEO in self.tracks:
            return Track.VIDEO
        return Track.AUDIO if self.tracks else None

    def changes(self, frame: Frame) -> bool:
        """Watch a frame; whether the tracks, or the configuration of one of them, are others from here on."""
        if frame.is_config:
            return self._configure(frame)
        if frame.track not in self._configs:
            return False
        if self._first_ms is None:
            self._first_ms = frame.pts_ms
        self._newest_ms[frame.track] = max(frame.pts_ms, self._newest(frame.track))
        before = self.tracks
        if frame.track is Track.VIDEO:
            self._watch_from_video(frame)
        else:
            self._watch_from_audio()
        return self.tracks != before

    def _configure(self, frame: Frame) -> bool:
        record = frame.codec, bytes(frame.data)
        known = self._configs.get(frame.track)
        self._configs[frame.track] = record
        return known is not None and known != record and frame.track in self.tracks

    def _newest(self, track: Track) -> int:
        return self._newest_ms.get(track, self._first_ms or 0)

    def _watch_from_video(self, frame: Frame) -> None:
        behind_ms = self._newest(Track.VIDEO) - self._newest(Track.AUDIO)
        if Track.VIDEO in self.tracks:
            if behind_ms > SILENT_MS:
                self.tracks = frozenset({Track.VIDEO})
        elif frame.is_key and -behind_ms <= DARK_MS:
            is_promised = Track.AUDIO in self._configs
            self.tracks = frozenset(Track) if is_promised and behind_ms <= SILENT_MS else frozenset({Track.VIDEO})

    def _watch_from_audio(self) -> None:
        behind_ms = self._newest(Track.AUDIO) - self._newest(Track.VIDEO)
        if not self.tracks:
            if behind_ms >= START_MS:
                self.tracks = frozenset({Track.AUDIO})
        elif Track.VIDEO in self.tracks:
            if behind_ms > DARK_MS:
                self.tracks = frozenset({Track.AUDIO})
            elif behind_ms >= -BACK_MS:
                self.tracks = frozenset(Track)

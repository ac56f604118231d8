"""Which tracks a broadcast has, and which of them currently send nothing."""

from __future__ import annotations

from attrs import define, field

from livestream.media.codecs import AudioConfig, parse_config
from livestream.media.silence import silent_frame
from livestream.model.frames import AUDIO, VIDEO, Codec, Frame, Track

START_MS = 2_000
"""A broadcast that has had audio but no video for this long is one without video."""
AUDIO_SILENT_MS = 1_500
AUDIO_SILENT_FRAMES = 2
"""Audio has fallen silent once so much video, and so many frames, were decoded since its last frame arrived."""
VIDEO_SILENT_MS, VIDEO_SILENT_FRAMES = 4_000, 16
"""
Video has stopped once so much audio has arrived since its last frame, and enough for so many frames: at a few pictures
a second, an encoder's B-frames and lookahead make it late by seconds.
"""

NO_TRACKS: frozenset[Track] = frozenset()
AUDIO_ONLY = frozenset({AUDIO})
VIDEO_ONLY = frozenset({VIDEO})
BOTH = frozenset(Track)


@define(eq=False)
class TrackActivity:
    """
    The tracks of a broadcast, which never become fewer: players cannot go on with fewer tracks than they began with.

    A silent track is detected by what has arrived since its last frame, in decoding order. Its own timestamps do not
    matter: audio may be seconds behind the video for as long as it arrives.
    """

    tracks: frozenset[Track] = field(default=NO_TRACKS, init=False)
    silent: frozenset[Track] = field(default=NO_TRACKS, init=False)
    leader: Track | None = field(default=None, init=False)
    """The track at whose frames segments are cut."""
    _configs: dict[Track, tuple[Codec, bytes]] = field(factory=dict, init=False)
    _has_silence: bool = field(default=False, init=False)
    """Whether silence can be made of the audio, so that its track needs no frames to begin with."""
    _video_ms: int | None = field(default=None, init=False)
    _audio_ms: int | None = field(default=None, init=False)
    _shown_ms: int = field(default=0, init=False)
    """When the last picture that has come is shown."""
    _video_since_ms: int | None = field(default=None, init=False)
    """The decoding time of the newest video frame when the last audio frame arrived."""
    _video_frames: int = field(default=0, init=False)
    """The video frames since the last audio frame."""
    _usual_ms: int = field(default=0, init=False)
    """The longest of the latest steps between video frames."""
    _audio_since_ms: int | None = field(default=None, init=False)

    def update(self, frame: Frame) -> bool:
        """Process a frame; return whether the tracks, or the configuration of one, change with it."""
        if frame.is_config:
            return self._configure(frame)
        if frame.codec.track is VIDEO:
            return self._video(frame)
        return self._audio(frame)

    def restart(self) -> None:
        """Another publisher follows. The tracks remain, whether it has them or not."""
        self._configs.clear()
        self._has_silence = False
        self._video_ms = self._audio_ms = self._video_since_ms = self._audio_since_ms = None
        self._video_frames = self._shown_ms = self._usual_ms = 0
        self.silent = NO_TRACKS
        self.leader = VIDEO if VIDEO in self.tracks else None

    def _configure(self, frame: Frame) -> bool:
        track, record = frame.codec.track, (frame.codec, bytes(frame.data))
        known = self._configs.get(track)
        self._configs[track] = record
        if track is AUDIO:
            config = parse_config(frame)
            self._has_silence = isinstance(config, AudioConfig) and silent_frame(config) is not None
        return known is not None and known != record and track in self.tracks

    def _video(self, frame: Frame) -> bool:
        if VIDEO not in self._configs:
            return False
        dts_ms = frame.dts_ms
        if self._video_ms is not None:
            self._usual_ms = max(min(dts_ms - self._video_ms, VIDEO_SILENT_MS), self._usual_ms * 7 // 8)
        self._video_ms, self._audio_since_ms = dts_ms, self._audio_ms
        self._shown_ms = max(self._shown_ms, dts_ms + frame.cts_ms)
        self._video_frames += 1
        if self._video_since_ms is None:
            self._video_since_ms = dts_ms
        elif self._video_frames > AUDIO_SILENT_FRAMES and dts_ms - self._video_since_ms > AUDIO_SILENT_MS:
            self._fall_silent(AUDIO)
        if VIDEO in self.silent:
            self._return(VIDEO)
        if VIDEO in self.tracks or not frame.is_key:
            return False
        return self._add(BOTH if self._has_silence or self._audio_ms is not None else VIDEO_ONLY)

    def _audio(self, frame: Frame) -> bool:
        if AUDIO not in self._configs:
            return False
        dts_ms = frame.dts_ms
        self._audio_ms, self._video_since_ms, self._video_frames = dts_ms, self._video_ms, 0
        if self._audio_since_ms is None:
            self._audio_since_ms = dts_ms
        elif dts_ms - self._audio_since_ms > self._video_silent_ms and dts_ms > self._shown_ms:
            self._fall_silent(VIDEO)
        if AUDIO in self.silent:
            self._return(AUDIO)
        if AUDIO in self.tracks:
            return False
        if not self.tracks and dts_ms - self._audio_since_ms < START_MS:
            return False
        return self._add(AUDIO_ONLY)

    @property
    def _video_silent_ms(self) -> int:
        return max(VIDEO_SILENT_MS, VIDEO_SILENT_FRAMES * self._usual_ms)

    def _add(self, tracks: frozenset[Track]) -> bool:
        if tracks <= self.tracks:
            return False
        self.tracks |= tracks
        self.leader = VIDEO if VIDEO in self.tracks and VIDEO not in self.silent else AUDIO
        return True

    def _fall_silent(self, track: Track) -> None:
        is_ahead = track is AUDIO and self._audio_ms is not None and self._audio_ms >= (self._video_ms or 0)
        if track in self.tracks and track not in self.silent and not is_ahead:
            self.silent |= {track}
            if track is VIDEO:
                self.leader = AUDIO

    def _return(self, track: Track) -> None:
        self.silent -= {track}
        if track is VIDEO:
            self.leader = VIDEO

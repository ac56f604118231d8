"""The push of one rendition, which shows a key frame and silence while there is nothing else."""

from __future__ import annotations

from attrs import define, evolve, field

from livestream.ingest.services import Feed
from livestream.media.codecs import AudioConfig, VideoConfig, parse_config
from livestream.media.silence import Silence, silent_frame
from livestream.media.slate import Slate
from livestream.media.standalone import standalone
from livestream.model.frames import AUDIO, VIDEO, Frame, Track

MAX_SILENCE_MS = 5_000
"""No more silence than this is added at once: a track may have been without any for long."""


@define(eq=False)
class PushFeed:
    """
    Adds frames to a feed, and remembers what is needed to continue without any.

    A frame that is older than what was added in its place is dropped.
    """

    feed: Feed
    video: VideoConfig | None = field(default=None, init=False)
    _video_config: Frame | None = field(default=None, init=False)
    _key: Frame | None = field(default=None, init=False)
    _slate: Slate | None = field(default=None, init=False)
    """What is shown now in place of the publisher's pictures, until their configuration comes again."""
    _needs_key: bool = field(default=False, init=False)
    """Whether the next picture has to be a key frame, since another was shown in between."""
    _silence: Silence | None = field(default=None, init=False)
    _rate: int = field(default=0, init=False)
    _video_ms: int = field(default=-1, init=False)
    _audio_ms: int = field(default=-1, init=False)

    def add(self, frame: Frame) -> None:
        """Add a frame, or a configuration."""
        if frame.is_config:
            self._configure(frame)
        elif frame.codec.track is AUDIO:
            if frame.dts_ms < self._audio_ms:
                return
            self._audio_ms = frame.dts_ms
        else:
            if frame.dts_ms < self._video_ms or (self._needs_key and not frame.is_key):
                return
            self._needs_key = False
            self._video_ms = frame.dts_ms
            if frame.is_key:
                self._key = frame
        self.feed.add(frame)

    def freeze(self, until_ms: int, tracks: frozenset[Track] = frozenset(Track), slate: Slate | None = None) -> None:
        """
        Add silence up to ``until_ms``, and ``slate`` or else the last key frame at that time, for the tracks that have
        been there.
        """
        silence = self._silence
        if AUDIO in tracks and silence is not None and self._audio_ms >= 0:
            begin_ms, count = max(self._audio_ms, until_ms - MAX_SILENCE_MS), 1
            while (dts_ms := begin_ms + count * silence.samples * 1000 // self._rate) < until_ms:
                self.feed.add(evolve(silence.frame, dts_ms=dts_ms))
                self._audio_ms, count = dts_ms, count + 1
        if VIDEO in tracks and self._key and self._video_config and until_ms > self._video_ms:
            self._video_ms, self._needs_key = until_ms, True
            if slate is not self._slate:
                self._slate = slate
                config = self._video_config if slate is None else slate.config
                self.feed.add(evolve(config, dts_ms=until_ms))
            if slate is None and self.video is not None:
                self._key = standalone(self._key, self.video)
            self.feed.add(evolve(self._key if slate is None else slate.key, dts_ms=until_ms))

    def _configure(self, frame: Frame) -> None:
        config = parse_config(frame)
        if isinstance(config, AudioConfig):
            self._silence, self._rate = silent_frame(config), config.sample_rate
        else:
            self.video, self._video_config, self._key, self._slate = config, frame, None, None

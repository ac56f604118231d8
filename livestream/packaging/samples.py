"""Frames that wait for the end of their segment, and what they are there: samples of a track."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import define, field, frozen

from livestream.media.codecs import AudioConfig, VideoConfig, samples_in, sized
from livestream.model import Frame
from livestream.packaging.fmp4 import AUDIO_TRACK, VIDEO_TIMESCALE, VIDEO_TRACK, Run, Sample

FRAME_BYTES = 512
"""What a frame costs beside its data."""
AUDIO_DRIFT_MS = 150
"""Audio is placed by counting its samples, until its timestamps say that so much is missing, or came twice."""
PER_MS = VIDEO_TIMESCALE // 1000


@frozen
class Picture:
    """``msn`` is the segment that it belongs to."""

    frame: Frame
    config: VideoConfig
    msn: int


@frozen
class Sound:
    """``position`` is when it is heard, and ``length`` how long, in samples."""

    frame: Frame
    config: AudioConfig
    position: int
    length: int


@define(eq=False)
class Pictures:
    """The pictures of one rendition that are not out yet, in decoding order."""

    config: VideoConfig | None = field(default=None, init=False)
    newest_msn: int = field(default=-1, init=False)
    newest_ms: int = field(default=0, init=False)
    held_bytes: int = field(default=0, init=False)
    _waiting: deque[Picture] = field(factory=deque, init=False)
    _wants_key: bool = field(default=True, init=False)

    def configure(self, config: VideoConfig) -> None:
        """What follows is of another configuration, from its first key frame on."""
        if self.config is None or self.config.record != config.record:
            self.config = config
            self._wants_key = True

    def add(self, frame: Frame, msn: int) -> None:
        """
        Take a picture of segment ``msn``. Those that lack what they are decoded with are let go.

        :raises MediaError: a key frame that does not make sense.
        """
        if self.config is None or (self._wants_key and not frame.is_key):
            return
        self.config = sized(self.config, frame)
        self._wants_key = False
        self.newest_msn, self.newest_ms = max(msn, self.newest_msn), frame.dts_ms
        self.held_bytes += len(frame.body) + FRAME_BYTES
        self._waiting.append(Picture(frame, self.config, msn))

    def clear(self) -> None:
        """Let go of all that waits; what follows begins with a key frame."""
        self._waiting.clear()
        self.held_bytes = 0
        self.newest_msn = -1
        self._wants_key = True

    def take(self, msn: int) -> list[Picture]:
        """The pictures of a segment, all of the configuration that it begins with."""
        taken: list[Picture] = []
        while self._waiting and self._waiting[0].msn <= msn:
            picture = self._waiting.popleft()
            self.held_bytes -= len(picture.frame.body) + FRAME_BYTES
            if picture.msn == msn and (not taken or picture.config == taken[0].config):
                taken.append(picture)
        return taken

    def run(self, pictures: Sequence[Picture], end_ms: int) -> Run:
        """The pictures as samples; the last one lasts until the next segment's first is decoded."""
        last = pictures[-1].frame
        following = self._waiting[0].frame.dts_ms if self._waiting else end_ms - max(last.cts_ms, 0)
        times = [picture.frame.dts_ms for picture in pictures]
        samples = [
            Sample(p.frame.data, max(until - p.frame.dts_ms, 0) * PER_MS, p.frame.cts_ms * PER_MS, p.frame.is_key)
            for p, until in zip(pictures, [*times[1:], following], strict=True)
        ]
        return Run(VIDEO_TRACK, times[0] * PER_MS, samples)


@define(eq=False)
class Sounds:
    """The audio frames of one rendition that are not out yet."""

    config: AudioConfig | None = field(default=None, init=False)
    newest_ms: int = field(default=0, init=False)
    held_bytes: int = field(default=0, init=False)
    _waiting: deque[Sound] = field(factory=deque, init=False)
    _next: int = field(default=0, init=False)
    _anchors: bool = field(default=True, init=False)

    def configure(self, config: AudioConfig) -> None:
        """What follows is of another configuration."""
        if config == self.config:
            return
        if self.config is not None:
            self._next = -(-self._next * config.sample_rate // self.config.sample_rate)
        self.config = config
        self._anchors = True

    def anchor(self) -> None:
        """There is a break: the next frame is placed by its timestamp."""
        self._anchors = True

    def add(self, frame: Frame, begins_ms: int) -> None:
        """Take a frame; one from before ``begins_ms`` is too late for its segment, and counts for the time alone."""
        config = self.config
        if config is None:
            return
        rate = config.sample_rate
        told, position = round(frame.pts_ms * rate / 1000), self._next
        if self._anchors:
            position = max(told, position)
        elif abs(told - position) * 1000 > AUDIO_DRIFT_MS * rate:
            if told < position:
                return
            position = told
        self._anchors = False
        length = samples_in(config, frame.data)
        self._next = position + length
        self.newest_ms = frame.pts_ms
        if frame.pts_ms >= begins_ms:
            self.held_bytes += len(frame.body) + FRAME_BYTES
            self._waiting.append(Sound(frame, config, position, length))

    def clear(self) -> None:
        """Let go of all that waits."""
        self._waiting.clear()
        self.held_bytes = 0

    def take(self, end_ms: int) -> list[Sound]:
        """The frames of the segment that ends at ``end_ms``, all of the configuration that it begins with."""
        taken: list[Sound] = []
        while self._waiting and self._waiting[0].frame.pts_ms < end_ms:
            sound = self._waiting.popleft()
            self.held_bytes -= len(sound.frame.body) + FRAME_BYTES
            if not taken or sound.config == taken[0].config:
                taken.append(sound)
        return taken

    def run(self, sounds: Sequence[Sound]) -> Run:
        """The frames as samples: each lasts until the next, so that what is missing is silence and not a shift."""
        last = sounds[-1]
        follows = self._waiting and self._waiting[0].config == last.config
        positions = [sound.position for sound in sounds]
        stop = self._waiting[0].position if follows else last.position + last.length
        samples = [
            Sample(sound.frame.data, until - sound.position)
            for sound, until in zip(sounds, [*positions[1:], stop], strict=True)
        ]
        return Run(AUDIO_TRACK, positions[0], samples)

"""Frames that wait for the end of their segment, and what they are there: samples of a track."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from attrs import define, field

from livestream.media.codecs import AudioConfig, VideoConfig, samples_in, sized
from livestream.model.frames import Codec, Frame
from livestream.packaging.fmp4 import AUDIO_TRACK, NO_SYNC, SYNC, VIDEO_TIMESCALE, VIDEO_TRACK, Run

FRAME_BYTES = 512
"""What a frame costs beside its data."""
AUDIO_DRIFT_MS = 150
"""Audio is placed by counting its samples, until its timestamps say that so much is missing, or came twice."""
PER_MS = VIDEO_TIMESCALE // 1000


@define(eq=False)
class Shown:
    """Pictures of one configuration that belong to segment ``msn``, in decoding order."""

    config: VideoConfig
    msn: int
    frames: list[Frame] = field(factory=list)


@define(eq=False)
class Heard:
    """Audio frames of one configuration; ``positions`` are when each of them is heard, in samples."""

    config: AudioConfig
    frames: list[Frame] = field(factory=list)
    positions: list[int] = field(factory=list)

    def split(self, end_ms: int) -> Heard:
        """Give what is before the first frame that is heard at ``end_ms`` or later, and keep the rest."""
        count = 0
        for frame in self.frames:
            if frame.dts_ms >= end_ms:
                break
            count += 1
        before = Heard(self.config, self.frames[:count], self.positions[:count])
        del self.frames[:count], self.positions[:count]
        return before


@define(eq=False)
class Pictures:
    """The pictures of one rendition that are not out yet, in decoding order."""

    config: VideoConfig | None = field(default=None, init=False)
    newest_msn: int = field(default=-1, init=False)
    newest_ms: int = field(default=0, init=False)
    held_bytes: int = field(default=0, init=False)
    _waiting: deque[Shown] = field(factory=deque, init=False)
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
        config, waiting = self.config, self._waiting
        if config is None or (self._wants_key and not frame.is_key):
            return
        if frame.is_key:
            self.config = config = sized(config, frame)
            self._wants_key = False
        if not waiting or waiting[-1].msn != msn or waiting[-1].config is not config:
            waiting.append(Shown(config, msn))
            self.newest_msn = max(msn, self.newest_msn)
        waiting[-1].frames.append(frame)
        self.newest_ms = frame.dts_ms
        self.held_bytes += len(frame.body) + FRAME_BYTES

    def clear(self) -> None:
        """Let go of all that waits; what follows begins with a key frame."""
        self._waiting.clear()
        self.held_bytes = 0
        self.newest_msn = -1
        self._wants_key = True

    def take(self, msn: int) -> Shown | None:
        """The pictures of a segment, all of the configuration that it begins with."""
        taken: Shown | None = None
        while self._waiting and self._waiting[0].msn <= msn:
            shown = self._waiting.popleft()
            if taken is None and shown.msn == msn:
                taken = shown
            elif taken is not None and shown.msn == msn and shown.config == taken.config:
                taken.frames += shown.frames
        self.held_bytes = sum(_held_bytes(shown.frames) for shown in self._waiting)
        return taken

    def run(self, shown: Shown, end_ms: int) -> Run:
        """The pictures as samples; the last one lasts until the next segment's first is decoded."""
        frames = shown.frames
        following = self._waiting[0].frames[0].dts_ms if self._waiting else end_ms - max(frames[-1].cts_ms, 0)
        times = [frame.dts_ms for frame in frames]
        return Run(
            VIDEO_TRACK,
            times[0] * PER_MS,
            [memoryview(frame.body)[frame.data_offset :] for frame in frames],
            [(until - begin) * PER_MS if until > begin else 0 for begin, until in pairwise([*times, following])],
            [SYNC if frame.is_key else NO_SYNC for frame in frames],
            [frame.cts_ms * PER_MS for frame in frames],
        )


@define(eq=False)
class Sounds:
    """The audio frames of one rendition that are not out yet. Each is heard when it is decoded."""

    config: AudioConfig | None = field(default=None, init=False)
    newest_ms: int = field(default=0, init=False)
    held_bytes: int = field(default=0, init=False)
    _waiting: deque[Heard] = field(factory=deque, init=False)
    _next: int = field(default=0, init=False)
    _rate: int = field(default=0, init=False)
    _slack: int = field(default=0, init=False)
    """By so many thousandths of a sample a timestamp surely lies where the samples say, however it is rounded."""
    _length: int = field(default=0, init=False)
    """How long every frame is; 0 if each says it."""
    _anchors: bool = field(default=True, init=False)

    def configure(self, config: AudioConfig) -> None:
        """What follows is of another configuration."""
        if config == self.config:
            return
        if self.config is not None:
            self._next = -(-self._next * config.sample_rate // self.config.sample_rate)
        self.config = config
        self._rate, self._slack = config.sample_rate, AUDIO_DRIFT_MS * config.sample_rate - 500
        self._length = 0 if config.codec is Codec.OPUS else config.samples_per_frame
        self._anchors = True

    def anchor(self) -> None:
        """There is a break: the next frame is placed by its timestamp."""
        self._anchors = True

    def add(self, frame: Frame, begins_ms: int) -> None:
        """Take a frame; one from before ``begins_ms`` is too late for its segment, and counts for the time alone."""
        config, heard_ms, position = self.config, frame.dts_ms, self._next
        if config is None:
            return
        if self._anchors or not -self._slack <= heard_ms * self._rate - position * 1000 <= self._slack:
            placed = self._place(heard_ms)
            if placed is None:
                return
            position = placed
        self._next = position + (self._length or samples_in(config, frame.data))
        self.newest_ms = heard_ms
        if heard_ms >= begins_ms:
            waiting = self._waiting
            if not waiting or waiting[-1].config is not config:
                waiting.append(Heard(config))
            heard = waiting[-1]
            heard.frames.append(frame)
            heard.positions.append(position)
            self.held_bytes += len(frame.body) + FRAME_BYTES

    def _place(self, heard_ms: int) -> int | None:
        """Where a frame is heard that follows a break or is far off its time; ``None`` if it has been heard before."""
        told = round(heard_ms * self._rate / 1000)
        if self._anchors:
            self._anchors = False
            return max(told, self._next)
        if abs(told - self._next) * 1000 <= AUDIO_DRIFT_MS * self._rate:
            return self._next
        return told if told > self._next else None

    def clear(self) -> None:
        """Let go of all that waits."""
        self._waiting.clear()
        self.held_bytes = 0

    def take(self, end_ms: int) -> Heard | None:
        """The frames of the segment that ends at ``end_ms``, all of the configuration that it begins with."""
        taken: Heard | None = None
        while self._waiting and (heard := self._waiting[0].split(end_ms)).frames:
            if not self._waiting[0].frames:
                self._waiting.popleft()
            if taken is None:
                taken = heard
            elif heard.config == taken.config:
                taken.frames += heard.frames
                taken.positions += heard.positions
        self.held_bytes = sum(_held_bytes(heard.frames) for heard in self._waiting)
        return taken

    def run(self, heard: Heard) -> Run:
        """The frames as samples: each lasts until the next, so that what is missing is silence and not a shift."""
        frames, positions = heard.frames, heard.positions
        if self._waiting and self._waiting[0].config == heard.config:
            stop = self._waiting[0].positions[0]
        else:
            stop = positions[-1] + samples_in(heard.config, frames[-1].data)
        return Run(
            AUDIO_TRACK,
            positions[0],
            [frame.body[frame.data_offset :] for frame in frames],
            [until - begin for begin, until in pairwise([*positions, stop])],
            [SYNC] * len(frames),
        )


def _held_bytes(frames: Sequence[Frame]) -> int:
    return sum([len(frame.body) for frame in frames]) + FRAME_BYTES * len(frames)

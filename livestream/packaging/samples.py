"""Queues of frames that wait for the end of their segment, and the samples that they become."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from attrs import define, field

from livestream.media.codecs import AudioConfig, VideoConfig, samples_in, sized
from livestream.model.frames import Codec, Frame
from livestream.packaging.fmp4 import AUDIO_TRACK, NO_SYNC, SYNC, VIDEO_TIMESCALE, VIDEO_TRACK, TrackRun

FRAME_BYTES = 512
"""The memory of a frame beside its data."""
AUDIO_DRIFT_MS = 150
"""Audio is timed by counting samples, until its timestamps differ by this much: something is missing, or repeated."""
PER_MS = VIDEO_TIMESCALE // 1000


@define(eq=False)
class VideoRun:
    """Video frames of one configuration and of segment ``msn``, in decoding order."""

    config: VideoConfig
    msn: int
    frames: list[Frame] = field(factory=list)


@define(eq=False)
class AudioRun:
    """Audio frames of one configuration; ``positions`` are their presentation times, in samples."""

    config: AudioConfig
    frames: list[Frame] = field(factory=list)
    positions: list[int] = field(factory=list)

    def split(self, end_ms: int) -> AudioRun:
        """Remove and return the frames before the first one at ``end_ms`` or later."""
        count = 0
        for frame in self.frames:
            if frame.dts_ms >= end_ms:
                break
            count += 1
        before = AudioRun(self.config, self.frames[:count], self.positions[:count])
        del self.frames[:count], self.positions[:count]
        return before


@define(eq=False)
class VideoQueue:
    """The queued video frames of one rendition, in decoding order."""

    config: VideoConfig | None = field(default=None, init=False)
    newest_msn: int = field(default=-1, init=False)
    newest_ms: int = field(default=0, init=False)
    held_bytes: int = field(default=0, init=False)
    _waiting: deque[VideoRun] = field(factory=deque, init=False)
    _needs_key: bool = field(default=True, init=False)

    def configure(self, config: VideoConfig) -> None:
        """Switch to another configuration, from the next key frame on."""
        if self.config is None or self.config.record != config.record:
            self.config = config
            self._needs_key = True

    def add(self, frame: Frame, msn: int) -> None:
        """
        Add a video frame of segment ``msn``. It is dropped if it cannot be decoded without an earlier key frame.

        :raises MediaError: the key frame is malformed.
        """
        config, waiting = self.config, self._waiting
        if config is None or (self._needs_key and not frame.is_key):
            return
        if frame.is_key:
            self.config = config = sized(config, frame)
            self._needs_key = False
        if not waiting or waiting[-1].msn != msn or waiting[-1].config is not config:
            waiting.append(VideoRun(config, msn))
            self.newest_msn = max(msn, self.newest_msn)
        waiting[-1].frames.append(frame)
        self.newest_ms = frame.dts_ms
        self.held_bytes += len(frame.body) + FRAME_BYTES

    def clear(self) -> None:
        """Drop all frames, and continue with the next key frame."""
        self._waiting.clear()
        self.held_bytes = 0
        self.newest_msn = -1
        self._needs_key = True

    def take(self, msn: int) -> VideoRun | None:
        """Remove and return the frames of a segment that have the configuration it begins with."""
        taken: VideoRun | None = None
        while self._waiting and self._waiting[0].msn <= msn:
            run = self._waiting.popleft()
            if taken is None and run.msn == msn:
                taken = run
            elif taken is not None and run.msn == msn and run.config == taken.config:
                taken.frames += run.frames
        self.held_bytes = sum(_held_bytes(run.frames) for run in self._waiting)
        return taken

    def track_run(self, run: VideoRun, end_ms: int) -> TrackRun:
        """The frames as samples; the last one lasts until the next segment's first is decoded."""
        frames = run.frames
        following = self._waiting[0].frames[0].dts_ms if self._waiting else end_ms - max(frames[-1].cts_ms, 0)
        times = [frame.dts_ms for frame in frames]
        return TrackRun(
            VIDEO_TRACK,
            times[0] * PER_MS,
            [memoryview(frame.body)[frame.data_offset :] for frame in frames],
            [(until - begin) * PER_MS if until > begin else 0 for begin, until in pairwise([*times, following])],
            [SYNC if frame.is_key else NO_SYNC for frame in frames],
            [frame.cts_ms * PER_MS for frame in frames],
        )


@define(eq=False)
class AudioQueue:
    """The queued audio frames of one rendition. Their decoding and presentation times are equal."""

    config: AudioConfig | None = field(default=None, init=False)
    newest_ms: int = field(default=0, init=False)
    held_bytes: int = field(default=0, init=False)
    _waiting: deque[AudioRun] = field(factory=deque, init=False)
    _next_position: int = field(default=0, init=False)
    _rate: int = field(default=0, init=False)
    _slack: int = field(default=0, init=False)
    """The tolerance for timestamps, in thousandths of a sample, less what rounding may add."""
    _length: int = field(default=0, init=False)
    """The samples of every frame; 0 if each has its own number."""
    _needs_anchor: bool = field(default=True, init=False)

    def configure(self, config: AudioConfig) -> None:
        """Switch to another configuration."""
        if config == self.config:
            return
        if self.config is not None:
            self._next_position = -(-self._next_position * config.sample_rate // self.config.sample_rate)
        self.config = config
        self._rate, self._slack = config.sample_rate, AUDIO_DRIFT_MS * config.sample_rate - 500
        self._length = 0 if config.codec is Codec.OPUS else config.samples_per_frame
        self._needs_anchor = True

    def anchor(self) -> None:
        """After a discontinuity, time the next frame by its timestamp."""
        self._needs_anchor = True

    def add(self, frame: Frame, begins_ms: int) -> None:
        """Add a frame; one from before ``begins_ms`` is too late for its segment, and only its samples are counted."""
        config, pts_ms, position = self.config, frame.dts_ms, self._next_position
        if config is None:
            return
        if self._needs_anchor or not -self._slack <= pts_ms * self._rate - position * 1000 <= self._slack:
            corrected = self._reposition(pts_ms)
            if corrected is None:
                return
            position = corrected
        self._next_position = position + (self._length or samples_in(config, frame.data))
        self.newest_ms = pts_ms
        if pts_ms >= begins_ms:
            waiting = self._waiting
            if not waiting or waiting[-1].config is not config:
                waiting.append(AudioRun(config))
            run = waiting[-1]
            run.frames.append(frame)
            run.positions.append(position)
            self.held_bytes += len(frame.body) + FRAME_BYTES

    def _reposition(self, pts_ms: int) -> int | None:
        """The position of a frame after a discontinuity, or off its expected time; ``None`` if it is a repetition."""
        position = round(pts_ms * self._rate / 1000)
        if self._needs_anchor:
            self._needs_anchor = False
            return max(position, self._next_position)
        if abs(position - self._next_position) * 1000 <= AUDIO_DRIFT_MS * self._rate:
            return self._next_position
        return position if position > self._next_position else None

    def clear(self) -> None:
        """Drop all frames."""
        self._waiting.clear()
        self.held_bytes = 0

    def take(self, end_ms: int) -> AudioRun | None:
        """Remove and return the frames before ``end_ms`` that have the configuration which the segment begins with."""
        taken: AudioRun | None = None
        while self._waiting and (run := self._waiting[0].split(end_ms)).frames:
            if not self._waiting[0].frames:
                self._waiting.popleft()
            if taken is None:
                taken = run
            elif run.config == taken.config:
                taken.frames += run.frames
                taken.positions += run.positions
        self.held_bytes = sum(_held_bytes(run.frames) for run in self._waiting)
        return taken

    def track_run(self, run: AudioRun) -> TrackRun:
        """The frames as samples: each lasts until the next, so that missing audio is silence instead of a shift."""
        frames, positions = run.frames, run.positions
        if self._waiting and self._waiting[0].config == run.config:
            stop = self._waiting[0].positions[0]
        else:
            stop = positions[-1] + samples_in(run.config, frames[-1].data)
        return TrackRun(
            AUDIO_TRACK,
            positions[0],
            [frame.body[frame.data_offset :] for frame in frames],
            [until - begin for begin, until in pairwise([*positions, stop])],
            [SYNC] * len(frames),
        )


def _held_bytes(frames: Sequence[Frame]) -> int:
    return sum([len(frame.body) for frame in frames]) + FRAME_BYTES * len(frames)

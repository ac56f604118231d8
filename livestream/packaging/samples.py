"""Queues of frames that wait for the end of their segment, and the samples that they become."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from attrs import define, evolve, field

from livestream.media.codecs import AudioConfig, VideoConfig, samples_in, sized
from livestream.media.silence import silent_frame
from livestream.media.slate import Slate
from livestream.media.standalone import standalone
from livestream.media.sync import is_sync
from livestream.model.frames import Codec, Frame
from livestream.packaging.fmp4 import AUDIO_TRACK, NO_SYNC, SYNC, VIDEO_TIMESCALE, VIDEO_TRACK, TrackRun

FRAME_BYTES = 512
"""The memory of a frame beside its data."""
AUDIO_DRIFT_MS = 150
"""Audio is timed by counting samples, until its timestamps differ by this much: something is missing, or repeated."""
MAX_FRAME = 5_760
"""The samples of the longest frame, which is one of Opus."""
FREEZE_MS = 200
"""A segment whose first picture comes this late begins with an earlier one."""
LONG_DELAY_MS = 500
"""A delay between decoding and showing that encoders have only at a few pictures a second."""
PER_MS = VIDEO_TIMESCALE // 1000


@define(eq=False)
class VideoRun:
    """Video frames of one configuration, in decoding order. ``is_frozen``: none of them is of this segment itself."""

    config: VideoConfig
    frames: list[Frame] = field(factory=list)
    is_frozen: bool = False


@define(eq=False)
class AudioRun:
    """
    Audio frames of one configuration.

    ``positions`` are their presentation times in samples; the last one lasts until ``ends``.
    """

    config: AudioConfig
    frames: list[Frame] = field(factory=list)
    positions: list[int] = field(factory=list)
    ends: int = 0

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
    """
    The queued video frames of one rendition, in decoding order.

    Where frames are missing, the last key frame is shown: frames that need others to be decoded do not follow it, so
    that it stays until the next key frame.
    """

    config: VideoConfig | None = field(default=None, init=False)
    newest_ms: int = field(default=-1, init=False)
    """The decoding time of the newest frame since the last :meth:`clear`."""
    held_bytes: int = field(default=0, init=False)
    _waiting: deque[VideoRun] = field(factory=deque, init=False)
    _needs_key: bool = field(default=True, init=False)
    _last_key: tuple[VideoConfig, Frame] | None = field(default=None, init=False)
    _is_frozen: bool = field(default=False, init=False)
    """Whether what was taken last ends with a frame that was repeated."""
    _ends_ms: int = field(default=0, init=False)
    """Where the last sample ends, as decoding time."""
    _delay_ms: int | None = field(default=None, init=False)
    """By how much the decoding times that are written are later."""

    @property
    def shown(self) -> VideoConfig | None:
        """The configuration of the key frame that is shown where frames are missing; ``None`` if there is none."""
        return None if self._last_key is None else self._last_key[0]

    def anchor(self) -> None:
        """After a discontinuity, another picture decides by how much decoding times are later."""
        self._delay_ms = None

    def configure(self, config: VideoConfig) -> None:
        """Switch to another configuration, from the next key frame on."""
        if self.config is None or self.config.record != config.record:
            self.config = config
            self._needs_key = True

    def add(self, frame: Frame) -> None:
        """
        Add a video frame. It is dropped if it cannot be decoded without an earlier key frame.

        :raises MediaError: the key frame is malformed.
        """
        config, waiting = self.config, self._waiting
        self.newest_ms = frame.dts_ms
        if frame.dts_ms < self._ends_ms:
            self._needs_key = True  # another picture stands in its place
            return
        if config is None or (self._needs_key and not frame.is_key):
            return
        if frame.is_key:
            self.config = config = sized(config, frame)
            self._needs_key = False
        if not waiting or waiting[-1].config is not config:
            waiting.append(VideoRun(config))
        waiting[-1].frames.append(frame)
        self.held_bytes += len(frame.body) + FRAME_BYTES

    def clear(self) -> None:
        """Drop all frames, and continue with the next key frame."""
        self._waiting.clear()
        self.held_bytes = 0
        self.newest_ms = -1
        self._needs_key = True

    def freeze(self, begin_ms: int, until_ms: float, slate: Slate | None = None) -> VideoRun | None:
        """The slate, or the last key frame, in place of what is missing; ``None`` if there never was a key frame."""
        self._is_frozen = True
        if self._last_key is None:
            return None
        config, key = self._last_key if slate is None else (slate.video, slate.key)
        return VideoRun(config, [self._repeated(config, key, begin_ms, until_ms)], is_frozen=True)

    def take(self, begin_ms: int, until_ms: float, *, needs_key: bool) -> VideoRun | None:
        """
        Remove and return the frames that are decoded before ``until_ms``, of the configuration of the first.

        The segment begins at ``begin_ms``; with ``needs_key`` a decoder begins with it. What is missing there is
        replaced by a key frame; ``None`` if there never was one.
        """
        taken: VideoRun | None = None
        while self._waiting:
            run = self._waiting[0]
            count = next((at for at, frame in enumerate(run.frames) if frame.dts_ms >= until_ms), len(run.frames))
            frames, run.frames = run.frames[:count], run.frames[count:]
            if taken is None and frames:
                taken = VideoRun(run.config, frames)
            elif taken is not None and run.config == taken.config:
                taken.frames += frames
            if run.frames:
                break
            self._waiting.popleft()
        self.held_bytes = sum(_held_bytes(run.frames) for run in self._waiting)
        return self._completed(taken, begin_ms, until_ms, needs_key=needs_key or self._is_frozen)

    def track_run(self, run: VideoRun, end_ms: int) -> TrackRun:
        """
        The frames as samples; the last one lasts until the next segment's first is decoded.

        Where the first picture is shown long after it is decoded, the decoding times are later by that delay, and the
        segments begin at their times in both orders: hls.js compares decoding times with the playlist, and moves what
        seems to be off by more than a second and a short segment.
        """
        frames = run.frames
        if self._delay_ms is None:
            self._delay_ms = frames[0].cts_ms if frames[0].cts_ms >= LONG_DELAY_MS else 0
        delay_ms = self._delay_ms
        following = end_ms - max(frames[-1].cts_ms, 0)
        if self._waiting and self._waiting[0].frames[0].dts_ms - following < FREEZE_MS:
            following = self._waiting[0].frames[0].dts_ms
        times = [frame.dts_ms for frame in frames]
        self._ends_ms = max(following, times[-1])
        return TrackRun(
            VIDEO_TRACK,
            (times[0] + delay_ms) * PER_MS,
            [memoryview(frame.body)[frame.data_offset :] for frame in frames],
            [(until - begin) * PER_MS if until > begin else 0 for begin, until in pairwise([*times, following])],
            [SYNC if frame.is_key and is_sync(frame) else NO_SYNC for frame in frames],
            [(frame.cts_ms - delay_ms) * PER_MS for frame in frames],
        )

    def _completed(self, run: VideoRun | None, begin_ms: int, until_ms: float, *, needs_key: bool) -> VideoRun | None:
        """The frames of a segment from its beginning on."""
        frames = [] if run is None else run.frames
        if needs_key:
            first = next((at for at, frame in enumerate(frames) if frame.is_key), len(frames))
            del frames[:first]
        if not frames or run is None:
            return self.freeze(begin_ms, until_ms)
        if frames[0].is_key and frames[0].pts_ms - begin_ms >= FREEZE_MS:
            config, key = self._last_key or (run.config, frames[0])
            shown = key if config == run.config else frames[0]
            frames.insert(0, self._repeated(run.config, shown, begin_ms, frames[0].dts_ms))
        self._is_frozen = False
        for frame in frames:
            if frame.is_key:
                self._last_key = run.config, frame
        return run

    def _repeated(self, config: VideoConfig, key: Frame, at_ms: int, until_ms: float) -> Frame:
        """A key frame that is shown once more, or earlier; what is decoded next is decoded at ``until_ms``."""
        dts_ms = int(max(min(at_ms - max(key.cts_ms, 0), until_ms), self._ends_ms))
        return evolve(standalone(key, config), dts_ms=dts_ms, cts_ms=max(at_ms - dts_ms, 0))


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
    _written: int = field(default=0, init=False)
    """Where the last sample ends that was taken, at ``_written_rate``."""
    _written_rate: int = field(default=1, init=False)
    _floor: int = field(default=0, init=False)
    """The same at the current rate: no frame begins before it."""

    def configure(self, config: AudioConfig) -> None:
        """Switch to another configuration."""
        if config == self.config:
            return
        if self.config is not None:
            self._next_position = -(-self._next_position * config.sample_rate // self.config.sample_rate)
        self.config = config
        self._rate, self._slack = config.sample_rate, AUDIO_DRIFT_MS * config.sample_rate - 500
        self._length = 0 if config.codec is Codec.OPUS else config.samples_per_frame
        self._floor = self._written_at(config.sample_rate)
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
            corrected = self._reposition(pts_ms, self._length or samples_in(config, frame.data))
            if corrected is None:
                return
            position = corrected
        if position < self._floor:
            if self._floor - position >= (self._length or samples_in(config, frame.data)):
                return  # silence stands in its place
            position = self._floor
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

    def _reposition(self, pts_ms: int, length: int) -> int | None:
        """
        The position of a frame that is off its expected time, or follows a discontinuity or silence; ``None`` if it is
        a repetition, or what is there takes all of its place.
        """
        position = round(pts_ms * self._rate / 1000)
        if self._needs_anchor:
            if position + length <= self._floor:
                return None
            self._needs_anchor = False
            return max(position, self._next_position)
        if abs(position - self._next_position) * 1000 <= AUDIO_DRIFT_MS * self._rate:
            return self._next_position
        return position if position > self._next_position else None

    def clear(self) -> None:
        """Drop all frames."""
        self._waiting.clear()
        self.held_bytes = 0

    def take(self, begin_ms: int, end_ms: int) -> AudioRun | None:
        """
        Remove and return the frames before ``end_ms`` that have the configuration which the segment begins with.

        The segment begins at ``begin_ms``. What is missing is silence; ``None`` if there is nothing, not even that.
        """
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
        if taken is None and self.config is not None:
            taken = AudioRun(self.config)
        if taken is None:
            return None
        self._fill(taken, begin_ms, end_ms)
        return taken if taken.frames else None

    def _fill(self, run: AudioRun, begin_ms: int, end_ms: int) -> None:
        """Put silence where frames are missing from a segment."""
        config, rate = run.config, run.config.sample_rate
        silence = silent_frame(config)
        at, begin = self._written_at(rate), round(begin_ms * rate / 1000)
        if not at or at + (silence.samples if silence else 0) <= begin:
            at = begin + ((run.positions[0] - begin) % silence.samples if silence and run.positions else 0)
        end = end_ms * rate // 1000
        stop, least = self._stop(config, end, silence.samples if silence else 0)
        frames, positions = [], []
        for frame, position in zip([*run.frames, None], [*run.positions, stop], strict=True):
            while silence is not None and position - at >= (least if frame is None else silence.samples):
                frames.append(silence.frame)
                positions.append(at)
                at += silence.samples
            if frame is not None:
                frames.append(frame)
                positions.append(position)
                at = max(at, position + samples_in(config, frame.data))
        if at < stop < at + MAX_FRAME and stop != end:
            at = stop
        run.frames, run.positions, run.ends, self._written, self._written_rate = frames, positions, at, at, rate
        self._floor = self._written_at(self._rate)
        if self._next_position < self._floor:
            self._next_position, self._needs_anchor = self._floor, True

    def _stop(self, config: AudioConfig, end: int, length: int) -> tuple[int, int]:
        """Where a segment's audio ends, and how much of it must be missing there for a silent frame of ``length``."""
        if self._waiting and self._waiting[0].config == config and self._waiting[0].positions[0] < end + 2 * MAX_FRAME:
            return self._waiting[0].positions[0], length
        return end, length // 2

    def _written_at(self, rate: int) -> int:
        return -(-self._written * rate // self._written_rate)

    def track_run(self, run: AudioRun) -> TrackRun:
        """The frames as samples: each lasts until the next."""
        frames, positions = run.frames, run.positions
        return TrackRun(
            AUDIO_TRACK,
            positions[0],
            [frame.body[frame.data_offset :] for frame in frames],
            [until - begin for begin, until in pairwise([*positions, run.ends])],
            [SYNC] * len(frames),
        )


def _held_bytes(frames: Sequence[Frame]) -> int:
    return sum([len(frame.body) for frame in frames]) + FRAME_BYTES * len(frames)

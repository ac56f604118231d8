"""Frames of one rendition, made into initialisation segments and media segments at the cuts of its broadcast."""

from __future__ import annotations

from collections import deque

from attrs import define, field, frozen

from livestream.media.codecs import AudioConfig, VideoConfig, parse_config
from livestream.model import Frame, RenditionInfo, Track
from livestream.packaging.cuts import Cut
from livestream.packaging.fmp4 import (
    AUDIO_TRACK,
    VIDEO_TIMESCALE,
    VIDEO_TRACK,
    Run,
    Sample,
    init_segment,
    media_segment,
)
from livestream.packaging.rates import RateMeter

AUDIO_LATE_MS = 500
"""Video so far past a cut is proof that no more audio comes for what is before it."""
AUDIO_DRIFT_MS = 150
"""Audio is placed by counting its samples, until its timestamps say that so much is missing, or came twice."""


@frozen
class PackagedInit:
    """A new initialisation segment; it is needed from the next segment on."""

    number: int
    data: bytes


@frozen
class PackagedSegment:
    """A media segment, needing the newest initialisation segment; its rendition as measured up to it."""

    cut: Cut
    duration_ms: int
    data: bytes
    info: RenditionInfo


@frozen
class PackagedGap:
    """There is no media for this stretch of the broadcast."""

    cut: Cut
    duration_ms: int


Packaged = PackagedInit | PackagedSegment | PackagedGap


@frozen
class _Picture:
    frame: Frame
    config: VideoConfig


@frozen
class _Sound:
    frame: Frame
    config: AudioConfig
    position: int
    """When it is heard, in samples since the beginning of the broadcast."""


@define(eq=False)
class Packager:
    """
    Takes a rendition's frames, and the cuts before the frames that they precede, and gives whole segments.

    ``tracks`` says what to wait for: a segment is whole when the next cut's picture has come and the audio has
    passed it. In the source rendition (``needs_key`` false) a segment may begin between key frames.
    """

    name: str
    needs_key: bool
    tracks: frozenset[Track]
    is_shed: bool = field(default=False, init=False)
    _cuts: deque[Cut] = field(factory=deque, init=False)
    _pictures: list[_Picture] = field(factory=list, init=False)
    _sounds: list[_Sound] = field(factory=list, init=False)
    _video: VideoConfig | None = field(default=None, init=False)
    _audio: AudioConfig | None = field(default=None, init=False)
    _sample: int | None = field(default=None, init=False)
    _init: tuple[VideoConfig | None, AudioConfig | None] = field(default=(None, None), init=False)
    _init_number: int = field(default=-1, init=False)
    _sequence: int = field(default=0, init=False)
    _meter: RateMeter = field(factory=RateMeter, init=False)

    def add_cut(self, cut: Cut) -> list[Packaged]:
        """A segment begins at ``cut``. Its first frame follows."""
        if self._cuts and cut.discontinuity != self._cuts[-1].discontinuity:
            self._sample = None
        self._cuts.append(cut)
        return self._close_whole()

    def add(self, frame: Frame) -> list[Packaged]:
        """Take a frame, and return what is whole now."""
        if frame.is_config:
            self._configure(frame)
            return []
        if not self._cuts:
            return []
        if frame.track is Track.AUDIO:
            self._hear(frame)
        elif self._video is not None and not self.is_shed:
            self._pictures.append(_Picture(frame, self._video))
        return self._close_whole()

    def finish(self, end_ms: int) -> list[Packaged]:
        """The publisher has gone and ``end_ms`` is where its media ends: close what is open, with what there is."""
        packaged = self._close_whole()
        while self._cuts:
            packaged += self._close(self._cuts[1].pts_ms if len(self._cuts) > 1 else end_ms)
        self._pictures, self._sounds, self._sample = [], [], None
        return packaged

    def restart(self) -> None:
        """The pictures come again, from the first cut whose segment is not out yet."""
        self._pictures = []

    def shed(self) -> list[Packaged]:
        """Give the rendition up: gaps from here on."""
        self.is_shed = True
        self._pictures, self._sounds = [], []
        return self._close_whole()

    @property
    def whole_before_ms(self) -> int | None:
        """Every segment that begins before this time is out."""
        return self._cuts[0].pts_ms if self._cuts else None

    def _configure(self, frame: Frame) -> None:
        config = parse_config(frame)
        if isinstance(config, VideoConfig):
            self._video = config
        else:
            self._sample = None if config != self._audio else self._sample
            self._audio = config

    def _hear(self, frame: Frame) -> None:
        if self._audio is None:
            return
        rate = self._audio.sample_rate
        told = round(frame.pts_ms * rate / 1000)
        position = self._sample if self._sample is not None else told
        if abs(told - position) * 1000 > AUDIO_DRIFT_MS * rate:
            if told < position:
                return
            position = told
        self._sample = position + self._audio.samples_per_frame
        self._sounds.append(_Sound(frame, self._audio, position))

    def _close_whole(self) -> list[Packaged]:
        packaged: list[Packaged] = []
        while len(self._cuts) > 1 and self._is_whole(self._cuts[1]):
            packaged += self._close(self._cuts[1].pts_ms)
        return packaged

    def _is_whole(self, following: Cut) -> bool:
        if self.is_shed:
            return True
        newest_ms = self._pictures[-1].frame.dts_ms if self._pictures else 0
        if Track.VIDEO in self.tracks and self._split_pictures(following.pts_ms) == len(self._pictures):
            return False
        if Track.AUDIO not in self.tracks or self._audio is None:
            return True
        heard_ms = self._sounds[-1].frame.pts_ms if self._sounds else 0
        return heard_ms >= following.pts_ms or newest_ms > following.pts_ms + AUDIO_LATE_MS

    def _split_pictures(self, pts_ms: int) -> int:
        """How many pictures are decoded before the one that is shown at ``pts_ms``."""
        for index, picture in enumerate(self._pictures):
            if picture.frame.pts_ms == pts_ms or picture.frame.dts_ms > pts_ms:
                return index
        return len(self._pictures)

    def _close(self, end_ms: int) -> list[Packaged]:
        cut = self._cuts.popleft()
        first = self._split_pictures(cut.pts_ms)
        count = self._split_pictures(end_ms)
        pictures, after = self._pictures[first:count], self._pictures[count : count + 1]
        self._pictures = self._pictures[count:]
        heard = sum(sound.frame.pts_ms < end_ms for sound in self._sounds)
        sounds = [sound for sound in self._sounds[:heard] if sound.frame.pts_ms >= cut.pts_ms]
        self._sounds = self._sounds[heard:]
        duration_ms = end_ms - cut.pts_ms
        if not self._can_begin(pictures, sounds):
            return [PackagedGap(cut, duration_ms)]
        runs = [_video_run(pictures, after, end_ms)] if pictures else []
        if sounds:
            runs.append(_audio_run(sounds, self._sounds[:1]))
        packaged = self._needed_init(pictures, sounds)
        self._sequence += 1
        data = media_segment(self._sequence, runs)
        self._meter.add(len(data), len(pictures), duration_ms)
        return [*packaged, PackagedSegment(cut, duration_ms, data, self._info())]

    def _can_begin(self, pictures: list[_Picture], sounds: list[_Sound]) -> bool:
        if Track.VIDEO not in self.tracks:
            return bool(sounds)
        return bool(pictures) and not self.is_shed and (pictures[0].frame.is_key or not self.needs_key)

    def _needed_init(self, pictures: list[_Picture], sounds: list[_Sound]) -> list[Packaged]:
        video = pictures[0].config if pictures else None
        audio = sounds[0].config if sounds else self._init[1] or self._audio
        if (video, audio) == self._init:
            return []
        self._init = video, audio
        self._init_number += 1
        return [PackagedInit(self._init_number, init_segment(video, audio))]

    def _info(self) -> RenditionInfo:
        video, audio = self._init
        codecs = ",".join(config.codec_string for config in (video, audio) if config is not None)
        meter = self._meter
        size = (video.width, video.height) if video is not None else (0, 0)
        return RenditionInfo(self.name, codecs, meter.peak, meter.average, *size, meter.frame_rate if video else 0.0)


def _video_run(pictures: list[_Picture], after: list[_Picture], end_ms: int) -> Run:
    """The pictures as samples; the last one lasts until the next segment's first is decoded."""
    times = [picture.frame.dts_ms for picture in pictures]
    last = pictures[-1].frame
    stop = after[0].frame.dts_ms if after else max(end_ms - last.cts_ms, last.dts_ms + 1)
    scale = VIDEO_TIMESCALE // 1000
    samples = [
        Sample(p.frame.data, (until - p.frame.dts_ms) * scale, p.frame.cts_ms * scale, p.frame.is_key)
        for p, until in zip(pictures, [*times[1:], stop], strict=True)
    ]
    return Run(VIDEO_TRACK, times[0] * scale, samples)


def _audio_run(sounds: list[_Sound], after: list[_Sound]) -> Run:
    """The sounds as samples: each lasts until the next, so that what is missing is silence and not a shift."""
    config = sounds[0].config
    same = bool(after) and after[0].config == config
    stop = after[0].position if same else sounds[-1].position + config.samples_per_frame
    positions = [sound.position for sound in sounds]
    samples = [
        Sample(sound.frame.data, until - sound.position)
        for sound, until in zip(sounds, [*positions[1:], stop], strict=True)
    ]
    return Run(AUDIO_TRACK, positions[0], samples)

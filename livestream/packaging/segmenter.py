"""Packages the frames of one rendition into initialisation and media segments, at the cuts of its broadcast."""

from __future__ import annotations

from collections import deque

from attrs import define, field, frozen

from livestream.media.codecs import AudioConfig, VideoConfig, parse_config
from livestream.model.frames import AUDIO, VIDEO, Frame
from livestream.model.names import SOURCE
from livestream.model.segments import RenditionInfo
from livestream.packaging.cuts import Cut
from livestream.packaging.fmp4 import init_segment, media_segment
from livestream.packaging.rates import RateMeter
from livestream.packaging.samples import AudioQueue, AudioRun, VideoQueue, VideoRun
from livestream.packaging.track_activity import AUDIO_LOST_MS

MAX_HELD_BYTES = 64 << 20
"""The limit of queued frames: an encoder whose clock stands still would never be cut."""


@frozen
class PackagedInit:
    """A new initialisation segment, which applies from the next segment on. Numbers rise from 0."""

    number: int
    data: bytes


@frozen
class PackagedSegment:
    """A media segment, which needs the newest initialisation segment; ``info`` is measured up to it."""

    cut: Cut
    duration_ms: int
    data: bytes
    info: RenditionInfo


@frozen
class PackagedGap:
    """The rendition has no media for this segment of the broadcast."""

    cut: Cut
    duration_ms: int


Packaged = PackagedInit | PackagedSegment | PackagedGap


@define(eq=False)
class Segmenter:
    """
    Takes a rendition's frames and the cuts of the broadcast, and returns complete segments.

    A segment is complete once the next cut is known, all video frames before it have arrived, and the audio has passed
    it, or is so late that it must have stopped. Every cut results in one segment or one gap, in order.

    A cut of the source is added right before the frame it precedes. Frames of a rung arrive later, from a transcoder,
    and are assigned by their times. A segment of a rung begins with a key frame; one of the source may begin without.
    """

    name: str
    limit_bytes: int = MAX_HELD_BYTES
    is_shed: bool = field(default=False, init=False)
    _cuts: deque[Cut] = field(factory=deque, init=False)
    _video: VideoQueue = field(factory=VideoQueue, init=False)
    _audio: AudioQueue = field(factory=AudioQueue, init=False)
    _discontinuity: int | None = field(default=None, init=False)
    _init: tuple[VideoConfig | None, AudioConfig | None] = field(default=(None, None), init=False)
    _init_number: int = field(default=-1, init=False)
    _sequence: int = field(default=0, init=False)
    _meter: RateMeter = field(factory=RateMeter, init=False)

    def add_cut(self, cut: Cut) -> list[Packaged]:
        """Begin a segment at ``cut``; in the source, its first frame follows. Return what is now complete."""
        if cut.discontinuity != self._discontinuity:
            self._discontinuity = cut.discontinuity
            self._audio.anchor()
        self._cuts.append(cut)
        return self._close_complete()

    def add(self, frame: Frame) -> list[Packaged]:
        """
        Add a frame or a configuration, and return what is now complete.

        :raises MediaError: it is malformed, and was dropped.
        """
        if frame.is_config:
            self._configure(frame)
            return []
        cuts, video, audio = self._cuts, self._video, self._audio
        if not cuts or self.is_shed:
            return []
        if video.held_bytes + audio.held_bytes > self.limit_bytes:
            self._clear()
        if frame.codec.track is AUDIO:
            audio.add(frame, cuts[0].pts_ms)
        else:
            cut = cuts[-1] if self.name == SOURCE else self._cut_before(frame)
            if cut is not None and VIDEO in cut.tracks:
                video.add(frame, cut.msn)
        return self._close_complete() if len(cuts) > 1 else []

    def finish(self, end_ms: int) -> list[Packaged]:
        """Close all open segments with what they have, the last one at ``end_ms``, since the publisher has left."""
        packaged: list[Packaged] = []
        while self._cuts:
            packaged += self._close(self._cuts[1].pts_ms if len(self._cuts) > 1 else end_ms)
        self._clear()
        self._audio.anchor()
        return packaged

    def restart(self) -> None:
        """Expect the video frames again, from the first cut whose segment is still open, or from before it."""
        self._video.clear()

    def shed(self) -> list[Packaged]:
        """Drop the rendition: return gaps from now on."""
        self.is_shed = True
        self._clear()
        return self._close_complete()

    @property
    def complete_before_ms(self) -> int | None:
        """Every segment that begins before this time is closed; ``None`` before the first cut and after the end."""
        return self._cuts[0].pts_ms if self._cuts else None

    def _configure(self, frame: Frame) -> None:
        config = parse_config(frame)
        if isinstance(config, VideoConfig):
            self._video.configure(config)
        else:
            self._audio.configure(config)

    def _cut_before(self, frame: Frame) -> Cut | None:
        """The cut whose segment a rung's frame belongs to."""
        pts_ms = frame.dts_ms + frame.cts_ms
        for cut in reversed(self._cuts):
            if cut.pts_ms <= pts_ms:
                return cut
        return None

    def _clear(self) -> None:
        self._video.clear()
        self._audio.clear()

    def _close_complete(self) -> list[Packaged]:
        packaged: list[Packaged] = []
        while len(self._cuts) > 1 and self._is_complete(self._cuts[0], self._cuts[1]):
            packaged += self._close(self._cuts[1].pts_ms)
        return packaged

    def _is_complete(self, cut: Cut, following: Cut) -> bool:
        if self.is_shed:
            return True
        needs_video = VIDEO in cut.tracks and VIDEO in self._cuts[-1].tracks
        if needs_video and self._video.newest_msn < following.msn:
            return False
        if AUDIO not in cut.tracks or self._audio.newest_ms >= following.pts_ms:
            return True
        return self._video.newest_ms > following.pts_ms + AUDIO_LOST_MS

    def _close(self, end_ms: int) -> list[Packaged]:
        cut = self._cuts.popleft()
        duration_ms = end_ms - cut.pts_ms
        video, audio = self._video.take(cut.msn), self._audio.take(end_ms)
        if AUDIO not in cut.tracks:
            audio = None
        if self.name != SOURCE and not (video and video.frames[0].is_key):
            return [PackagedGap(cut, duration_ms)]
        if video is None and audio is None:
            return [PackagedGap(cut, duration_ms)]
        runs = [self._video.track_run(video, end_ms)] if video else []
        if audio:
            runs.append(self._audio.track_run(audio))
        packaged = self._needed_init(cut, video, audio)
        self._sequence += 1
        data = media_segment(self._sequence, runs)
        self._meter.add(len(data), len(video.frames) if video else 0, duration_ms)
        return [*packaged, PackagedSegment(cut, duration_ms, data, self._info())]

    def _needed_init(self, cut: Cut, video_run: VideoRun | None, audio_run: AudioRun | None) -> list[Packaged]:
        """The initialisation segment for a segment, unless the newest one fits."""
        video = audio = None
        if VIDEO in cut.tracks:
            video = video_run.config if video_run else self._init[0] or self._video.config
        if AUDIO in cut.tracks:
            audio = audio_run.config if audio_run else self._init[1] or self._audio.config
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

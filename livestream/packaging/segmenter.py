"""Frames of one rendition, made into initialisation segments and media segments at the cuts of its broadcast."""

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
from livestream.packaging.samples import Heard, Pictures, Shown, Sounds
from livestream.packaging.track_activity import SILENT_MS

LIMIT_BYTES = 64 << 20
"""No more waits for the end of its segment: an encoder whose clock stands still is never cut."""


@frozen
class PackagedInit:
    """A new initialisation segment; it is needed from the next segment on. Numbers rise from 0."""

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
    """There is no media of this rendition for this stretch of the broadcast."""

    cut: Cut
    duration_ms: int


Packaged = PackagedInit | PackagedSegment | PackagedGap


@define(eq=False)
class Packager:
    """
    Takes a rendition's frames, and the cuts before the frames that they precede, and gives whole segments.

    A segment is whole when the next cut is known, the pictures before it have come, and the audio has passed it (or is
    so late that it has stopped). For every cut there is one segment or one gap, in order.

    The source's frames are given as they come; those of a rung come later, from a transcoder, and are told apart by
    their times. A segment of a rung begins with a key frame; one of the source may begin between two.
    """

    name: str
    limit_bytes: int = LIMIT_BYTES
    is_shed: bool = field(default=False, init=False)
    _cuts: deque[Cut] = field(factory=deque, init=False)
    _pictures: Pictures = field(factory=Pictures, init=False)
    _sounds: Sounds = field(factory=Sounds, init=False)
    _discontinuity: int | None = field(default=None, init=False)
    _init: tuple[VideoConfig | None, AudioConfig | None] = field(default=(None, None), init=False)
    _init_number: int = field(default=-1, init=False)
    _sequence: int = field(default=0, init=False)
    _meter: RateMeter = field(factory=RateMeter, init=False)

    def add_cut(self, cut: Cut) -> list[Packaged]:
        """A segment begins at ``cut``; of the source, its first frame follows. Return what is whole now."""
        if cut.discontinuity != self._discontinuity:
            self._discontinuity = cut.discontinuity
            self._sounds.anchor()
        self._cuts.append(cut)
        return self._close_whole()

    def add(self, frame: Frame) -> list[Packaged]:
        """
        Take a frame or a configuration, and return what is whole now.

        :raises MediaError: it does not make sense, and was left out.
        """
        if frame.is_config:
            self._configure(frame)
            return []
        cuts, pictures, sounds = self._cuts, self._pictures, self._sounds
        if not cuts or self.is_shed:
            return []
        if pictures.held_bytes + sounds.held_bytes > self.limit_bytes:
            self._let_go()
        if frame.codec.track is AUDIO:
            sounds.add(frame, cuts[0].pts_ms)
        else:
            cut = cuts[-1] if self.name == SOURCE else self._cut_before(frame)
            if cut is not None and VIDEO in cut.tracks:
                pictures.add(frame, cut.msn)
        return self._close_whole() if len(cuts) > 1 else []

    def finish(self, end_ms: int) -> list[Packaged]:
        """The publisher has gone and its last segment ends at ``end_ms``: close what is open, with what there is."""
        packaged: list[Packaged] = []
        while self._cuts:
            packaged += self._close(self._cuts[1].pts_ms if len(self._cuts) > 1 else end_ms)
        self._let_go()
        self._sounds.anchor()
        return packaged

    def restart(self) -> None:
        """The pictures come again, from the first cut whose segment is not out yet, or from before it."""
        self._pictures.clear()

    def shed(self) -> list[Packaged]:
        """Give the rendition up: gaps from here on."""
        self.is_shed = True
        self._let_go()
        return self._close_whole()

    @property
    def whole_before_ms(self) -> int | None:
        """Every segment that begins before this time is out; ``None`` before the first cut and after the end."""
        return self._cuts[0].pts_ms if self._cuts else None

    def _configure(self, frame: Frame) -> None:
        config = parse_config(frame)
        if isinstance(config, VideoConfig):
            self._pictures.configure(config)
        else:
            self._sounds.configure(config)

    def _cut_before(self, frame: Frame) -> Cut | None:
        """The cut that a rung's picture belongs to."""
        shown_ms = frame.dts_ms + frame.cts_ms
        for cut in reversed(self._cuts):
            if cut.pts_ms <= shown_ms:
                return cut
        return None

    def _let_go(self) -> None:
        self._pictures.clear()
        self._sounds.clear()

    def _close_whole(self) -> list[Packaged]:
        packaged: list[Packaged] = []
        while len(self._cuts) > 1 and self._is_whole(self._cuts[0], self._cuts[1]):
            packaged += self._close(self._cuts[1].pts_ms)
        return packaged

    def _is_whole(self, cut: Cut, following: Cut) -> bool:
        if self.is_shed:
            return True
        has_pictures = VIDEO in cut.tracks and VIDEO in self._cuts[-1].tracks
        if has_pictures and self._pictures.newest_msn < following.msn:
            return False
        if AUDIO not in cut.tracks or self._sounds.newest_ms >= following.pts_ms:
            return True
        return self._pictures.newest_ms > following.pts_ms + SILENT_MS

    def _close(self, end_ms: int) -> list[Packaged]:
        cut = self._cuts.popleft()
        duration_ms = end_ms - cut.pts_ms
        pictures, sounds = self._pictures.take(cut.msn), self._sounds.take(end_ms)
        if AUDIO not in cut.tracks:
            sounds = None
        if self.name != SOURCE and not (pictures and pictures.frames[0].is_key):
            return [PackagedGap(cut, duration_ms)]
        if pictures is None and sounds is None:
            return [PackagedGap(cut, duration_ms)]
        runs = [self._pictures.run(pictures, end_ms)] if pictures else []
        if sounds:
            runs.append(self._sounds.run(sounds))
        packaged = self._needed_init(cut, pictures, sounds)
        self._sequence += 1
        data = media_segment(self._sequence, runs)
        self._meter.add(len(data), len(pictures.frames) if pictures else 0, duration_ms)
        return [*packaged, PackagedSegment(cut, duration_ms, data, self._info())]

    def _needed_init(self, cut: Cut, pictures: Shown | None, sounds: Heard | None) -> list[Packaged]:
        """The header that fits the segment, if that is not the newest one."""
        video = audio = None
        if VIDEO in cut.tracks:
            video = pictures.config if pictures else self._init[0] or self._pictures.config
        if AUDIO in cut.tracks:
            audio = sounds.config if sounds else self._init[1] or self._sounds.config
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

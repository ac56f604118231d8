"""Packages the frames of one rendition into initialisation and media segments, at the cuts of its broadcast."""

from __future__ import annotations

from collections import deque
from math import inf

from attrs import define, evolve, field, frozen

from livestream.media.codecs import AudioConfig, VideoConfig, parse_config
from livestream.media.slate import Slate
from livestream.model.frames import AUDIO, VIDEO, Frame, Track
from livestream.model.segments import RenditionInfo
from livestream.packaging.cuts import CUT_TOLERANCE_MS, Cut
from livestream.packaging.fmp4 import init_segment, media_segment
from livestream.packaging.rates import FrameRateMeter, RateMeter
from livestream.packaging.samples import AudioQueue, AudioRun, VideoQueue, VideoRun

MAX_HELD_BYTES = 64 << 20
"""The limit of queued frames: an encoder whose clock stands still would never be cut."""
SHED_SEGMENTS = 6
"""How many segments a rendition that was given up still has, so that players have time to move to another."""


@frozen
class PackagedInit:
    """A new initialisation segment, which applies from the next segment on. Numbers rise from 0."""

    number: int
    data: bytes


@frozen
class PackagedSegment:
    """
    A media segment, which needs the newest initialisation segment; ``info`` is measured up to it.

    ``independent`` says that it begins with a key frame.
    """

    cut: Cut
    duration_ms: int
    data: bytes
    info: RenditionInfo
    independent: bool


@frozen
class PackagedGap:
    """The rendition has no media for this segment of the broadcast, and none could be made."""

    cut: Cut
    duration_ms: int


Packaged = PackagedInit | PackagedSegment | PackagedGap


@define(eq=False)
class Segmenter:
    """
    Takes a rendition's frames and the cuts of the broadcast, and returns complete segments.

    A segment is complete once the next cut is known, and all frames before it have arrived; for a track that is
    ``silent`` nothing is waited for. Every cut results in one segment. Where frames are missing, the last key frame and
    silence take their place, so that only a rendition without any media has a gap.

    ``rates`` is its own; ``frame_rate`` is measured on the source, and the same for all renditions.

    With ``is_passed`` its video is the source as it came, cut in decoding order; otherwise it is from a transcoder,
    arrives later, and each segment begins with a key frame.
    """

    name: str
    is_passed: bool
    limit_bytes: int = MAX_HELD_BYTES
    rates: RateMeter = field(factory=RateMeter)
    frame_rate: FrameRateMeter = field(factory=FrameRateMeter)
    is_shed: bool = field(default=False, init=False)
    silent: frozenset[Track] = field(default=frozenset(), init=False)
    slate: Slate | None = field(default=None, init=False)
    """What is shown in the segments of an absence that have a slate, if there is one for this rendition."""
    _cuts: deque[Cut] = field(factory=deque, init=False)
    _video: VideoQueue = field(factory=VideoQueue, init=False)
    _audio: AudioQueue = field(factory=AudioQueue, init=False)
    _discontinuity: int | None = field(default=None, init=False)
    """That of the newest cut."""
    _closed_discontinuity: int | None = field(default=None, init=False)
    _init: tuple[VideoConfig | None, AudioConfig | None] = field(default=(None, None), init=False)
    _described: tuple[VideoConfig | None, AudioConfig | None] = field(default=(None, None), init=False)
    """The configurations that playlists tell of: those of the latest media that is not a slate."""
    _init_number: int = field(default=-1, init=False)
    _sequence: int = field(default=0, init=False)
    _shed_left: int = field(default=SHED_SEGMENTS, init=False)

    def add_cut(self, cut: Cut) -> list[Packaged]:
        """Begin a segment at ``cut``. Return what is now complete."""
        if self._is_over:
            return []
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
        if not cuts:  # none has begun, or the rendition has ended
            return []
        if video.held_bytes + audio.held_bytes > self.limit_bytes:
            self._clear()
        if frame.codec.track is AUDIO:
            audio.add(frame, cuts[0].pts_ms)
        elif not self.is_shed and (self.is_passed or frame.dts_ms >= self._boundary_ms(cuts[0])):
            video.add(frame)
        return self._close_complete() if len(cuts) > 1 else []

    def set_silent(self, tracks: frozenset[Track]) -> list[Packaged]:
        """Set the tracks that send nothing now. Return what is complete without them."""
        self.silent = tracks
        return self._close_complete()

    def finish(self, end_ms: int) -> list[Packaged]:
        """Close all open segments with what they have, the last one at ``end_ms``, since the publisher has left."""
        packaged: list[Packaged] = []
        while self._cuts and not self._is_over:
            packaged += self._close(self._end_ms(self._cuts[1].pts_ms if len(self._cuts) > 1 else end_ms))
        self.forget()
        self._audio.anchor()
        self.rates.reset()
        return packaged

    def forget(self) -> None:
        """Drop the open segments, of which nothing is wanted."""
        self._cuts.clear()
        self._clear()

    def restart(self) -> None:
        """Expect the video frames again, from the first cut whose segment is still open, or from before it."""
        self._video.clear()

    def shed(self) -> list[Packaged]:
        """Give the rendition up: its picture stands, and it ends after `SHED_SEGMENTS`."""
        self.is_shed = True
        self._video.clear()
        return self._close_complete()

    def pass_source(self) -> None:
        """Continue with the frames of the source as they come, from a discontinuity on."""
        self.is_passed, self.is_shed = True, False
        self._video.clear()

    @property
    def shown(self) -> VideoConfig | None:
        """The configuration of the picture that is shown where others are missing; ``None`` if there is none."""
        return self._video.shown

    @property
    def _is_over(self) -> bool:
        """Whether it was given up, and has had its last segment."""
        return self.is_shed and not self._shed_left

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

    def _boundary_ms(self, cut: Cut) -> int:
        """The decoding time from which video frames belong to the segment that begins at ``cut``."""
        return cut.dts_ms if self.is_passed else cut.pts_ms - CUT_TOLERANCE_MS

    def _clear(self) -> None:
        self._video.clear()
        self._audio.clear()

    def _close_complete(self) -> list[Packaged]:
        packaged: list[Packaged] = []
        while len(self._cuts) > 1 and self._is_complete(self._cuts[0], self._cuts[1]):
            packaged += self._close(self._end_ms(self._cuts[1].pts_ms))
            if self._is_over:
                self.forget()
        return packaged

    def _end_ms(self, following_ms: int) -> int:
        """Where the first open segment ends, if the next one begins at ``following_ms``."""
        cut = self._cuts[0]
        return cut.pts_ms + cut.absence_ms if cut.absence_ms else following_ms

    def _is_complete(self, cut: Cut, following: Cut) -> bool:
        if cut.absence_ms:
            return True
        tracks = self._tracks_of(cut, following)
        is_video_due = VIDEO in tracks and VIDEO not in self.silent and not self.is_shed
        if is_video_due and self._video.newest_ms < self._boundary_ms(following):
            return False
        is_audio_due = AUDIO in tracks and AUDIO not in self.silent
        return not is_audio_due or self._audio.newest_ms >= following.pts_ms

    def _close(self, end_ms: int) -> list[Packaged]:
        cut = self._cuts.popleft()
        if self.is_shed:
            self._shed_left -= 1
        following = self._cuts[0] if self._cuts else None
        duration_ms, breaks = end_ms - cut.pts_ms, cut.discontinuity != self._closed_discontinuity
        self._closed_discontinuity = cut.discontinuity
        if breaks:
            self._video.anchor()
        until_ms = self._boundary_ms(following) if following else inf
        if cut.has_slate:
            video = self._video.freeze(cut.pts_ms, until_ms, self.slate)
        else:
            video = self._video.take(cut.pts_ms, until_ms, needs_key=breaks or not self.is_passed)
        audio = self._audio.take(cut.pts_ms, end_ms)
        tracks = self._tracks(cut, following, audio)
        runs = [self._video.track_run(video, end_ms)] if video and VIDEO in tracks else []
        if audio and AUDIO in tracks and (runs or (self.is_passed and VIDEO not in tracks)):
            runs.append(self._audio.track_run(audio))
        if not runs:
            return [PackagedGap(cut, duration_ms)]
        packaged = self._needed_init(tracks, video, audio)
        if not cut.has_slate:
            self._described = self._init
        self._sequence += 1
        data = media_segment(self._sequence, runs)
        if not cut.absence_ms and not (video and video.is_frozen):
            self.rates.add(len(data), duration_ms)
        independent = not video or video.frames[0].is_key
        return [*packaged, PackagedSegment(cut, duration_ms, data, self._info(), independent)]

    def _tracks(self, cut: Cut, following: Cut | None, audio_run: AudioRun | None) -> frozenset[Track]:
        """The tracks of a segment: those of the one before, and in the first also those that came while it lasted."""
        tracks = self._tracks_of(cut, following)
        video, audio = self._init
        is_first = video is None and audio is None
        has_audio = audio is not None or (is_first and audio_run is not None)
        return tracks | ({VIDEO} if video else set()) | ({AUDIO} if has_audio else set())

    @staticmethod
    def _tracks_of(cut: Cut, following: Cut | None) -> frozenset[Track]:
        """Those of the broadcast, in the first segment also if they came while it lasted."""
        if following is None or following.discontinuity != cut.discontinuity:
            return cut.tracks
        return cut.tracks | following.tracks

    def _needed_init(
        self, tracks: frozenset[Track], video_run: VideoRun | None, audio_run: AudioRun | None
    ) -> list[Packaged]:
        """The initialisation segment for a segment, unless the newest one fits."""
        video = audio = None
        if VIDEO in tracks:
            video = video_run.config if video_run else self._init[0]
        if AUDIO in tracks:
            audio = audio_run.config if audio_run else self._init[1] or self._audio.config
        if (video, audio) == self._init:
            return []
        self._init = video, audio
        self._init_number += 1
        return [PackagedInit(self._init_number, init_segment(video, audio))]

    def _info(self) -> RenditionInfo:
        video, audio = self._described
        codecs = ",".join(config.codec_string for config in (video, audio) if config is not None)
        info = RenditionInfo(self.name, codecs, self.rates.peak, self.rates.average)
        if video is None:
            return info
        return evolve(
            info,
            width=video.shown_width,
            height=video.shown_height,
            frame_rate=self.frame_rate.rate,
            video_range=video.colour.video_range,
        )

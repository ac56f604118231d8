"""All renditions of a broadcast: what becomes of the source's frames, and of those that a transcoder makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from livestream.ingest.push_feed import PushFeed
from livestream.ingest.rendition import FirstSegments, Rendition
from livestream.ingest.segment_numbering import UnnumberedSegment
from livestream.ingest.services import BroadcastServices, BroadcastSettings, Transcode
from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.slate import Slate, slate_shape
from livestream.model.frames import VIDEO, Codec, Frame, Track
from livestream.model.names import SOURCE
from livestream.packaging.cuts import CUT_TOLERANCE_MS, Cut, CutPlanner, SourceMode
from livestream.packaging.rates import SPAN_MS, FrameRateMeter, RateMeter
from livestream.packaging.segmenter import Segmenter

MAX_LAG_MS = 3_000
"""A transcoder that is this late when the first segment is due cannot keep up with encoding the source too."""
MAX_HELD_SEGMENTS = 2
"""So many segments of the source wait for the first that is encoded; then they are the source in HLS."""
SHORT_TRY_MS = 1_000
"""A publisher that leaves earlier, before anything was decided, leaves no segment."""
HOW = {SourceMode.PASS: "as it comes", SourceMode.ENCODE: "encoded, in segments of equal length"}
MEASURED_MS = 1_000
"""A rate is measured over at least so much."""
FREEZE_EVERY_MS = 1_000
"""How often the push gets something in place of a track that is silent."""


@define(eq=False)
class Renditions:
    """
    The renditions of the broadcast ``number`` of ``stream``. ``submit`` is called with each of their segments, and
    ``refuse`` with the reason why the source is not decoded.

    In HLS the rendition ``source`` is the source as it came, or comes from the transcoder (`SourceMode`). Until that is
    decided, both are prepared. The push's is always as it came.
    """

    stream: str
    number: int
    settings: BroadcastSettings
    services: BroadcastServices
    submit: Callable[[UnnumberedSegment], None]
    refuse: Callable[[str], None]
    planner: CutPlanner = field(init=False)
    begun_at: dict[int, float] = field(factory=dict, init=False)
    """When the first frame of each segment arrived, by the segment's index."""
    replaced_transcoders: int = field(default=0, init=False)
    """How often the transcoder was replaced because the pictures changed their size."""
    _frame_rate: FrameRateMeter = field(factory=FrameRateMeter, init=False)
    _feeds: list[PushFeed] = field(factory=list, init=False)
    _push: PushFeed = field(init=False)
    _first: FirstSegments = field(init=False)
    _passed: Rendition | None = field(init=False)
    _encoded: Rendition | None = field(default=None, init=False)
    _rungs: dict[str, Rendition] = field(factory=dict, init=False)
    _transcode: Transcode | None = field(default=None, init=False)
    _audio_config: Frame | None = field(default=None, init=False)
    _video_config: Frame | None = field(default=None, init=False)
    _silent: frozenset[Track] = field(default=frozenset(), init=False)
    _silent_until_ms: int = field(default=0, init=False)
    _cut_due_ms: int | None = field(default=None, init=False)
    _hinted_ms: int = field(default=0, init=False)
    _video_bytes: int = field(default=0, init=False)
    _measured_ms: int = field(default=0, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        is_open = bool(self.settings.heights) and self.settings.source != SourceMode.PASS.value
        self.planner = CutPlanner(self.settings.segment_s, 0, 0, None if is_open else SourceMode.PASS)
        self._first = FirstSegments(self.submit)
        self._push = self._open_feed(SOURCE)
        self._passed = self._rendition(SOURCE, is_passed=True)

    @property
    def source_mode(self) -> SourceMode | None:
        """What HLS gets of the source; ``None`` while it is not decided."""
        return self.planner.mode

    # The publisher's frames

    def add(self, frame: Frame) -> int:
        """
        Process a frame or configuration; return how many segments end with it.

        :raises MediaError: it is malformed.
        """
        if frame.is_config:
            self._configure(frame)
        elif frame.codec.track is VIDEO:
            self._frame_rate.add(frame.dts_ms)
        planner = self.planner
        cuts = planner.add(frame)
        if planner.mode is None:
            cuts += self._settle()
        if planner.activity.silent is not self._silent:
            self._silent = planner.activity.silent
            for rendition in self._all():
                rendition.set_silent(self._silent)
        if cuts:
            self._cut(cuts, frame)
        elif planner.current is not None and frame.dts_ms + frame.cts_ms < planner.current.pts_ms:
            self.begun_at[planner.current.msn] = frame.arrived  # it belongs to the segment before
        self._push.add(frame)
        if self._passed is not None:
            self._passed.add(frame)
        if self._transcode is not None:
            self._feed_transcoder(self._transcode, frame)
        elif self._rungs and frame.codec is Codec.AAC:
            self._add_audio(frame)
        if self._silent and not frame.is_config:
            self._freeze_silent(frame)
        return len(cuts)

    def finish(self) -> Deferred[None]:
        """
        Close the last segment, since the publisher has left: the source's now, and those of the rungs later.

        Fires when all are closed.
        """
        self._frame_rate.reset()
        planner = self.planner
        if planner.mode is None and not self._settle_at_end():
            return succeed(None)
        end_ms = planner.finish()
        if self._passed is not None and end_ms is not None:
            self._passed.finish(end_ms)
        if self._transcode is None:
            self._closed(end_ms)
            return succeed(None)
        return self._transcode.flush().addBoth(lambda _: self._closed(end_ms))

    def add_absence(self, length_ms: int) -> None:
        """Add a segment of ``length_ms`` that shows the slate or the last key frame, since the publisher is away."""
        self._set_slates()
        cut = self.planner.absence(length_ms)
        for rendition in self._all():
            rendition.cut(cut)
            rendition.finish(self.planner.end_ms)

    def freeze_push(self, until_ms: int) -> None:
        """Show the slate or the last key frame to the viewers of the push, since the publisher is away."""
        for push in self._feeds:
            push.freeze(until_ms, slate=self._slate(push.video))

    # Called by the transcoder (a `RungSink`)

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        if rendition == "audio":
            self._add_audio(frame)
        elif rendition == SOURCE:
            if self._encoded is not None:
                self._encoded.add_video(frame)
        elif rendition in self._rungs:
            self._rungs[rendition].add_video(frame)
        self._release()

    def rung_restarted(self, from_dts_ms: int) -> None:
        for rendition in self._transcoded():
            rendition.restart()

    def rung_shed(self, rendition: str, reason: str) -> None:
        if rendition == SOURCE:
            self._pass_source(reason)
        elif rendition in self._rungs:
            message = "{stream}/{rendition} is dropped: {reason}"
            self.log.warn(message, stream=self.stream, rendition=rendition, reason=reason)
            self._rungs[rendition].shed()

    def source_refused(self, reason: str) -> None:
        self.refuse(reason)

    # The end

    def end_feeds(self, *, is_cut: bool) -> None:
        """End the push for its viewers; with ``is_cut`` they find it at another ingest."""
        for push in self._feeds:
            (self.services.cut_feed if is_cut else self.services.end_feed)(push.feed)

    def close_transcoder(self) -> None:
        if self._transcode is not None:
            self._transcode.close()

    def close(self) -> None:
        """Drop the references to the broadcast, which is over, so that it is freed without garbage collection."""
        self.close_transcoder()
        for rendition in self._all():
            rendition.close()
        self.submit = self.refuse = self._first.submit = _discard

    # Inside: the mode of the source

    def _settle(self) -> list[Cut]:
        """Decide what HLS gets of the source, once that can be decided; return the cuts that are due with it."""
        planner = self.planner
        mode = planner.proposal
        if mode is None and self.settings.source == SourceMode.ENCODE.value and planner.current is not None:
            mode = SourceMode.ENCODE
        if mode is None:
            return []
        if mode is SourceMode.ENCODE and self._encoded is None:
            mode = SourceMode.PASS
        elif mode is SourceMode.ENCODE and self._transcode is not None and self._transcode.lag_ms > MAX_LAG_MS:
            self.log.warn("{stream}: the transcoder is too slow to encode the source too", stream=self.stream)
            mode = SourceMode.PASS
        self._set_mode(mode)
        return planner.settle(mode)

    def _set_mode(self, mode: SourceMode) -> None:
        self.log.info("{stream}: HLS has the source {how}", stream=self.stream, how=HOW[mode])
        if mode is SourceMode.ENCODE:
            assert self._passed is not None
            self._passed.is_held = True
        else:
            self._drop_encoded()

    def _settle_at_end(self) -> bool:
        """Decide the mode, since the publisher leaves before that was possible; return whether anything is kept."""
        planner = self.planner
        if planner.current is not None and planner.end_ms - planner.current.pts_ms < SHORT_TRY_MS:
            planner.forget()
            for rendition in self._all():
                rendition.forget()
            return False
        if planner.current is not None:
            mode = SourceMode.PASS if self._encoded is None else SourceMode.ENCODE
            self._set_mode(mode)
            self._cut(planner.settle(mode), None)
        return True

    def _drop_encoded(self) -> None:
        """Pass the source from now on."""
        self._encoded = None
        if self._transcode is not None and self._rungs:
            self._transcode.keep(list(self._rungs))
        else:
            self.close_transcoder()
            self._transcode = None

    def _drop_passed(self) -> None:
        """The encoded source has begun, and the one as it came is not needed any more."""
        if self._passed is not None and self._encoded is not None and self._encoded.has_begun:
            self._passed.close()
            self._passed = None

    def _pass_source(self, reason: str) -> None:
        """The source is not encoded any more: continue with its frames as they come."""
        if self._encoded is None:
            return
        message = "{stream}: HLS has the source as it comes from now on: {reason}"
        self.log.warn(message, stream=self.stream, reason=reason)
        encoded = self._encoded
        self._drop_encoded()
        self.planner.mode = SourceMode.PASS
        if self._passed is not None:
            self._passed.release()
            return
        self._passed = encoded
        encoded.segmenter.pass_source()
        self.planner.interrupt()
        for config in (self._video_config, self._audio_config):
            if config is not None:
                encoded.add(config)

    # Inside: slates

    def _slate(self, config: VideoConfig | None) -> Slate | None:
        """The slate that can stand in for pictures of this configuration, if there is one already."""
        shape = slate_shape(config)
        return None if shape is None else self.services.slate(shape)

    def _set_slates(self) -> None:
        """Give every rendition its slate; this also has those encoded that are asked for the first time."""
        slates = [self._slate(rendition.segmenter.shown) for rendition in self._all()]
        for rendition, slate in zip(self._all(), slates, strict=True):
            rendition.segmenter.slate = slate
        self.planner.has_slate = any(slates)

    # Inside: segments

    def _cut(self, cuts: Sequence[Cut], frame: Frame | None) -> None:
        self._set_slates()
        for cut in cuts:
            if frame is not None:
                self.begun_at[cut.msn] = frame.arrived
                self.begun_at.pop(cut.msn - 16, None)
            for rendition in self._all():
                rendition.cut(cut)
        if self._passed is not None and self._passed.held_segments > MAX_HELD_SEGMENTS:
            self._pass_source("the transcoder is late")
        if cuts:
            self._measure(cuts[-1].pts_ms)
            self._cut_due_ms = cuts[-1].pts_ms

    def _measure(self, at_ms: int) -> None:
        """Tell the transcoder the rate of the source's video since it was measured last."""
        length_ms, size = at_ms - self._measured_ms, self._video_bytes
        self._measured_ms, self._video_bytes = at_ms, 0
        if self._transcode is not None and length_ms >= MEASURED_MS and size:
            self._transcode.source_kbps(size * 8 // length_ms)

    def _closed(self, end_ms: int | None) -> None:
        if end_ms is not None:
            for rendition in self._transcoded():
                rendition.finish(end_ms)
        if self._encoded is not None and not self._encoded.has_begun and end_ms is not None:
            self._pass_source("the transcoder has produced nothing")
        self._first.release()

    def _announce(self, segment: UnnumberedSegment) -> None:
        self._first.add(segment, self._transcoded())

    def _feed_transcoder(self, transcode: Transcode, frame: Frame) -> None:
        """Feed a frame to the rungs: AAC as it is, anything else through the transcoder."""
        if frame.codec is Codec.AAC:
            self._add_audio(frame)
            return
        cut_ms = None
        if frame.codec.track is VIDEO and not frame.is_config:
            self._video_bytes += len(frame.body)
            if self.planner.mode is None:
                self._cut_due_ms = self._possible_cut(frame)
            cut_ms, self._cut_due_ms = self._cut_due_ms, None
        transcode.feed(frame, cut_ms)

    def _possible_cut(self, frame: Frame) -> int | None:
        """Where a segment may turn out to begin, once the mode is decided."""
        current = self.planner.current
        if frame.is_key or current is None:
            return frame.pts_ms if frame.is_key else self._cut_due_ms
        due_ms = current.pts_ms + self.settings.segment_s * 1000
        if self._hinted_ms < due_ms <= frame.pts_ms + CUT_TOLERANCE_MS:
            self._hinted_ms = due_ms
            return due_ms
        return None

    def _add_audio(self, frame: Frame) -> None:
        for rendition in self._transcoded():
            rendition.add_audio(frame)

    def _freeze_silent(self, frame: Frame) -> None:
        """Feed the push in place of the tracks that send nothing."""
        if frame.dts_ms >= self._silent_until_ms:
            self._silent_until_ms = frame.dts_ms + FREEZE_EVERY_MS
            for push in self._feeds:
                push.freeze(frame.dts_ms, self._silent)

    def _release(self) -> None:
        if self._transcode is None:
            return
        self._drop_passed()
        times = [each.segmenter.complete_before_ms for each in self._transcoded() if not each.segmenter.is_shed]
        known = [time for time in times if time is not None]
        if known:
            self._transcode.release(min(known))

    # Inside: the ladder

    def _configure(self, frame: Frame) -> None:
        if frame.codec.track is VIDEO:
            if self._video_config is not None and self._video_config.data != frame.data:
                self._frame_rate.reset()
            self._video_config = frame
            self._set_ladder(frame)
        else:
            self._audio_config = frame

    def _set_ladder(self, frame: Frame) -> None:
        config = parse_config(frame)
        height = 0
        if isinstance(config, VideoConfig):
            height = min(config.width, config.height)
            self._frame_rate.hint = config.pictures.frame_rate
        names = list(self.services.rungs(height)) if height else []
        given_up = {name for name, rung in self._rungs.items() if rung.segmenter.is_shed}
        names = [name for name in names if name not in given_up]
        encodes = height > 0 and self.planner.mode is not SourceMode.PASS
        if set(names) == self._rungs.keys() - given_up and encodes == (self._encoded is not None):
            return
        if self._transcode is not None:
            self.replaced_transcoders += 1
        self.close_transcoder()
        self._transcode = None
        for name, rung in self._rungs.items():
            if name not in names:
                rung.shed()
        for name in names:
            if name not in self._rungs:
                self._rungs[name] = self._rendition(name, is_passed=False)
        if encodes and self._encoded is None:
            self._encoded = self._rendition(SOURCE, is_passed=False)
        if encodes:
            names = [SOURCE, *names]
        if names:
            self._transcode = self.services.transcoder(self.stream, names, height, self)
        if self._audio_config is not None and self._transcode is not None:
            self._feed_transcoder(self._transcode, self._audio_config)

    def _transcoded(self) -> list[Rendition]:
        rungs = list(self._rungs.values())
        return rungs if self._encoded is None else [self._encoded, *rungs]

    def _all(self) -> list[Rendition]:
        return [*([] if self._passed is None else [self._passed]), *self._transcoded()]

    def _open_feed(self, name: str) -> PushFeed:
        push = PushFeed(self.services.open_feed(self.stream, name, self.number))
        self._feeds.append(push)
        return push

    def _rendition(self, name: str, *, is_passed: bool) -> Rendition:
        push = None if name == SOURCE else self._open_feed(name)
        segment_ms = self.settings.segment_s * 1000
        rates = RateMeter(segment_ms, max(SPAN_MS, self.settings.window * segment_ms))
        segmenter = Segmenter(name, is_passed, rates=rates, frame_rate=self._frame_rate)
        return Rendition(self.stream, self.number, segmenter, push, self.services.store, self._announce)


def _discard(_: object) -> None:
    """Replaces what a broadcast was told of, once it is over."""

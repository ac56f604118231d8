"""A broadcast, one live run of a stream: a publisher's messages in, every rendition's segments and frames out."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import ClassVar

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livestream.ingest.rendition import Rendition
from livestream.ingest.segment_numbering import UnnumberedSegment
from livestream.ingest.services import BroadcastServices, BroadcastSettings, Transcode
from livestream.ingest.writer import Writer
from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.errors import MediaError, OversizedPicture, UnsupportedCodec
from livestream.media.flv import VIDEO as VIDEO_TAG
from livestream.media.flv import parse_audio, parse_video
from livestream.media.parameter_sets import ParameterSets
from livestream.media.timeline import Timeline
from livestream.metrics import Metrics
from livestream.model.frames import AUDIO, VIDEO, Codec, Frame
from livestream.model.names import SOURCE
from livestream.model.segments import PublisherChange
from livestream.net.log_summary import LogSummary
from livestream.packaging.cuts import CutPlanner
from livestream.packaging.segmenter import Segmenter

SEGMENT_STEPS = 10_000
"""The cost of a segment, which limits a publisher to four segments a second."""
CONFIG_STEPS = 200
"""The cost of parsing a decoder configuration, for every rendition, or a new parameter set: half a millisecond."""
UNUSABLE = "{stream}: {count} invalid messages in the last {seconds} s, such as: {error}"
MAX_HELD_FRAMES = 2_000
"""How many frames of a returned publisher may wait until the transcoder is flushed."""
MIN_GAP_MS = 1_000
"""A shorter absence leaves no gap, since the next segment comes soon enough."""


class BroadcastPhase(Enum):
    """The phase of a broadcast's life."""

    LIVE = "the publisher is connected"
    CLOSING = "the publisher has left, and the transcoder is being flushed"
    ABSENT = "the publisher has left, and may return"
    ENDED = "the broadcast is over"


LIVE = BroadcastPhase.LIVE


@define(eq=False)
class Broadcast:
    """
    Lasts from its first publisher to ``grace_s`` after its last; ``ended`` is then called with it.

    ``number`` identifies it on the stream's timelines and in object names. ``open_writer`` makes its `Writer`;
    ``publisher_changed`` tells the other ingests that its publisher has left or returned; ``displaced`` is called when
    it replaces a publisher at another ingest; ``seconds`` is the wall clock.
    """

    stream: str
    number: int
    settings: BroadcastSettings
    services: BroadcastServices
    clock: IReactorTime
    seconds: Callable[[], float]
    metrics: Metrics
    ended: Callable[[Broadcast], None]
    open_writer: Callable[[Broadcast], Writer]
    displaced: Callable[[str], None]
    publisher_changed: Callable[[PublisherChange], None]
    phase: BroadcastPhase = field(default=BroadcastPhase.LIVE, init=False)
    is_given_up: bool = field(default=False, init=False)
    """Whether another ingest continues the stream."""
    writer: Writer = field(init=False)
    _timeline: Timeline = field(factory=Timeline, init=False)
    _parameter_sets: ParameterSets = field(factory=ParameterSets, init=False)
    _refusal: str = field(default="", init=False)
    """Why the current publisher's media is refused, as a message for the broadcaster; empty if it is not."""
    _planner: CutPlanner = field(init=False)
    _source: Rendition = field(init=False)
    _rungs: dict[str, Rendition] = field(factory=dict, init=False)
    _transcode: Transcode | None = field(default=None, init=False)
    _held: list[Frame] = field(factory=list, init=False)
    _is_publisher_gone: bool = field(default=False, init=False)
    _changes: int = field(default=0, init=False)
    _calls: list[IDelayedCall] = field(factory=list, init=False)
    _begun_at: dict[int, float] = field(factory=dict, init=False)
    _audio_config: Frame | None = field(default=None, init=False)
    _silent_since: float = field(default=0.0, init=False)
    _unusable: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._planner = CutPlanner(self.settings.segment_s, 0, 0)
        self._source = self._rendition(SOURCE)
        self._unusable = LogSummary(self.log, UNUSABLE, self.clock)
        self.writer = self.open_writer(self)

    # Called by the writer (a `WriterOwner`)

    def displaced_publisher(self) -> None:
        self.displaced(self.stream)

    def writing_began(self) -> None:
        if self._is_publisher_gone:
            self._notify_change()

    def wants_to_write(self) -> bool:
        return self.phase is LIVE

    # Called by the publisher's connection

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        """
        Process one message; return the steps of work beyond the usual (see `livestream.net.rtmp.read_budget`).

        :raises UnsupportedCodec: it cannot be served; the message is for the broadcaster.
        """
        steps, sets = 0, self._parameter_sets
        known = sets.reads
        try:
            if self._refusal:
                raise OversizedPicture(self._refusal)
            frame = self._parse(type_id, timestamp_ms, body)
            if frame is None:
                return 0
            if self.phase is LIVE:
                steps = self._process(frame)
            elif self.phase is not BroadcastPhase.ENDED and len(self._held) < MAX_HELD_FRAMES:
                self._held.append(frame)
        except OversizedPicture:
            self.metrics.limit_hit("picture_size")
            raise
        except UnsupportedCodec:
            raise
        except MediaError as error:
            self._drop_invalid(error)
        return steps + CONFIG_STEPS * (sets.reads - known)

    def left(self, reason: str) -> None:
        """The publisher has left."""
        self._is_publisher_gone = True
        if self.phase is BroadcastPhase.LIVE:
            self._close(reason)
        self._notify_change()

    def returned(self) -> None:
        """A publisher is connected, for the first time or again."""
        self._is_publisher_gone = False
        self._refusal = ""
        self.writer.resume()
        if self.phase is BroadcastPhase.ABSENT:
            self._fill_absence()
            self._resume()
        self._notify_change()

    def stop(self) -> None:
        """The process ends. The broadcast is not announced as over, since another process may continue it."""
        self._cancel()
        self.phase = BroadcastPhase.ENDED
        self.writer.close()
        if self._transcode is not None:
            self._transcode.close()

    def give_up(self, epoch: int, *, commit: bool) -> None:
        """
        Another ingest continues the stream in this epoch.

        What was received is still cut and announced. With ``commit``, every segment that was numbered here is
        committed, since the other ingest counts them. Push viewers are cut off, and find the stream there.
        """
        self.log.info("{stream}: the broadcast continues at another ingest", stream=self.stream)
        self._is_publisher_gone = self.is_given_up = True
        if self.phase is LIVE:
            self._close("the broadcast continues at another ingest")
        self.writer.fence(epoch, commit=commit)
        for rendition in self._renditions():
            self.services.cut_feed(rendition.feed)
        if self.phase is BroadcastPhase.ABSENT:
            self._end()

    # Called by the transcoder (a `RungSink`)

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        if rendition == "audio":
            for rung in self._rungs.values():
                rung.add_audio(frame)
        elif rendition in self._rungs:
            self._rungs[rendition].add_video(frame)
        self._release()

    def rung_restarted(self, from_dts_ms: int) -> None:
        for rung in self._rungs.values():
            rung.restart()

    def rung_shed(self, rendition: str, reason: str) -> None:
        self.log.warn(
            "{stream}/{rendition} is dropped: {reason}", stream=self.stream, rendition=rendition, reason=reason
        )
        if rendition in self._rungs:
            self._rungs[rendition].shed()

    def source_refused(self, reason: str) -> None:
        """Refuse the publisher's next message for this reason."""
        self._refusal = reason

    # Inside

    def _notify_change(self) -> None:
        """Tell the other ingests whether the publisher is connected, once they can know the broadcast."""
        if self.writer.last is not None and not self.is_given_up:
            self._changes += 1
            epoch, msn = self.writer.last
            self.publisher_changed(PublisherChange(self.stream, epoch, self._changes, not self._is_publisher_gone, msn))

    def _parse(self, type_id: int, timestamp_ms: int, body: bytes) -> Frame | None:
        is_video = type_id == VIDEO_TAG
        dts_ms, is_jump = self._timeline.place(VIDEO if is_video else AUDIO, timestamp_ms)
        if is_jump and self.phase is BroadcastPhase.LIVE:
            self.metrics.discontinuities.labels("jump").inc()
            self._planner.interrupt()
        frame = (parse_video if is_video else parse_audio)(dts_ms, body, self.seconds())
        if frame is None:
            return None
        if frame.is_config:
            parse_config(frame)
        elif is_video and frame.is_key:
            self._parameter_sets.before_slices(frame)
        return frame

    def _resume(self) -> None:
        self._cancel()
        self.phase = BroadcastPhase.LIVE
        held, self._held = self._held, []
        for frame in held:
            try:
                self._process(frame)
            except MediaError as error:
                self._drop_invalid(error)
        if self._is_publisher_gone:
            self._close("left")

    def _drop_invalid(self, error: MediaError) -> None:
        self.metrics.frames_dropped.labels("invalid").inc()
        self._unusable.note(stream=self.stream, error=str(error))

    def _process(self, frame: Frame) -> int:
        if frame.is_config:
            self._configure(frame)
        planner = self._planner
        cuts = planner.add(frame)
        for cut in cuts:
            self._begun_at[cut.msn] = frame.arrived
            for rendition in self._renditions():
                rendition.cut(cut)
        current = planner.current
        if current is not None and frame.dts_ms + frame.cts_ms < current.pts_ms and not frame.is_config:
            self._begun_at[current.msn] = frame.arrived  # an audio frame of the previous segment
        self._source.add(frame)
        if self._rungs:
            self._feed_ladder(frame, bool(cuts))
        return SEGMENT_STEPS * len(cuts) + CONFIG_STEPS * frame.is_config

    def _configure(self, frame: Frame) -> None:
        if frame.track is VIDEO:
            self._set_ladder(frame)
        else:
            self._audio_config = frame

    def _feed_ladder(self, frame: Frame, is_cut: bool) -> None:
        """Feed a frame to the rungs: AAC as it is, anything else through the transcoder."""
        if frame.codec is Codec.AAC:
            for rung in self._rungs.values():
                rung.add_audio(frame)
        elif self._transcode is not None:
            self._transcode.feed(frame, is_cut)

    def _set_ladder(self, frame: Frame) -> None:
        config = parse_config(frame)
        names = self.services.rungs(min(config.width, config.height)) if isinstance(config, VideoConfig) else ()
        given_up = {name for name, rung in self._rungs.items() if rung.segmenter.is_shed}
        names = [name for name in names if name not in given_up]
        if set(names) == self._rungs.keys() - given_up:
            return
        if self._transcode is not None:
            self._transcode.close()
            self._transcode = None
        for name, rung in self._rungs.items():
            if name not in names:
                rung.shed()
        for name in names:
            if name not in self._rungs:
                self._rungs[name] = self._rendition(name)
        if names:
            self._transcode = self.services.transcoder(self.stream, names, self)
        if self._audio_config is not None:
            self._feed_ladder(self._audio_config, False)

    def _renditions(self) -> list[Rendition]:
        return [self._source, *self._rungs.values()]

    def _rendition(self, name: str) -> Rendition:
        feed = self.services.open_feed(self.stream, name, self.number)
        return Rendition(self.stream, self.number, Segmenter(name), feed, self.services.store, self._submit)

    def _release(self) -> None:
        if self._transcode is None:
            return
        times = [r.segmenter.complete_before_ms for r in self._rungs.values() if not r.segmenter.is_shed]
        known = [time for time in times if time is not None]
        if known:
            self._transcode.release(min(known))

    def _submit(self, segment: UnnumberedSegment) -> None:
        assert self._planner.target_s is not None
        index = segment.cut.msn
        self.metrics.segments.labels("media" if segment.store else "gap").inc()
        following = self._begun_at.get(index + 1)
        if following is not None:
            self.metrics.announce_delay.observe(max(self.seconds() - following, 0))
            self._begun_at.pop(index - 8, None)
        self.writer.submit(evolve(segment, target_s=self._planner.target_s))

    # Absence of the publisher

    def _close(self, reason: str) -> None:
        """Close the source's last segment now, and those of the rungs once the transcoder is flushed."""
        self.log.info("{stream}: publisher disconnected: {reason}", stream=self.stream, reason=reason)
        self.phase = BroadcastPhase.CLOSING
        end_ms = self._planner.finish()
        if end_ms is not None:
            self._source.finish(end_ms)
        if self._transcode is None:
            self._closed(end_ms)
        else:
            self._transcode.flush().addBoth(lambda _: self._closed(end_ms))

    def _closed(self, end_ms: int | None) -> None:
        if self.phase is not BroadcastPhase.CLOSING:
            return
        self.phase = BroadcastPhase.ABSENT
        self._silent_since = self.clock.seconds()
        if end_ms is not None:
            for rung in self._rungs.values():
                rung.finish(end_ms)
        self._timeline.resume(max(self._timeline.newest_ms, self._planner.end_ms))
        if self.is_given_up:
            self._end()
            return
        if not self._is_publisher_gone:
            self._resume()
            return
        self._calls.append(self.clock.callLater(self.settings.grace_s, self._end))
        if self._planner.target_s is not None:
            self._calls.append(self.clock.callLater(self._planner.target_s, self._gap_due))

    def _gap_due(self) -> None:
        """Add a gap, since a target duration has passed without media."""
        assert self._planner.target_s is not None
        self._add_gap(self._planner.target_s * 1000)
        self._calls.append(self.clock.callLater(self._planner.target_s, self._gap_due))

    def _fill_absence(self) -> None:
        """Add a gap for the time since the last segment or gap, since the publisher has returned."""
        absent_ms = round((self.clock.seconds() - self._silent_since) * 1000)
        if self._planner.target_s is not None and absent_ms >= MIN_GAP_MS:
            self._add_gap(absent_ms)

    def _add_gap(self, duration_ms: int) -> None:
        self._silent_since = self.clock.seconds()
        if not self.writer.may_fill_gaps:
            return
        cut, duration_ms = self._planner.gap(duration_ms)
        for rendition in self._renditions():
            rendition.gap(cut, duration_ms)
        self._timeline.resume(self._planner.end_ms)

    def _end(self) -> None:
        self._cancel()
        self.phase = BroadcastPhase.ENDED
        if self._transcode is not None:
            self._transcode.close()
        if not self.is_given_up:
            self.writer.end()
            for rendition in self._renditions():
                self.services.end_feed(rendition.feed)
        for rendition in self._renditions():
            rendition.close()
        self.log.info("{stream}: broadcast ended here", stream=self.stream)
        self.ended(self)

    def _cancel(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()

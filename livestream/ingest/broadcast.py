"""One live run of a stream: a publisher's messages in, every rendition's segments and frames out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livestream.ingest.numbers import Numberless
from livestream.ingest.rendition import Feed, Rendition, Shelf
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
from livestream.packaging.segmenter import Packager

SEGMENT_STEPS = 10_000
"""A segment is so much work that a publisher's segments are read at four a second at most."""
CONFIG_STEPS = 200
"""A decoder configuration is read for every rendition, and so is a new parameter set once: half a millisecond."""
UNUSABLE = "{stream}: {count} messages of the last {seconds} s could not be used, such as: {error}"
HELD_FRAMES = 2_000
"""So many frames of a publisher who has returned wait at most for what the transcoder still holds."""
SHORTEST_GAP_MS = 1_000
"""A publisher who was away for less than this leaves no gap: the next segment comes soon enough."""


class Phase(Enum):
    """Where a broadcast is in its life."""

    LIVE = "its publisher is here"
    CLOSING = "what its transcoder still holds is coming out"
    ABSENT = "its publisher has gone, and may come back"
    ENDED = "over"


LIVE = Phase.LIVE


@frozen
class BroadcastSettings:
    """``heights`` are those of the ladder, highest first; an absent publisher is waited for ``grace_s`` seconds."""

    segment_s: int
    grace_s: float
    heights: Sequence[int]


class Transcode(Protocol):
    """A transcoder that works for one broadcast."""

    def feed(self, frame: Frame, is_cut: bool) -> None: ...
    def release(self, before_pts_ms: int) -> None:
        """Segments that begin before this time are out: their frames will not be needed again."""

    def flush(self) -> Deferred[None]:
        """Fires when all that was fed has come out."""

    def close(self) -> None: ...


class Site(Protocol):
    """What a broadcast finds around it."""

    @property
    def shelf(self) -> Shelf: ...
    def open_feed(self, stream: str, rendition: str, number: int) -> Feed: ...
    def end_feed(self, feed: Feed) -> None: ...
    def cut_feed(self, feed: Feed) -> None:
        """Another ingest has the broadcast: whoever watches this is to find it there."""

    def transcoder(self, stream: str, rungs: Sequence[str], sink: Broadcast) -> Transcode: ...
    def rungs(self, height: int) -> Sequence[str]:
        """The names of the rungs below a source of this height."""


@define(eq=False)
class Broadcast:
    """
    Lives from its first publisher to ``grace_s`` after its last; ``ended`` is then called with it.

    ``number`` tells it from all others, on this stream's time lines and in its objects' names. ``open_writer`` has the
    stream taken for it; ``publisher_changed`` tells the other ingests that its publisher has left, or is here again;
    ``seconds`` is the wall clock.
    """

    stream: str
    number: int
    settings: BroadcastSettings
    site: Site
    clock: IReactorTime
    seconds: Callable[[], float]
    metrics: Metrics
    ended: Callable[[Broadcast], None]
    open_writer: Callable[[Broadcast], Writer]
    displaced: Callable[[str], None]
    publisher_changed: Callable[[PublisherChange], None]
    phase: Phase = field(default=Phase.LIVE, init=False)
    is_given_up: bool = field(default=False, init=False)
    """Whether another ingest goes on with the stream."""
    writer: Writer = field(init=False)
    _timeline: Timeline = field(factory=Timeline, init=False)
    _parameter_sets: ParameterSets = field(factory=ParameterSets, init=False)
    _refusal: str = field(default="", init=False)
    """Why no more media is taken of the publisher who is here, in words for the broadcaster."""
    _planner: CutPlanner = field(init=False)
    _source: Rendition = field(init=False)
    _rungs: dict[str, Rendition] = field(factory=dict, init=False)
    _transcode: Transcode | None = field(default=None, init=False)
    _held: list[Frame] = field(factory=list, init=False)
    _is_left: bool = field(default=False, init=False)
    _changes: int = field(default=0, init=False)
    _calls: list[IDelayedCall] = field(factory=list, init=False)
    _begun_at: dict[int, float] = field(factory=dict, init=False)
    _audio_config: Frame | None = field(default=None, init=False)
    _quiet_since: float = field(default=0.0, init=False)
    _unusable: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._planner = CutPlanner(self.settings.segment_s, 0, 0)
        self._source = self._rendition(SOURCE)
        self._unusable = LogSummary(self.log, UNUSABLE, self.clock)
        self.writer = self.open_writer(self)

    # What its writer asks and tells

    def displaced_another(self) -> None:
        self.displaced(self.stream)

    def begun(self) -> None:
        if self._is_left:
            self._tell_change()

    def wants_to_write(self) -> bool:
        return self.phase is LIVE

    # What the publisher's connection tells

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        """
        Take one message; return the steps of work it cost beside the usual (see `livestream.net.rtmp.read_budget`).

        :raises UnsupportedCodec: it cannot be served, in words for the broadcaster.
        """
        steps, sets = 0, self._parameter_sets
        known = sets.reads
        try:
            if self._refusal:
                raise OversizedPicture(self._refusal)
            frame = self._read(type_id, timestamp_ms, body)
            if frame is None:
                return 0
            if self.phase is LIVE:
                steps = self._take(frame)
            elif self.phase is not Phase.ENDED and len(self._held) < HELD_FRAMES:
                self._held.append(frame)
        except OversizedPicture:
            self.metrics.limit_hit("picture_size")
            raise
        except UnsupportedCodec:
            raise
        except MediaError as error:
            self._left_out(error)
        return steps + CONFIG_STEPS * (sets.reads - known)

    def left(self, reason: str) -> None:
        """The publisher has gone."""
        self._is_left = True
        if self.phase is Phase.LIVE:
            self._close(reason)
        self._tell_change()

    def returned(self) -> None:
        """A publisher is here, for the first time or again."""
        self._is_left = False
        self._refusal = ""
        self.writer.go_on()
        if self.phase is Phase.ABSENT:
            self._fill_absence()
            self._go_on()
        self._tell_change()

    def stop(self) -> None:
        """The process ends: nobody is told that the broadcast is over, for another process may go on with it."""
        self._cancel()
        self.phase = Phase.ENDED
        self.writer.close()
        if self._transcode is not None:
            self._transcode.close()

    def give_up(self, epoch: int, *, shows: bool) -> None:
        """
        Another ingest goes on with the stream in this epoch, and counts what is given a number here, if it is shown.

        What has come is cut and announced before; whoever watches it live is to find it there.
        """
        self.log.info("{stream}: the broadcast goes on at another ingest", stream=self.stream)
        self._is_left = self.is_given_up = True
        if self.phase is LIVE:
            self._close("it goes on elsewhere")
        self.writer.fence(epoch, shows=shows)
        for rendition in self._renditions():
            self.site.cut_feed(rendition.feed)
        if self.phase is Phase.ABSENT:
            self._end()

    # What the transcoder tells

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        """A picture of a rung, or, of ``audio``, a sound for all of them."""
        if rendition == "audio":
            for rung in self._rungs.values():
                rung.add_sound(frame)
        elif rendition in self._rungs:
            self._rungs[rendition].add_picture(frame)
        self._release()

    def rung_restarted(self, from_dts_ms: int) -> None:
        for rung in self._rungs.values():
            rung.restart()

    def rung_shed(self, rendition: str, reason: str) -> None:
        self.log.warn(
            "{stream}/{rendition} is given up: {reason}", stream=self.stream, rendition=rendition, reason=reason
        )
        if rendition in self._rungs:
            self._rungs[rendition].shed()

    def source_refused(self, reason: str) -> None:
        """What the publisher sends cannot be decoded within the limits: it is told so with its next message."""
        self._refusal = reason

    # Inside

    def _tell_change(self) -> None:
        """Tell the other ingests whether the publisher is here, as soon as they can have heard of it at all."""
        if self.writer.last is not None and not self.is_given_up:
            self._changes += 1
            epoch, msn = self.writer.last
            self.publisher_changed(PublisherChange(self.stream, epoch, self._changes, not self._is_left, msn))

    def _read(self, type_id: int, timestamp_ms: int, body: bytes) -> Frame | None:
        is_video = type_id == VIDEO_TAG
        dts_ms, is_jump = self._timeline.place(VIDEO if is_video else AUDIO, timestamp_ms)
        if is_jump and self.phase is Phase.LIVE:
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

    def _go_on(self) -> None:
        self._cancel()
        self.phase = Phase.LIVE
        held, self._held = self._held, []
        for frame in held:
            try:
                self._take(frame)
            except MediaError as error:
                self._left_out(error)
        if self._is_left:
            self._close("left")

    def _left_out(self, error: MediaError) -> None:
        self.metrics.frames_dropped.labels("invalid").inc()
        self._unusable.note(stream=self.stream, error=str(error))

    def _take(self, frame: Frame) -> int:
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
            self._begun_at[current.msn] = frame.arrived  # a sound of the segment before
        self._source.add(frame)
        if self._rungs:
            self._climb(frame, bool(cuts))
        return SEGMENT_STEPS * len(cuts) + CONFIG_STEPS * frame.is_config

    def _configure(self, frame: Frame) -> None:
        if frame.track is VIDEO:
            self._set_ladder(frame)
        else:
            self._audio_config = frame

    def _climb(self, frame: Frame, is_cut: bool) -> None:
        """Give a frame to the rungs: AAC as it is, anything else through the transcoder."""
        if frame.codec is Codec.AAC:
            for rung in self._rungs.values():
                rung.add_sound(frame)
        elif self._transcode is not None:
            self._transcode.feed(frame, is_cut)

    def _set_ladder(self, frame: Frame) -> None:
        config = parse_config(frame)
        names = self.site.rungs(min(config.width, config.height)) if isinstance(config, VideoConfig) else ()
        given_up = {name for name, rung in self._rungs.items() if rung.packager.is_shed}
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
            self._transcode = self.site.transcoder(self.stream, names, self)
        if self._audio_config is not None:
            self._climb(self._audio_config, False)

    def _renditions(self) -> list[Rendition]:
        return [self._source, *self._rungs.values()]

    def _rendition(self, name: str) -> Rendition:
        feed = self.site.open_feed(self.stream, name, self.number)
        return Rendition(self.stream, self.number, Packager(name), feed, self.site.shelf, self._give)

    def _release(self) -> None:
        if self._transcode is None:
            return
        times = [r.packager.whole_before_ms for r in self._rungs.values() if not r.packager.is_shed]
        known = [time for time in times if time is not None]
        if known:
            self._transcode.release(min(known))

    def _give(self, segment: Numberless) -> None:
        assert self._planner.target_s is not None
        index = segment.cut.msn
        self.metrics.segments.labels("media" if segment.shelve else "gap").inc()
        following = self._begun_at.get(index + 1)
        if following is not None:
            self.metrics.announce_delay.observe(max(self.seconds() - following, 0))
            self._begun_at.pop(index - 8, None)
        self.writer.give(evolve(segment, target_s=self._planner.target_s))

    # The publisher's absence

    def _close(self, reason: str) -> None:
        """The source's last segment is whole now; those of the rungs are when the transcoder has nothing more."""
        self.log.info("{stream}: the publisher has gone: {reason}", stream=self.stream, reason=reason)
        self.phase = Phase.CLOSING
        end_ms = self._planner.finish()
        if end_ms is not None:
            self._source.finish(end_ms)
        if self._transcode is None:
            self._closed(end_ms)
        else:
            self._transcode.flush().addBoth(lambda _: self._closed(end_ms))

    def _closed(self, end_ms: int | None) -> None:
        if self.phase is not Phase.CLOSING:
            return
        self.phase = Phase.ABSENT
        self._quiet_since = self.clock.seconds()
        if end_ms is not None:
            for rung in self._rungs.values():
                rung.finish(end_ms)
        self._timeline.resume(max(self._timeline.newest_ms, self._planner.end_ms))
        if self.is_given_up:
            self._end()
            return
        if not self._is_left:
            self._go_on()
            return
        self._calls.append(self.clock.callLater(self.settings.grace_s, self._end))
        if self._planner.target_s is not None:
            self._calls.append(self.clock.callLater(self._planner.target_s, self._gap))

    def _gap(self) -> None:
        """A whole target duration has passed without media."""
        assert self._planner.target_s is not None
        self._skip(self._planner.target_s * 1000)
        self._calls.append(self.clock.callLater(self._planner.target_s, self._gap))

    def _fill_absence(self) -> None:
        """The publisher is here again: what has passed since the last segment or gap must not wait for the next."""
        absent_ms = round((self.clock.seconds() - self._quiet_since) * 1000)
        if self._planner.target_s is not None and absent_ms >= SHORTEST_GAP_MS:
            self._skip(absent_ms)

    def _skip(self, duration_ms: int) -> None:
        self._quiet_since = self.clock.seconds()
        if not self.writer.fills_gaps:
            return
        cut, duration_ms = self._planner.gap(duration_ms)
        for rendition in self._renditions():
            rendition.gap(cut, duration_ms)
        self._timeline.resume(self._planner.end_ms)

    def _end(self) -> None:
        self._cancel()
        self.phase = Phase.ENDED
        if self._transcode is not None:
            self._transcode.close()
        if not self.is_given_up:
            self.writer.end()
            for rendition in self._renditions():
                self.site.end_feed(rendition.feed)
        for rendition in self._renditions():
            rendition.close()
        self.log.info("{stream}: the broadcast is over here", stream=self.stream)
        self.ended(self)

    def _cancel(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()

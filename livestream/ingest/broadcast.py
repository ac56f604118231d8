"""A broadcast, one live run of a stream: a publisher's messages in, every rendition's segments and frames out."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import ClassVar

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livestream.ingest.renditions import Renditions
from livestream.ingest.segment_numbering import UnnumberedSegment
from livestream.ingest.services import AudioConversion, BroadcastServices, BroadcastSettings
from livestream.ingest.writer import Writer
from livestream.media.errors import MediaError, OversizedPicture, UnsupportedCodec
from livestream.media.left_out import LeftOut, LeftOutList, Reason
from livestream.media.source_reader import SourceReader
from livestream.metrics import Metrics
from livestream.model.frames import AUDIO, VIDEO, Codec, Frame
from livestream.model.segments import PublisherChange
from livestream.net.log_summary import LogSummary
from livestream.packaging.cuts import ALLOWED_MS, EARLY_MS, MIN_FREEZE_MS, SourceMode

SEGMENT_STEPS = 10_000
"""The cost of a segment, which limits a publisher to four segments a second."""
CONFIG_STEPS = 200
"""The cost of parsing a decoder configuration, for every rendition, or a new parameter set: half a millisecond."""
TRANSCODER_STEPS = 20_000
"""The cost of another transcoder, which limits a publisher whose pictures change their size to two a second; the first
change, like the first transcoder, keeps nobody waiting."""
UNUSABLE = "{stream}: {count} invalid messages in the last {seconds} s, such as: {error}"
LONG_SEGMENTS = (
    "the key frames are so far apart that HLS has segments of {length:.1f} s instead of {usual} s; set the keyframe "
    "interval of the encoder to {usual} s, or a half or third of that"
)
MAX_HELD_MESSAGES = 2_000
"""How many messages of a returned publisher may wait until the transcoder is flushed."""
FREEZE_S = 1.0
"""How often the push gets a key frame and silence while the publisher is away."""


def ignore(_: str) -> None:
    """Stands for a publisher that cannot be warned."""


class BroadcastPhase(Enum):
    """The phase of a broadcast's life."""

    LIVE = "the publisher sends media"
    CLOSING = "the publisher has left, and the transcoder is being flushed"
    ABSENT = "the publisher has left and may return, or has returned and not sent anything yet"
    ENDED = "the broadcast is over"


LIVE = BroadcastPhase.LIVE


@define(eq=False)
class Broadcast:
    """
    Lasts until its last publisher has been away for long enough; ``ended`` is then called with it.

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
    renditions: Renditions = field(init=False)
    left_out: LeftOutList = field(factory=LeftOutList, init=False)
    """What is not served of the current publisher's media, or of the last one's; :meth:`leave_out` adds to it."""
    _warn: Callable[[str], None] = field(default=ignore, init=False)
    _reader: SourceReader = field(init=False)
    _conversion: AudioConversion | None = field(default=None, init=False)
    """What makes AAC of the audio, if that was ever needed."""
    _unpaid_steps: int = field(default=0, init=False)
    """The work that converted audio made since the last message."""
    _owed_at_return_ms: int = field(default=0, init=False)
    """How much time had passed without media when the newest message of a returned publisher arrived."""
    _refusal: str = field(default="", init=False)
    """Why the current publisher's media is refused, as a message for the broadcaster; empty if it is not."""
    _held: list[tuple[int, int, bytes]] = field(factory=list, init=False)
    _is_publisher_gone: bool = field(default=False, init=False)
    _changes: int = field(default=0, init=False)
    _calls: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _covered_until: float = field(default=0.0, init=False)
    """Until when the segments cover the time, on the clock."""
    _ends_at: float = field(default=0.0, init=False)
    """When the broadcast ends, on the clock, if its publisher does not return."""
    _unusable: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self.renditions = Renditions(
            self.stream, self.number, self.settings, self.services, self._submit, self._refuse_source
        )
        self._reader = SourceReader(converts_audio=bool(self.settings.heights))
        self._unusable = LogSummary(self.log, UNUSABLE, self.clock)
        self.writer = self.open_writer(self)

    @property
    def has_publisher(self) -> bool:
        """Whether a publisher is connected here."""
        return not self._is_publisher_gone and self.phase is not BroadcastPhase.ENDED

    @property
    def source_mode(self) -> SourceMode | None:
        """What HLS gets of the source; ``None`` while it is not decided."""
        return self.renditions.source_mode

    def leave_out(self, item: LeftOut) -> None:
        """Report that something is not served, or not as it should be: only the first of its track and reason."""
        if self.left_out.add(item):
            self.metrics.left_out.labels(item.reason.value).inc()
            self.log.warn("{stream}, {track}: {text}", stream=self.stream, track=item.track.value, text=item.text)
            self._warn(f"{item.track.value}: {item.text}")

    # Called by the writer (a `WriterOwner`)

    def displaced_publisher(self) -> None:
        self.displaced(self.stream)

    def writing_began(self) -> None:
        if self._is_publisher_gone:
            self._notify_change()

    def wants_to_write(self) -> bool:
        return self.has_publisher

    # Called by the publisher's connection

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        """
        Process one message; return the steps of work beyond the usual (see `livestream.net.rtmp.read_budget`).

        :raises UnsupportedCodec: it cannot be served; the message is for the broadcaster.
        """
        (steps, self._unpaid_steps), sets = (self._unpaid_steps, 0), self._reader.sets
        known = sets.reads
        try:
            if self._refusal:
                raise OversizedPicture(self._refusal)
            if self.phase is BroadcastPhase.CLOSING:
                if len(self._held) < MAX_HELD_MESSAGES:
                    self._held.append((type_id, timestamp_ms, body))
                return steps
            if self.phase is BroadcastPhase.ABSENT:
                self._owed_at_return_ms = self._owed_ms
                self._reader.resume(self.renditions.planner.end_ms + max(self._owed_at_return_ms, 0))
            for frame in self._reader.read(type_id, timestamp_ms, body, self.seconds()):
                steps += self._process(frame)
            if self._reader.left_out:
                self._take_left_out()
        except OversizedPicture:
            self.metrics.limit_hit("picture_size")
            raise
        except UnsupportedCodec:
            raise
        except MediaError as error:
            self._drop_invalid(error)
        return steps + CONFIG_STEPS * (sets.reads - known)

    def left(self, reason: str, *, is_over: bool = False) -> None:
        """The publisher has left; with ``is_over`` it has said that it ends the broadcast."""
        self._is_publisher_gone, self._warn = True, ignore
        self._ends_at = self.clock.seconds() + (self.settings.end_s if is_over else self.settings.grace_s)
        if self.phase is BroadcastPhase.LIVE:
            self._close(reason)
        elif self.phase is BroadcastPhase.ABSENT:
            self._call("end", self._ends_at - self.clock.seconds(), self._end)
        self._notify_change()

    def arrived(self, warn: Callable[[str], None]) -> None:
        """A publisher is connected, which ``warn`` tells what of its media is not served."""
        self._warn = warn
        self.left_out.clear()
        self._reader.restart()

    def returned(self) -> None:
        """A publisher is connected again."""
        self._is_publisher_gone = False
        self._refusal = ""
        self._cancel("end")
        self.writer.resume()
        self._notify_change()

    def stop(self) -> None:
        """The process ends. The broadcast is not announced as over, since another process may continue it."""
        self._cancel_all()
        self.phase = BroadcastPhase.ENDED
        self.writer.close()
        self._close_conversion()
        self.renditions.close_transcoder()

    def give_up(self, epoch: int, *, commit: bool) -> None:
        """
        Another ingest continues the stream in this epoch.

        What was received is still cut and announced. With ``commit``, every segment that was numbered here is
        committed, since the other ingest counts them. Push viewers are cut off, and find the stream there.
        """
        self.log.info("{stream}: the broadcast continues at another ingest", stream=self.stream)
        self._is_publisher_gone = self.is_given_up = True
        if self._conversion is not None:
            self._conversion.close()
        if self.phase is LIVE:
            self._close("the broadcast continues at another ingest")
        self.writer.fence(epoch, commit=commit)
        self.renditions.end_feeds(is_cut=True)
        if self.phase is BroadcastPhase.ABSENT:
            self._end()

    # Inside

    def _notify_change(self) -> None:
        """Tell the other ingests whether the publisher is connected, once they can know the broadcast."""
        if self.writer.last is not None and not self.is_given_up:
            self._changes += 1
            epoch, msn = self.writer.last
            self.publisher_changed(PublisherChange(self.stream, epoch, self._changes, not self._is_publisher_gone, msn))

    def _drop_invalid(self, error: MediaError) -> None:
        self.metrics.frames_dropped.labels("invalid").inc()
        self._unusable.note(stream=self.stream, error=str(error))

    def _take_left_out(self) -> None:
        for item in self._reader.left_out:
            self.metrics.frames_dropped.labels("left_out").inc()
            self.leave_out(item)
        self._reader.left_out.clear()

    def _process(self, frame: Frame) -> int:
        if not frame.is_config:
            if self.phase is BroadcastPhase.ABSENT:
                self._media_returned()
            if frame is self._reader.jumped_at:
                self.metrics.discontinuities.labels("jump").inc()
                self.renditions.planner.interrupt()
            elif frame is self._reader.changed_at:
                self.renditions.planner.interrupt()
            self._covered_until = self.clock.seconds()
        if frame.codec is Codec.OTHER_AUDIO:
            self._convert(frame)
            return CONFIG_STEPS * frame.is_config
        return self._add(frame)

    def _add(self, frame: Frame) -> int:
        """Add a frame of the publisher's, or one that was made of its audio."""
        renditions, replaced = self.renditions, self.renditions.replaced_transcoders
        steps = SEGMENT_STEPS * renditions.add(frame) + CONFIG_STEPS * frame.is_config
        return steps + TRANSCODER_STEPS * (renditions.replaced_transcoders - replaced)

    def _convert(self, frame: Frame) -> None:
        """Have AAC made of a frame."""
        if self._conversion is None:
            self.log.info("{stream}: its audio is converted to AAC", stream=self.stream)
            self._conversion = self.services.audio_conversion(self.stream, self._add_converted, self._lose_audio)
        self._conversion.feed(frame)

    def _add_converted(self, frame: Frame) -> None:
        try:
            self._unpaid_steps += self._add(frame)
        except MediaError as error:
            self._drop_invalid(error)

    def _close_conversion(self) -> None:
        conversion, self._conversion = self._conversion, None
        if conversion is not None:
            conversion.close()

    def _lose_audio(self, reason: str) -> None:
        """The audio cannot be converted any more."""
        self.leave_out(LeftOut(AUDIO, Reason.CODEC, f"it cannot be converted to AAC: {reason}"))

    def _refuse_source(self, reason: str) -> None:
        """Refuse the publisher's next message for this reason."""
        self._refusal = reason

    def _submit(self, segment: UnnumberedSegment) -> None:
        target_s, begun_at = self.renditions.planner.target_s, self.renditions.begun_at
        assert target_s is not None
        kind = "gap" if segment.store is None else "freeze" if segment.cut.absence_ms else "media"
        self.metrics.segments.labels(kind).inc()
        if kind == "media" and self.source_mode is SourceMode.PASS:
            self._check_length(segment.duration_ms)
        following = begun_at.get(segment.cut.msn + 1)
        if following is not None:
            self.metrics.announce_delay.observe(max(self.seconds() - following, 0))
        self.writer.submit(evolve(segment, target_s=target_s))

    def _check_length(self, duration_ms: int) -> None:
        usual_s = self.settings.segment_s
        if duration_ms > usual_s * 1000 + ALLOWED_MS + EARLY_MS:
            text = LONG_SEGMENTS.format(length=duration_ms / 1000, usual=usual_s)
            self.leave_out(LeftOut(VIDEO, Reason.KEY_FRAMES, text))

    # Absence of the publisher

    def _close(self, reason: str) -> None:
        """Close the source's last segment now, and those of the rungs once the transcoder is flushed."""
        self.log.info("{stream}: publisher disconnected: {reason}", stream=self.stream, reason=reason)
        self.phase = BroadcastPhase.CLOSING
        if self._conversion is None:
            self._finish()
        else:
            self._conversion.flush().addCallback(lambda _: self._finish())

    def _finish(self) -> None:
        self.renditions.finish().addBoth(lambda _: self._closed())

    def _closed(self) -> None:
        if self.phase is not BroadcastPhase.CLOSING:
            return
        self.phase = BroadcastPhase.ABSENT
        if self.is_given_up:
            self._end()
            return
        if self._is_publisher_gone:
            self._call("end", self._ends_at - self.clock.seconds(), self._end)
        target_s = self.renditions.planner.target_s
        if target_s is not None:
            self._call("freeze", target_s - self._owed_ms / 1000, self._freeze)
        self._call("push", FREEZE_S, self._freeze_push)
        held, self._held = self._held, []
        for message in held:
            try:
                self.media(*message)
            except UnsupportedCodec as error:
                self._refusal = str(error)
        if held and self._is_publisher_gone and self.phase is LIVE:
            self._close("left")

    @property
    def _owed_ms(self) -> int:
        """How much time has passed since media arrived, but for what is dated later, or was added since."""
        undated_ms = round(self.seconds() * 1000) - self.renditions.planner.ends_at_ms
        return min(round((self.clock.seconds() - self._covered_until) * 1000), undated_ms)

    def _freeze(self) -> None:
        """Add a segment, since a target duration has passed without media."""
        target_s = self.renditions.planner.target_s
        assert target_s is not None
        self._add_absence(target_s * 1000)
        self._call("freeze", target_s - self._owed_ms / 1000, self._freeze)

    def _freeze_push(self) -> None:
        self._call("push", FREEZE_S, self._freeze_push)
        if self.writer.may_freeze:
            self.renditions.freeze_push(self.renditions.planner.end_ms + self._owed_ms)

    def _media_returned(self) -> None:
        """Add a segment for the time since the last one, since there is media again."""
        self._cancel_all()
        self.phase = LIVE
        self._add_rest(self._owed_at_return_ms)

    def _add_rest(self, absent_ms: int) -> None:
        """Add a segment for the time since the last one, unless that is very short."""
        target_s = self.renditions.planner.target_s
        if target_s is not None and absent_ms >= MIN_FREEZE_MS:
            self._add_absence(min(absent_ms, target_s * 1000))

    def _add_absence(self, length_ms: int) -> None:
        """Add a segment of the time that has passed, unless another node may be giving numbers: then it is lost."""
        self._covered_until += length_ms / 1000
        if self.writer.may_freeze:
            self.renditions.add_absence(length_ms)

    def _end(self) -> None:
        self._cancel_all()
        self.phase = BroadcastPhase.ENDED
        if not self.is_given_up:
            self._add_rest(self._owed_ms)  # video.js ends only if its last segment is listed together with the end
            self.writer.end()
            self.renditions.end_feeds(is_cut=False)
        self._close_conversion()
        self.renditions.close()
        self.log.info("{stream}: broadcast ended here", stream=self.stream)
        self.ended(self)

    def _call(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        self._cancel(name)
        self._calls[name] = self.clock.callLater(max(delay_s, 0.0), call)

    def _cancel(self, name: str) -> None:
        pending = self._calls.pop(name, None)
        if pending is not None and pending.active():
            pending.cancel()

    def _cancel_all(self) -> None:
        for name in list(self._calls):
            self._cancel(name)

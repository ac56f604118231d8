"""The parent's side of the transcoding children: one per broadcast, replaced when it dies or hangs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from livestream.metrics import Metrics
from livestream.model.frames import Frame, Track
from livestream.model.names import SOURCE
from livestream.packaging.cuts import CUT_TOLERANCE_MS
from livestream.transcode.audio_conversion import AudioConversion
from livestream.transcode.child import Child, Reactor
from livestream.transcode.commands import (
    Flush,
    Setup,
    Source,
)
from livestream.transcode.ladder import Rung, limited
from livestream.transcode.replay import Replay

IN_FLIGHT = 8
FLUSH_S = 3.0
STUCK_S = 5.0
LAG_S = 2.0
STARTING_S = 5.0
TICK_S = 0.5
SAME_RATE = 0.2
"""Rates that differ by less than this share are not changed."""
PAUSE_S = 0.8
"""The delay before replacing a child that processed nothing at all."""
MAX_DEATHS, DEATHS_S = 8, 60.0
"""After this many deaths within this time a broadcast gets no other child, since each start is expensive."""


class RungSink(Protocol):
    """Receives the rungs of a broadcast."""

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        """A video frame of a rung or, with ``audio`` as its rendition, an audio frame for all rungs."""

    def rung_restarted(self, from_dts_ms: int) -> None:
        """Everything from this time on is produced again, by another child."""

    def rung_shed(self, rendition: str, reason: str) -> None:
        """Nothing more is produced for this rendition."""

    def source_refused(self, reason: str) -> None:
        """The source exceeds a limit, and is not decoded; ``reason`` is for the broadcaster."""


@define(eq=False)
class TranscoderPool:
    """Opens the transcoders of all broadcasts, with x264's ``preset``."""

    reactor: Reactor
    metrics: Metrics
    preset: str
    _open: set[Transcode] = field(factory=set, init=False)

    def open(self, stream: str, ladder: Sequence[Rung], source_height: int, sink: RungSink) -> Transcode:
        """Start a child that encodes the rungs of ``ladder`` from a source of ``source_height`` lines."""
        transcode = Transcode(self, stream, sink, list(ladder), source_height)
        self._open.add(transcode)
        transcode.start()
        return transcode

    def open_audio(
        self, stream: str, converted: Callable[[Frame], None], given_up: Callable[[str], None]
    ) -> AudioConversion:
        """What makes AAC of the audio of one broadcast; its child is started with the first frame."""
        return AudioConversion(self.reactor, self.metrics, stream, converted, given_up)

    def closed(self, transcode: Transcode) -> None:
        self._open.discard(transcode)
        self.report_lag()

    def report_lag(self) -> None:
        lags_ms = [transcode.lag_ms for transcode in self._open]
        self.metrics.transcoder_lag.set(max(lags_ms, default=0) / 1000)


@define(eq=False)
class Transcode:
    """The transcoding of one broadcast, by one child after another."""

    pool: TranscoderPool
    stream: str
    sink: RungSink
    rungs: list[Rung]
    source_height: int
    log = Logger()
    _ladder: tuple[Rung, ...] = field(init=False)
    _replay: Replay = field(factory=Replay, init=False)
    _child: Child | None = field(default=None, init=False)
    _flushed: Deferred[None] | None = field(default=None, init=False)
    _flush_sent: bool = field(default=False, init=False)
    _calls: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _progressed_at: float = field(default=0.0, init=False)
    _has_progressed: bool = field(default=False, init=False)
    _max_lag_s: float = field(default=STARTING_S, init=False)
    _from_ms: int = field(default=-1, init=False)
    _crashed_gop: int | None = field(default=None, init=False)
    _is_skipping: bool = field(default=False, init=False)
    _is_closed: bool = field(default=False, init=False)
    _deaths: deque[float] = field(factory=lambda: deque(maxlen=MAX_DEATHS), init=False)

    def __attrs_post_init__(self) -> None:
        self._ladder = tuple(self.rungs)

    @property
    def lag_ms(self) -> int:
        return self._replay.lag_ms

    @property
    def pid(self) -> int | None:
        """The child's, if there is one."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the first child."""
        self._spawn()
        self._call("tick", TICK_S, self._tick)

    def feed(self, frame: Frame, cut_ms: int | None) -> None:
        """Transcode a frame of the source; the first picture at ``cut_ms`` or later becomes an IDR in every rung."""
        if self._is_closed or not self.rungs:
            return
        if self._is_skipping and frame.track is Track.VIDEO and not frame.is_config:
            if not frame.is_key:
                return
            self._is_skipping = False
        if not len(self._replay):
            self._progressed_at = self.pool.reactor.seconds()
        self._replay.add(Source(frame, cut_ms), self.pool.reactor.seconds())
        self._pump()

    def keep(self, names: Sequence[str]) -> None:
        """Produce nothing more for all other rungs."""
        kept = [rung for rung in self.rungs if rung.name in names]
        if kept != self.rungs:
            self.rungs[:] = kept
            self._setup()

    def source_kbps(self, kbps: int) -> None:
        """Set the measured rate of the source's video, under which the rungs stay."""
        names = [rung.name for rung in self.rungs]
        rungs = [limited(rung, kbps, self.source_height) for rung in self._ladder if rung.name in names]
        if any(
            abs(rung.video_kbps - before.video_kbps) > before.video_kbps * SAME_RATE
            for rung, before in zip(rungs, self.rungs, strict=True)
        ):
            self.rungs[:] = rungs
            self._setup()

    def release(self, before_pts_ms: int) -> None:
        """Every rung has complete segments up to this time: earlier frames are not needed again."""
        self._replay.release(before_pts_ms)

    def flush(self) -> Deferred[None]:
        """Fires when everything that was fed has been produced, or that takes too long."""
        self._end_flush()
        self._flushed = flushed = Deferred[None]()
        if self._is_closed or not self.rungs:
            self._end_flush()
        else:
            self._progressed_at = self.pool.reactor.seconds()
            self._call("flush", FLUSH_S, self._end_flush)
            self._pump()
        return flushed

    def close(self) -> None:
        """Stop; nothing more is produced."""
        self._is_closed = True
        self._end_flush()
        for call in self._calls.values():
            if call.active():
                call.cancel()
        if self._child is not None:
            self._child.kill()
            self._child = None
        self._replay = Replay()
        self.pool.closed(self)

    # Called by the child

    def produced(self, child: Child, rendition: str, frame: Frame) -> None:
        if child is self._child and (frame.is_config or frame.dts_ms >= self._from_ms - CUT_TOLERANCE_MS):
            self.sink.rung_frame(rendition, frame)

    def done(self, child: Child, flushed: bool) -> None:
        if child is not self._child:
            return
        self._progressed_at = self.pool.reactor.seconds()
        self._has_progressed = True
        if flushed:
            self._end_flush()
        elif not self._replay.done():
            self.died(child, "confused", "it has answered more frames than it was sent")
        self._pump()

    def refused(self, child: Child, reason: str) -> None:
        if child is self._child:
            self.sink.source_refused(reason)

    def lost(self, child: Child, reason: str, detail: str = "") -> None:
        """Replace a child that has ended or no longer works."""
        if child is not self._child:
            return
        child.kill()
        self._child = None
        if self._is_closed:
            return
        self.pool.metrics.transcoder_restarts.labels(reason).inc()
        what = detail or reason
        self.log.warn("{stream}: the transcoder is replaced: {what}", stream=self.stream, what=what)
        self._skip_repeated_crash()
        self._call("spawn", 0 if self._has_progressed else PAUSE_S, self._replace)

    def died(self, child: Child, reason: str, detail: str) -> None:
        """A child has ended by itself or failed, possibly because of the media it was given."""
        if child is not self._child:
            return
        now = self.pool.reactor.seconds()
        self._deaths.append(now)
        if len(self._deaths) < MAX_DEATHS or now - self._deaths[0] > DEATHS_S:
            self.lost(child, reason, detail)
            return
        self.pool.metrics.limit_hit("transcoder_deaths")
        for rung in list(self.rungs):
            self._shed(rung, f"{MAX_DEATHS} transcoders have died within {DEATHS_S:.0f} s, the last one: {detail}")
        self.close()

    # Inside

    def _skip_repeated_crash(self) -> None:
        """Skip the GOP at which two children in a row died."""
        gop_ms = self._replay.current_gop() if len(self._replay) else None
        if gop_ms is not None and gop_ms == self._crashed_gop:
            self.log.warn(
                "{stream}: skipping the video from {at} ms on, at which two transcoders died",
                stream=self.stream,
                at=gop_ms,
            )
            self._is_skipping = self._replay.drop_gop(gop_ms)
            gop_ms = None
        self._crashed_gop = gop_ms

    def _spawn(self) -> None:
        self._has_progressed = False
        self._flush_sent = False
        self._progressed_at = self.pool.reactor.seconds()
        child = self._child = Child(self)
        try:
            child.start(self.pool.reactor)
        except OSError as error:
            self.log.warn("{stream}: a transcoder could not be started: {error}", stream=self.stream, error=error)
            self.lost(child, "not started")
        child.send(Setup(self.pool.preset, tuple(self.rungs)))

    def _replace(self) -> None:
        self._replay.rewind(self.pool.reactor.seconds())
        self._from_ms = self._replay.from_ms
        self._max_lag_s = STARTING_S + self.lag_ms / 1000
        self._spawn()
        self.sink.rung_restarted(self._from_ms)
        self._pump()

    def _pump(self) -> None:
        child = self._child
        if child is None:
            return
        while self._replay.in_flight < IN_FLIGHT and (source := self._replay.next()) is not None:
            child.send(source)
        if self._flushed is not None and not self._flush_sent and self._replay.in_flight == len(self._replay):
            self._flush_sent = True
            child.send(Flush())

    def _end_flush(self) -> None:
        flushed, self._flushed, self._flush_sent = self._flushed, None, False
        if flushed is not None:
            flushed.callback(None)

    def _tick(self) -> None:
        self._call("tick", TICK_S, self._tick)
        self.pool.report_lag()
        oldest, now = self._replay.oldest, self.pool.reactor.seconds()
        if self._child is None or (oldest is None and self._flushed is None):
            self._max_lag_s = LAG_S
        elif now - self._progressed_at > STUCK_S:
            self.lost(self._child, "stuck")
        elif oldest is not None:
            self._check_lag(min(now - oldest.fed_at, self.lag_ms / 1000))

    def _check_lag(self, lag_s: float) -> None:
        """
        Drop a rung if the output lags too far behind: the most expensive one.

        Where the source is encoded too, all viewers depend on it: then the lower rungs go first.
        """
        if lag_s < LAG_S / 2:
            self._max_lag_s = LAG_S
        elif lag_s > self._max_lag_s and self._child is not None:
            self._max_lag_s = lag_s + LAG_S
            by_height = sorted(self.rungs, key=lambda rung: rung.height)
            self._shed(by_height[0 if SOURCE in {rung.name for rung in by_height} else -1], f"it is {lag_s:.1f} s late")
            if self.rungs:
                self._setup()
            else:
                self.close()

    def _setup(self) -> None:
        """Have the child make the rungs as they are now."""
        if self._child is not None:
            self._child.send(Setup(self.pool.preset, tuple(self.rungs)))

    def _shed(self, rung: Rung, reason: str) -> None:
        self.rungs.remove(rung)
        self.pool.metrics.transcoder_shed.inc()
        self.sink.rung_shed(rung.name, reason)

    def _call(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        pending = self._calls.get(name)
        if pending is not None and pending.active():
            pending.cancel()
        self._calls[name] = self.pool.reactor.callLater(delay_s, call)

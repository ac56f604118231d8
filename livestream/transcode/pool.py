"""The parent's end of the transcoding children: one for each broadcast, replaced when it dies or is stuck."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.metrics import Metrics
from livestream.model.frames import Frame, Track
from livestream.transcode.commands import (
    Command,
    Done,
    Flush,
    OutOfMemory,
    PipeError,
    Produced,
    Records,
    Refused,
    Setup,
    Source,
    encode,
)
from livestream.transcode.ladder import Rung
from livestream.transcode.replay import Replay
from livestream.transcode.sandbox import clean_environment

IN_FLIGHT = 8
FLUSH_S = 3.0
STUCK_S = 5.0
LAG_S = 2.0
STARTING_S = 5.0
TICK_S = 0.5
PAUSE_S = 0.8
"""Before a child is replaced that did nothing at all."""
DEATHS, DEATHS_S = 8, 60.0
"""When so many children have died within so many seconds, there is no other: each costs a start."""

_ARGS = (sys.executable, "-m", "livestream.transcode.worker")


class Reactor(Protocol):
    """What is used of a reactor."""

    def seconds(self) -> float: ...
    def callLater(self, delay: float, call: Callable[..., object], *args: object) -> IDelayedCall: ...
    def spawnProcess(
        self, protocol: ProcessProtocol, executable: str, args: Sequence[str], env: dict[str, str]
    ) -> IProcessTransport: ...


class RungSink(Protocol):
    """Where the rungs of a broadcast go."""

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        """A frame of a rung, or, with ``audio`` for its rendition, one for all of them."""

    def rung_restarted(self, from_dts_ms: int) -> None:
        """Another child makes everything from this time on again."""

    def rung_shed(self, rendition: str, reason: str) -> None:
        """Nothing more comes of this rendition."""

    def source_refused(self, reason: str) -> None:
        """The source sends what is not decoded, for it would take too much; ``reason`` is for the broadcaster."""


@define(eq=False)
class TranscoderPool:
    """``preset`` is x264's."""

    reactor: Reactor
    metrics: Metrics
    preset: str
    _open: set[Transcode] = field(factory=set, init=False)

    def open(self, stream: str, ladder: Sequence[Rung], sink: RungSink) -> Transcode:
        """A child that makes the rungs of ``ladder``."""
        transcode = Transcode(self, stream, sink, list(ladder))
        self._open.add(transcode)
        transcode.start()
        return transcode

    def closed(self, transcode: Transcode) -> None:
        self._open.discard(transcode)
        self.tell_lag()

    def tell_lag(self) -> None:
        lags_ms = [transcode.lag_ms for transcode in self._open]
        self.metrics.transcoder_lag.set(max(lags_ms, default=0) / 1000)


@define(eq=False)
class Transcode:
    """The transcoding of one broadcast, over as many children as it takes."""

    pool: TranscoderPool
    stream: str
    sink: RungSink
    rungs: list[Rung]
    log = Logger()
    _replay: Replay = field(factory=Replay, init=False)
    _child: Child | None = field(default=None, init=False)
    _flushed: Deferred[None] | None = field(default=None, init=False)
    _flush_sent: bool = field(default=False, init=False)
    _calls: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _progressed_at: float = field(default=0.0, init=False)
    _has_progressed: bool = field(default=False, init=False)
    _patience_s: float = field(default=STARTING_S, init=False)
    _from_ms: int = field(default=-1, init=False)
    _crashed_gop: int | None = field(default=None, init=False)
    _skips: bool = field(default=False, init=False)
    _is_closed: bool = field(default=False, init=False)
    _deaths: deque[float] = field(factory=lambda: deque(maxlen=DEATHS), init=False)

    @property
    def lag_ms(self) -> int:
        return self._replay.lag_ms

    @property
    def pid(self) -> int | None:
        """The child's, if there is one now."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Have a first child."""
        self._spawn()
        self._call("tick", TICK_S, self._tick)

    def feed(self, frame: Frame, is_cut: bool) -> None:
        """Have every rung made of a frame of the source; with ``is_cut`` its picture is an IDR picture in each."""
        if self._is_closed or not self.rungs:
            return
        if self._skips and frame.track is Track.VIDEO and not frame.is_config:
            if not frame.is_key:
                return
            self._skips = False
        if not len(self._replay):
            self._progressed_at = self.pool.reactor.seconds()
        self._replay.add(Source(frame, is_cut), self.pool.reactor.seconds())
        self._pump()

    def release(self, before_pts_ms: int) -> None:
        """Every rung has whole segments of what comes before this time: that is not needed again."""
        self._replay.release(before_pts_ms)

    def flush(self) -> Deferred[None]:
        """Fires when all that was fed has come out, or when it takes too long."""
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
        """Nothing more is to come out."""
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

    # What a child tells

    def produced(self, child: Child, rendition: str, frame: Frame) -> None:
        if child is self._child and (frame.is_config or frame.dts_ms >= self._from_ms):
            self.sink.rung_frame(rendition, frame)

    def done(self, child: Child, flushed: bool) -> None:
        if child is not self._child:
            return
        self._progressed_at = self.pool.reactor.seconds()
        self._has_progressed = True
        if flushed:
            self._end_flush()
        elif not self._replay.done():
            self.died(child, "confused", "it has answered more than it was asked")
        self._pump()

    def refused(self, child: Child, reason: str) -> None:
        if child is self._child:
            self.sink.source_refused(reason)

    def lost(self, child: Child, reason: str, detail: str = "") -> None:
        """A child has gone, or is of no use any more: another is to do its work."""
        if child is not self._child:
            return
        child.kill()
        self._child = None
        if self._is_closed:
            return
        self.pool.metrics.transcoder_restarts.labels(reason).inc()
        what = detail or reason
        self.log.warn("{stream}: the transcoder is replaced: {what}", stream=self.stream, what=what)
        self._skip_if_again()
        self._call("spawn", 0 if self._has_progressed else PAUSE_S, self._replace)

    def died(self, child: Child, reason: str, detail: str) -> None:
        """A child has ended by itself, or could not go on, which what it was given may well be the cause of."""
        if child is not self._child:
            return
        now = self.pool.reactor.seconds()
        self._deaths.append(now)
        if len(self._deaths) < DEATHS or now - self._deaths[0] > DEATHS_S:
            self.lost(child, reason, detail)
            return
        self.pool.metrics.limit_hit("transcoder_deaths")
        for rung in list(self.rungs):
            self._shed(rung, f"{DEATHS} transcoders have died within {DEATHS_S:.0f} s, the last one: {detail}")
        self.close()

    # Inside

    def _skip_if_again(self) -> None:
        """What two children died of is not given to a third."""
        gop_ms = self._replay.current_gop() if len(self._replay) else None
        if gop_ms is not None and gop_ms == self._crashed_gop:
            self.log.warn("{stream}: the pictures from {at} ms on are left out", stream=self.stream, at=gop_ms)
            self._skips = self._replay.drop_gop(gop_ms)
            gop_ms = None
        self._crashed_gop = gop_ms

    def _spawn(self) -> None:
        self._has_progressed = False
        self._flush_sent = False
        self._progressed_at = self.pool.reactor.seconds()
        child = self._child = Child(self)
        try:
            self.pool.reactor.spawnProcess(child, _ARGS[0], _ARGS, clean_environment(os.environ))
        except OSError as error:
            self.log.warn("{stream}: no transcoder can be started: {error}", stream=self.stream, error=error)
            self.lost(child, "not started")
        child.tell(Setup(self.pool.preset, tuple(self.rungs)))

    def _replace(self) -> None:
        self._replay.rewind(self.pool.reactor.seconds())
        self._from_ms = self._replay.from_ms
        self._patience_s = STARTING_S + self.lag_ms / 1000
        self._spawn()
        self.sink.rung_restarted(self._from_ms)
        self._pump()

    def _pump(self) -> None:
        child = self._child
        if child is None:
            return
        while self._replay.in_flight < IN_FLIGHT and (source := self._replay.next()) is not None:
            child.tell(source)
        if self._flushed is not None and not self._flush_sent and self._replay.in_flight == len(self._replay):
            self._flush_sent = True
            child.tell(Flush())

    def _end_flush(self) -> None:
        flushed, self._flushed, self._flush_sent = self._flushed, None, False
        if flushed is not None:
            flushed.callback(None)

    def _tick(self) -> None:
        self._call("tick", TICK_S, self._tick)
        self.pool.tell_lag()
        oldest, now = self._replay.oldest, self.pool.reactor.seconds()
        if self._child is None or (oldest is None and self._flushed is None):
            self._patience_s = LAG_S
        elif now - self._progressed_at > STUCK_S:
            self.lost(self._child, "stuck")
        elif oldest is not None:
            self._weigh(min(now - oldest.fed_at, self.lag_ms / 1000))

    def _weigh(self, lag_s: float) -> None:
        """Give up the costliest rung when the others would come too late."""
        if lag_s < LAG_S / 2:
            self._patience_s = LAG_S
        elif lag_s > self._patience_s and self._child is not None:
            self._patience_s = lag_s + LAG_S
            self._shed(max(self.rungs, key=lambda rung: rung.height), f"it is {lag_s:.1f} s late")
            if self.rungs:
                self._child.tell(Setup(self.pool.preset, tuple(self.rungs)))
            else:
                self.close()

    def _shed(self, rung: Rung, reason: str) -> None:
        self.rungs.remove(rung)
        self.pool.metrics.transcoder_shed.inc()
        self.sink.rung_shed(rung.name, reason)

    def _call(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        pending = self._calls.get(name)
        if pending is not None and pending.active():
            pending.cancel()
        self._calls[name] = self.pool.reactor.callLater(delay_s, call)


@define(eq=False)
class Child(ProcessProtocol):
    """The pipes of one child."""

    transcode: Transcode
    log = Logger()
    _records: Records = field(factory=Records, init=False)
    _ended: bool = field(default=False, init=False)

    @property
    def pid(self) -> int | None:
        return None if self.transport is None else self.transport.pid

    def tell(self, command: Command) -> None:
        if self.transport is not None and not self._ended:
            self.transport.write(encode(command))

    def kill(self) -> None:
        """It has nothing to put in order."""
        if self.transport is not None and not self._ended:
            self._ended = True
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def outReceived(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            for command in self._records.receive(data):
                if isinstance(command, Produced):
                    self.transcode.produced(self, command.rendition, command.frame)
                elif isinstance(command, Done):
                    self.transcode.done(self, command.flushed)
                elif isinstance(command, Refused):
                    self.transcode.refused(self, command.reason)
                elif isinstance(command, OutOfMemory):
                    limit_mib = command.limit_bytes >> 20
                    self.transcode.died(self, "memory", f"it needs more memory than its limit, {limit_mib} MiB")
        except PipeError as error:
            self.transcode.died(self, "confused", f"it cannot be understood: {error}")

    def errReceived(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").splitlines():
            self.log.warn("{stream}: transcoder: {line}", stream=self.transcode.stream, line=line[:500])

    def processEnded(self, reason: Failure) -> None:
        self._ended = True
        self.transcode.died(self, "crashed", f"it has crashed ({_end_of(reason)})")


def _end_of(reason: Failure) -> str:
    """How a process ended."""
    ended = reason.value
    if isinstance(ended, ProcessTerminated) and ended.signal is not None:
        return f"signal {ended.signal}"
    return f"exit code {ended.exitCode}" if isinstance(ended, ProcessTerminated) else "exit code 0"

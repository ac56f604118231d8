"""The parent's side of audio that is converted to AAC: a child for the audio of one broadcast."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from livestream.metrics import Metrics
from livestream.model.frames import Frame
from livestream.transcode.child import Child, Reactor
from livestream.transcode.commands import Flush, Setup, Source

MAX_IN_FLIGHT = 512
"""The frames that wait for a child; those of the format with the shortest frames last five seconds."""
STUCK_S = 5.0
FLUSH_S = 1.0
MAX_DEATHS, DEATHS_S = 8, 60.0
"""After this many deaths within this time there is no other child, since each start is expensive."""


@define(eq=False)
class AudioConversion:
    """
    Makes AAC of the audio of ``stream``, and calls ``converted`` with its configurations and frames.

    A child that dies or hangs is replaced at the next frame; what it was given is lost. ``given_up`` is called with the
    reason when there have been too many.
    """

    reactor: Reactor
    metrics: Metrics
    stream: str
    converted: Callable[[Frame], None]
    given_up: Callable[[str], None]
    _config: Frame | None = field(default=None, init=False)
    _child: Child | None = field(default=None, init=False)
    _in_flight: int = field(default=0, init=False)
    _progressed_at: float = field(default=0.0, init=False)
    _calls: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _flushed: Deferred[None] | None = field(default=None, init=False)
    _deaths: deque[float] = field(factory=lambda: deque(maxlen=MAX_DEATHS), init=False)
    _is_given_up: bool = field(default=False, init=False)
    log: ClassVar[Logger] = Logger()

    @property
    def pid(self) -> int | None:
        """The child's, if there is one."""
        return None if self._child is None else self._child.pid

    def feed(self, frame: Frame) -> None:
        """Convert a frame, or take a configuration; what comes out is passed to ``converted`` later."""
        if frame.is_config:
            self._config = frame
        if self._is_given_up or self._config is None:
            return
        if self._child is None:
            self._start()
            if frame is not self._config:
                self._send(self._config)
        if self._in_flight < MAX_IN_FLIGHT:
            self._send(frame)
        else:
            self.metrics.frames_dropped.labels("conversion").inc()

    def flush(self) -> Deferred[None]:
        """Fires when everything that was fed has been converted; if that takes too long, nothing more is."""
        self._end_flush()
        if self._child is None:
            return succeed(None)
        self._child.send(Flush())
        self._flushed = flushed = Deferred[None]()
        self._call("flush", FLUSH_S, self.close)
        return flushed

    def close(self) -> None:
        """Stop; nothing more is converted until the next frame."""
        child, self._child = self._child, None
        self._in_flight = 0
        self._end_flush()
        for call in self._calls.values():
            if call.active():
                call.cancel()
        if child is not None:
            child.kill()

    # Called by the child

    def produced(self, child: Child, rendition: str, frame: Frame) -> None:
        if child is self._child:
            self.converted(frame)

    def done(self, child: Child, flushed: bool) -> None:
        if child is not self._child:
            return
        self._progressed_at = self.reactor.seconds()
        if flushed:
            self._end_flush()
        else:
            self._in_flight -= 1

    def refused(self, child: Child, reason: str) -> None: ...

    def died(self, child: Child, reason: str, detail: str) -> None:
        if child is not self._child:
            return
        self.close()
        self.metrics.transcoder_restarts.labels(reason).inc()
        self.log.warn("{stream}: the audio transcoder is replaced: {what}", stream=self.stream, what=detail)
        now = self.reactor.seconds()
        self._deaths.append(now)
        if len(self._deaths) == MAX_DEATHS and now - self._deaths[0] <= DEATHS_S:
            self._is_given_up = True
            self.metrics.limit_hit("transcoder_deaths")
            self.given_up(f"{MAX_DEATHS} transcoders have died within {DEATHS_S:.0f} s, the last one: {detail}")

    # Inside

    def _start(self) -> None:
        child = self._child = Child(self)
        self._progressed_at = self.reactor.seconds()
        try:
            child.start(self.reactor)
        except OSError as error:
            self.died(child, "not started", f"it could not be started: {error}")
        child.send(Setup("", ()))
        self._call("check", STUCK_S, self._check)

    def _send(self, frame: Frame) -> None:
        if self._child is not None:
            if not self._in_flight:
                self._progressed_at = self.reactor.seconds()
            self._in_flight += 1
            self._child.send(Source(frame))

    def _check(self) -> None:
        """Replace a child that has processed nothing for long."""
        child = self._child
        if child is not None and self._in_flight and self.reactor.seconds() - self._progressed_at >= STUCK_S:
            self.died(child, "stuck", f"it has done nothing for {STUCK_S:.0f} s")
        elif child is not None:
            self._call("check", STUCK_S, self._check)

    def _call(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        pending = self._calls.get(name)
        if pending is not None and pending.active():
            pending.cancel()
        self._calls[name] = self.reactor.callLater(delay_s, call)

    def _end_flush(self) -> None:
        flushed, self._flushed = self._flushed, None
        if flushed is not None:
            flushed.callback(None)

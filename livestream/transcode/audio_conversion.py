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

MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES = 512, 1 << 20
"""What may wait for a child; the frames of the format with the shortest ones last five seconds."""
MAX_FRAME_BYTES = 64 << 10
"""Raw audio of a third of a second has less."""
AHEAD_MS = 1_000
"""What comes out and is so much later than all that was fed is dropped: a small frame may claim to last for minutes."""
STUCK_S = 5.0
PAUSE_S = 0.8
"""A child that has ended is replaced no earlier than this."""
FLUSH_S = 1.0
FRUITLESS = 500
"""After so many frames in a row of which nothing came, nothing of the audio can be decoded."""
MAX_DEATHS, DEATHS_S = 8, 60.0
"""After this many deaths within this time there is no other child for this publisher, since each start is expensive."""


@define(eq=False)
class AudioConversion:
    """
    Makes AAC of the audio of ``stream``, and calls ``converted`` with its configurations and frames.

    A child that dies or hangs is replaced when another frame comes; what it was given is lost. ``given_up`` is called
    with the reason when there have been too many, and when nothing can be decoded.
    """

    reactor: Reactor
    metrics: Metrics
    stream: str
    converted: Callable[[Frame], None]
    given_up: Callable[[str], None]
    _config: Frame | None = field(default=None, init=False)
    _is_described: bool = field(default=False, init=False)
    """Whether the child has the configuration: it gets it together with a frame."""
    _child: Child | None = field(default=None, init=False)
    _in_flight: deque[int] = field(factory=deque, init=False)
    """The bytes of each frame that the child has not processed."""
    _in_flight_bytes: int = field(default=0, init=False)
    _newest_ms: int = field(default=0, init=False)
    _fruitless: int = field(default=0, init=False)
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

    @property
    def has_room(self) -> bool:
        """Whether another frame can wait for the child."""
        return len(self._in_flight) < MAX_IN_FLIGHT and self._in_flight_bytes + MAX_FRAME_BYTES <= MAX_IN_FLIGHT_BYTES

    def feed(self, frame: Frame) -> None:
        """Convert a frame, or take a configuration; what comes out is passed to ``converted`` later."""
        if frame.is_config:
            self._config, self._is_described, self._fruitless = frame, False, 0
            return
        if self._config is None:
            return
        if self._child is None and self._may_start():
            self._start()
        size = len(frame.body)
        if self._child is None or size > MAX_FRAME_BYTES or not self.has_room:
            self.metrics.frames_dropped.labels("conversion").inc()
            return
        if not self._is_described:
            self._is_described = True
            self._send(self._child, self._config)
        self._newest_ms = max(self._newest_ms, frame.dts_ms)
        self._send(self._child, frame)

    def flush(self) -> Deferred[None]:
        """
        End the child, since the publisher has left. Fires when all that was fed has been converted; if that takes too
        long, the rest is lost.
        """
        self._is_given_up = False
        if self._child is None:
            return succeed(None)
        self._child.send(Flush())
        self._flushed = flushed = Deferred[None]()
        self._call("flush", FLUSH_S, self.close)
        return flushed

    def close(self) -> None:
        """End the child at once; the next frame starts another."""
        child, self._child = self._child, None
        flushed, self._flushed = self._flushed, None
        self._in_flight.clear()
        self._in_flight_bytes = 0
        for call in self._calls.values():
            if call.active():
                call.cancel()
        if child is not None:
            child.kill()
        if flushed is not None:
            flushed.callback(None)

    # Called by the child

    def produced(self, child: Child, rendition: str, frame: Frame) -> None:
        if child is self._child and frame.dts_ms <= self._newest_ms + AHEAD_MS:
            self._fruitless = 0
            self.converted(frame)

    def done(self, child: Child, flushed: bool) -> None:
        if child is not self._child:
            return
        if flushed:
            self.close()
            return
        if not self._in_flight:
            self.died(child, "confused", "it has answered more frames than it was sent")
            return
        self._progressed_at = self.reactor.seconds()
        self._in_flight_bytes -= self._in_flight.popleft()
        self._fruitless += 1
        if self._fruitless == FRUITLESS:
            self.given_up("nothing of it can be decoded")

    def refused(self, child: Child, reason: str) -> None:
        """Audio has no limit that a child could refuse."""

    def died(self, child: Child, reason: str, detail: str) -> None:
        if child is not self._child:
            return
        now = self.reactor.seconds()
        self._deaths.append(now)
        self.metrics.transcoder_restarts.labels(reason).inc()
        self.log.warn("{stream}: the audio transcoder is replaced: {what}", stream=self.stream, what=detail)
        self.close()
        if len(self._deaths) == MAX_DEATHS and now - self._deaths[0] <= DEATHS_S:
            self._is_given_up = True
            self.metrics.limit_hit("transcoder_deaths")
            self.given_up(f"{MAX_DEATHS} transcoders have died within {DEATHS_S:.0f} s, the last one: {detail}")

    # Inside

    def _may_start(self) -> bool:
        is_early = bool(self._deaths) and self.reactor.seconds() - self._deaths[-1] < PAUSE_S
        return not is_early and not self._is_given_up

    def _start(self) -> None:
        child = self._child = Child(self)
        self._is_described = False
        self._progressed_at = self.reactor.seconds()
        try:
            child.start(self.reactor)
        except OSError as error:
            self.died(child, "not started", f"it could not be started: {error}")
            return
        child.send(Setup("", ()))
        self._call("check", STUCK_S, self._check)

    def _send(self, child: Child, frame: Frame) -> None:
        if not self._in_flight:
            self._progressed_at = self.reactor.seconds()
        self._in_flight.append(len(frame.body))
        self._in_flight_bytes += len(frame.body)
        child.send(Source(frame))

    def _check(self) -> None:
        """Replace a child that has processed nothing for long."""
        child = self._child
        if child is None:
            return
        self._call("check", STUCK_S, self._check)
        if self._in_flight and self.reactor.seconds() - self._progressed_at >= STUCK_S:
            self.died(child, "stuck", f"it has done nothing for {STUCK_S:.0f} s")

    def _call(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        pending = self._calls.get(name)
        if pending is not None and pending.active():
            pending.cancel()
        self._calls[name] = self.reactor.callLater(delay_s, call)

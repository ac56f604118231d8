"""
Takes the bytes of a connection apart into heads, and holds what cannot be served yet.

A whole head is read and checked before anything is done with it, and the next one waits until it has been answered.
What is held is bounded, for one connection and for all together.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from enum import Enum
from typing import Protocol, cast

from twisted.internet.interfaces import IPushProducer, IReactorTime, ITCPTransport
from twisted.web.http import HTTPChannel

from livestream.http.head import END, Refused, check_unfinished
from livestream.http.limits import ConnectionLimits
from livestream.http.timeouts import Timeouts
from livestream.metrics import Metrics

TURN_HEADS = 16
"""So many requests of a connection are served in one turn of the reactor; the rest waits, as others do."""

LINGER_S = 2
LINGER_BYTES = 1 << 20
"""So long a refused peer has to read why, and so much it may still send, before the connection is reset."""


class HeadServer(Protocol):
    """What is shared by the connections of a site. ``held_bytes`` is what all of them hold together."""

    metrics: Metrics
    clock: IReactorTime
    timeouts: Timeouts
    held_bytes: int


class ConnectionPhase(Enum):
    """Where a connection stands."""

    READING = "a head has begun, or the first is awaited"
    IDLE = "between requests"
    ANSWERING = "a request is being answered"
    CLOSING = "being closed: nothing more is served"
    LOST = "gone"
    TAKEN = "no longer HTTP"


IDLE = ConnectionPhase.IDLE


class HeadReader(HTTPChannel):
    """
    The reading side of a connection.

    Whoever receives data gives it to `_hold` while a request is being answered or something is held, and to `_take`
    otherwise.
    """

    server: HeadServer
    limits: ConnectionLimits
    phase = ConnectionPhase.READING
    check_at = math.inf

    _held = b""
    _is_taking = False
    _is_queue_full = False  # the transport has as much queued as it takes
    _ignored = 0  # bytes that came after the last request that is served
    _since = 0  # when the phase began, or when progress was seen in it, or, closing, until when that may take

    @abstractmethod
    def _serve(self, head: bytes) -> None:
        """Answer the request with this head, or begin to."""

    @abstractmethod
    def _refuse(self, reason: Refused) -> None:
        """Send an error, read nothing more, and close."""

    @abstractmethod
    def check_timeouts(self, now: int) -> float:
        """See `livestream.http.timeouts.Timed`."""

    def _hold(self, data: bytes) -> None:
        """Keep what cannot be served yet, and read no more when it is much; drop what never will be."""
        if self.phase in (ConnectionPhase.CLOSING, ConnectionPhase.LOST):
            self._ignored += len(data)
            if self._ignored > LINGER_BYTES and self.phase is ConnectionPhase.CLOSING:
                self.abort()
            return
        if self.phase is not ConnectionPhase.ANSWERING:
            self._take(self._take_held() + data)
            return
        self._keep(self._held + data)
        if len(self._held) > self.limits.read_ahead_bytes:
            self._pause_reading()

    def _keep(self, data: bytes) -> None:
        """Hold what cannot be served yet, which counts with what is held for all others."""
        server, limits = self.server, self.limits
        server.held_bytes += len(data) - len(self._held)
        self._held = data
        if server.held_bytes > limits.held_bytes and len(data) > limits.small_bytes:
            server.metrics.limit_hit("held_bytes")
            self.abort()

    def _take_held(self) -> bytes:
        held = self._held
        self._keep(b"")
        return held

    def _pause_reading(self) -> None:
        cast(IPushProducer, self.transport).pauseProducing()

    def _resume_reading(self) -> None:
        cast(IPushProducer, self.transport).resumeProducing()

    def _take(self, data: bytes) -> None:
        """Serve the whole heads of ``data`` in order, until one has to be waited for; hold the rest."""
        position, left = 0, TURN_HEADS
        self._is_taking = True
        while position < len(data) and left and self.phase in (ConnectionPhase.READING, ConnectionPhase.IDLE):
            left -= 1
            if self._is_queue_full:
                break
            while data.startswith(b"\r\n", position):
                position += 2  # RFC 9112, 2.2: some clients end a request with a line end too many
            end = data.find(END, position)
            if end < 0:
                self._await_rest(data, position)
                break
            self._serve(data[position : end + 4])
            position = end + 4
        self._is_taking = False
        if self.phase in (ConnectionPhase.CLOSING, ConnectionPhase.LOST):
            return
        if position == len(data):
            if self.phase is ConnectionPhase.READING:
                self.phase = ConnectionPhase.IDLE
        elif self.phase is ConnectionPhase.TAKEN:
            self.dataReceived(data[position:])
        else:
            self._keep(data[position:])
            if not left and self.phase is ConnectionPhase.IDLE:
                self._pause_reading()
                self.server.clock.callLater(0, self._go_on)

    def _await_rest(self, data: bytes, position: int) -> None:
        """The rest of a head has not come: give it until a deadline that does not move with its bytes."""
        try:
            check_unfinished(data, position, self.limits.head)
        except Refused as reason:
            self._refuse(reason)
            return
        if self.phase is not ConnectionPhase.READING:
            self.phase = ConnectionPhase.READING
            self._since = self.server.timeouts.now
            self.server.timeouts.watch(self, self._since + self.limits.header_s + 1)

    def _go_on(self) -> None:
        """Serve what was held back while a request was being answered."""
        if self._held and not self._is_taking and self.phase is ConnectionPhase.IDLE:
            self._resume_reading()
            self._take(self._take_held())

    def allHeadersReceived(self) -> None:
        """Serve the request with no ``100 Continue`` before: no body is ever awaited (RFC 9110, 10.1.1)."""
        self.requests[-1].requestHeaders.removeHeader(b"expect")
        super().allHeadersReceived()

    def _closes_within(self, limit_s: float) -> None:
        self.phase = ConnectionPhase.CLOSING
        self._keep(b"")
        self._since = math.ceil(self.server.timeouts.now + limit_s)
        self.server.timeouts.watch(self, self._since)

    def abort(self) -> None:
        """Reset the connection."""
        cast(ITCPTransport, self.transport).abortConnection()

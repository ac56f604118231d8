"""Writes responses through Twisted's transport: those to requests that the fast path leaves, and those over TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from livestream.http.response import Response
from livestream.net.body import Body

READ_BYTES = 65536
"""How much of a body is copied into the transport at once."""


@runtime_checkable
class LoggedRequest(Protocol):
    """A request whose outcome is to be logged."""

    outcome: str


@runtime_checkable
class DirectConnection(Protocol):
    """A channel that may be able to send a response past its transport."""

    def send_direct(self, request: Request, response: Response) -> Deferred[None] | None:
        """Send it; ``None`` when it has to go the ordinary way. The Deferred fires when all is with the kernel."""


def write(request: Request, response: Response, *, is_direct: bool = True) -> Deferred[None]:
    """
    Answer a request, except for finishing it, which Klein does; fires when nothing is left to write.

    Connection is the one field that may have been set before. With ``is_direct`` the response may go past the
    transport; without, a small one is written when this returns.
    """
    if request.method == b"HEAD":
        response = response.without_body()
    if isinstance(request, LoggedRequest):
        request.outcome = response.outcome
    request.setResponseCode(response.code, response.status[4:].encode("ascii"))
    for name in (b"Server", b"Date", b"Content-Type"):
        request.responseHeaders.removeHeader(name)
    for name, value in response.fields:
        request.responseHeaders.setRawHeaders(name, [value])
    if not request.responseHeaders.hasHeader(b"Content-Type"):
        request.defaultContentType = None
    if is_direct and isinstance(request.channel, DirectConnection):
        sent = request.channel.send_direct(request, response)
        if sent is not None:
            return sent
    if response.body is None or not response.length:
        return succeed(None)
    if response.length <= READ_BYTES and response.body.received >= response.stop:
        request.write(response.body.read(response.start, response.stop))
        return succeed(None)
    return BodyProducer(request, response.body, response.start, response.stop).begin()


def head_of(request: Request) -> bytes:
    """The status line and header that Twisted would write."""
    lines = [request.clientproto, b" %d " % request.code, request.code_message, b"\r\n"]
    for name, values in request.responseHeaders.getAllRawHeaders():
        for value in values:
            lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


@implementer(IPushProducer)
@define(eq=False)
class BodyProducer:
    """Copies a body into a request as fast as the transport takes it and as it arrives, and no faster."""

    request: Request
    body: Body
    offset: int
    stop: int
    moved_bytes: int = field(default=0, init=False)
    _done: Deferred[None] = field(init=False)
    _is_paused: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)
    _unwatch: Callable[[], None] | None = field(default=None, init=False)

    def begin(self) -> Deferred[None]:
        """Write what may be written; fires when the last byte is in the transport."""
        self._done = Deferred(lambda _: self.stopProducing())
        self.request.registerProducer(self, True)
        self.resumeProducing()
        return self._done

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        while not (self._is_paused or self._is_over):
            stop = min(self.offset + READ_BYTES, self.stop, self.body.received)
            if stop <= self.offset:
                self._wait()
                return
            start, self.offset = self.offset, stop
            self.request.write(self.body.read(start, stop))
            if self.offset >= self.stop:
                self._end()
                self._done.callback(None)

    def stopProducing(self) -> None:
        self._end()

    def _wait(self) -> None:
        if self.body.failed:
            self._end()
            self.request.channel.forceAbortClient()
        elif self._unwatch is None:
            self._unwatch = self.body.watch(self._grown)

    def _grown(self) -> None:
        if not self._is_paused:
            self.resumeProducing()

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._unwatch is not None:
            self._unwatch()
        if self.request.channel is not None:
            self.request.unregisterProducer()

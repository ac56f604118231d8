"""FLV over HTTP and over WebSocket: the request's connection is taken over, and the stream pushed into it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, ITransport
from twisted.python.failure import Failure
from twisted.web.http import parse_qs
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, NotFound, ServiceUnavailable
from wsproto.connection import Connection, ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Ping
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import H11Handshake
from wsproto.utilities import ProtocolError
from zope.interface import implementer

from livestream.http.response import SHARED, ResponseFactory
from livestream.model.names import SOURCE, InvalidName, rendition_name
from livestream.net.token_bucket import TokenBucket
from livestream.push.feed import CannotTell, NotLive, Wire
from livestream.push.feeds import Feeds
from livestream.push.session import Visit, visit
from livestream.push.viewer import Outlet

HEARD_BYTES = 8192
HEARD_BYTES_PER_S = 512
"""A viewer has nothing to send but a ping now and then; one that sends more, or faster, is cut off."""

CLOSE_S = 10.0
"""How long a viewer has to take the last bytes of a broadcast."""


class Taken(Outlet, Protocol):
    """What is asked of a transport that was HTTP's."""

    def resumeProducing(self) -> None:
        """Read: the parser may have stopped that."""


class Takeable(Protocol):
    """An HTTP connection that can become another protocol's. ``host`` is the peer's address."""

    @property
    def host(self) -> str: ...

    def take_over(self, protocol: IProtocol) -> None:
        """Hand the transport over: ``makeConnection`` is called, and nothing else writes to it any more."""


@implementer(IProtocol)
@define(eq=False)
class FlvSeat:
    """
    One viewer of FLV. ``head`` goes out first; with ``socket`` the viewer is spoken to in WebSocket messages.

    ``gone`` is called with it when the connection is lost.
    """

    stay: Visit
    clock: IReactorTime
    head: bytes
    gone: Callable[[FlvSeat], object]
    socket: Connection | None = None
    transport: Taken = field(init=False)
    _heard: TokenBucket = field(factory=lambda: TokenBucket(HEARD_BYTES_PER_S, HEARD_BYTES), init=False)
    _closing: IDelayedCall | None = field(default=None, init=False)

    def makeConnection(self, transport: ITransport) -> None:
        self.transport = cast(Taken, transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        self.transport.resumeProducing()
        self.transport.write(self.head)
        self.stay.watch(self.transport, self)

    def dataReceived(self, data: bytes) -> None:
        if self._heard.take(len(data), self.clock.seconds()):
            self.stay.feeds.metrics.limit_hit("viewer_bytes")
            self.transport.abortConnection()
        elif self.socket is not None:
            self._answer(self.socket, data)

    def connectionLost(self, reason: Failure) -> None:
        self.stay.leave()
        self.gone(self)
        if self._closing is not None and self._closing.active():
            self._closing.cancel()

    def over(self) -> None:
        self.stay.leave()
        self._close(CloseConnection(CloseReason.NORMAL_CLOSURE))

    def send_away(self) -> None:
        """The broadcast goes on, but not from here."""
        self.stay.leave()
        self._close(CloseConnection(CloseReason.GOING_AWAY))

    def _answer(self, socket: Connection, data: bytes) -> None:
        """A viewer's pings are answered, and its wish to go is granted; what else it says is not asked for."""
        try:
            socket.receive_data(data)
            for event in socket.events():
                if isinstance(event, Ping):
                    self.transport.write(socket.send(event.response()))
                    self.stay.wrote()
                elif isinstance(event, CloseConnection):
                    self.stay.leave()
                    self._close(event.response())
        except ProtocolError:
            self.transport.abortConnection()

    def _close(self, farewell: CloseConnection) -> None:
        if self._closing is None:
            if self.socket is not None:
                self.transport.write(self.socket.send(farewell))
            self._closing = self.clock.callLater(CLOSE_S, self.transport.abortConnection)
            self.transport.loseConnection()


@define(eq=False)
class FlvPush:
    """Answers ``/live/STREAM.flv``, with WebSocket messages where the request asks for that."""

    feeds: Feeds
    responses: ResponseFactory
    _seats: set[FlvSeat] = field(factory=set, init=False)

    @property
    def watching(self) -> int:
        """How many viewers' connections there are."""
        return len(self._seats)

    def move(self) -> None:
        """Have every viewer begin again, here or elsewhere, from the next key frame on."""
        for seat in list(self._seats):
            seat.stay.at_key_frame(partial(self._send_away, seat))

    def send_away(self) -> None:
        """End every viewer's connection now."""
        for seat in list(self._seats):
            self._send_away(seat)

    def refusal(self, stream: str, query: bytes) -> str | None:
        """The status with which a request with this query is refused; ``None`` where :meth:`view` is to answer it."""
        rendition = _rendition(parse_qs(query, keep_blank_values=True)) if query else SOURCE
        try:
            reason = self.feeds.refusal(stream, rendition_name(rendition), self.feeds.limits.wait_s)
        except InvalidName:
            return "404 Not Found"
        if reason is None:
            return None
        return "503 Service Unavailable" if isinstance(reason, CannotTell) else "404 Not Found"

    def view(self, request: Request, stream: str) -> Deferred[None]:
        """
        Give a request's connection to the stream. It then never fires; before that it may be cancelled.

        :raises NotFound: there is no such stream, or the request is no proper handshake.
        :raises ServiceUnavailable: whether there is such a stream cannot be found out now.
        """
        wants_socket = request.getHeader(b"upgrade") is not None
        wire, peer = Wire.FLV_WEBSOCKET if wants_socket else Wire.FLV, cast(Takeable, request.channel).host
        try:
            socket, head = self._shake(request) if wants_socket else (None, self._head())
            stay = visit(self.feeds, stream, _rendition(request.args), wire, peer, self.feeds.limits.wait_s)
        except (NotLive, ProtocolError) as error:
            raise self._missing(error) from None
        seat = FlvSeat(stay, self.feeds.clock, head, self._seats.discard, socket)
        ready = stay.ready()
        return ready.addCallbacks(self._begin, self._give_up, (request, seat), callbackKeywords={}, errbackArgs=(seat,))

    def _send_away(self, seat: FlvSeat) -> None:
        if seat in self._seats:
            seat.send_away()

    def _begin(self, _: None, request: Request, seat: FlvSeat) -> Deferred[None]:
        self.feeds.metrics.http_requests.labels("flv", "hit").inc()
        self._seats.add(seat)
        cast(Takeable, request.channel).take_over(seat)
        return Deferred()

    def _give_up(self, failure: Failure, seat: FlvSeat) -> Failure:
        seat.stay.leave()
        if isinstance(failure.value, NotLive):
            raise self._missing(failure.value) from None
        return failure

    def _missing(self, reason: Exception) -> HTTPException:
        self.feeds.metrics.http_requests.labels("flv", "error").inc()
        return ServiceUnavailable(str(reason)) if isinstance(reason, CannotTell) else NotFound(str(reason))

    def _head(self) -> bytes:
        fields = [
            (b"Date", self.responses.date(self.feeds.clock.seconds())),
            (b"Content-Type", b"video/x-flv"),
            (b"Cache-Control", b"no-store"),
            (b"Connection", b"close"),
            *SHARED,
        ]
        return b"".join([b"HTTP/1.1 200 OK\r\n", *(b"%s: %s\r\n" % pair for pair in fields), b"\r\n"])

    def _shake(self, request: Request) -> tuple[Connection, bytes]:
        """:raises ProtocolError: it is no WebSocket handshake (RFC 6455, 4.2.1)."""
        handshake = H11Handshake(ConnectionType.SERVER)
        headers = [(name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
        if request.getHeader(b"host") is None:
            raise ProtocolError("no Host, which HTTP/1.0 does without")
        try:
            handshake.initiate_upgrade_connection(headers, request.path)
        except UnicodeDecodeError as error:
            raise ProtocolError("a field that is not ASCII") from error
        response = handshake.send(AcceptConnection())
        return cast(Connection, handshake.connection), response


def _rendition(args: dict[bytes, list[bytes]]) -> str:
    return args.get(b"rendition", [SOURCE.encode()])[0].decode("latin-1")

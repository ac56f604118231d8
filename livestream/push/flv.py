"""FLV over HTTP and over WebSocket: a request's connection is taken over, and the stream is pushed into it."""

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
from wsproto.connection import Connection, ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Ping
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import H11Handshake
from wsproto.utilities import ProtocolError
from zope.interface import implementer

from livestream.http.refusals import STATUS
from livestream.http.response import CLOSE, SHARED, Field, Response, ResponseFactory
from livestream.http.twisted_writer import write
from livestream.model.admission import PlayRequest, PushProtocol, Reason, Refusal
from livestream.model.names import SOURCE
from livestream.net.token_bucket import TokenBucket
from livestream.push.session import PlaybackSession
from livestream.push.viewer import ViewerTransport
from livestream.push.viewer_admission import ViewerAdmission

RECEIVED_BYTES = 8192
RECEIVED_BYTES_PER_S = 512
"""A viewer has nothing to send but a ping now and then; one that sends more, or faster, is disconnected."""

CLOSE_S = 10.0
"""How long a viewer has to take the last bytes of a broadcast."""

Args = dict[bytes, list[bytes]]
"""The fields of a query."""


class FlvTransport(ViewerTransport, Protocol):
    """A transport that was an HTTP connection's."""

    def resumeProducing(self) -> None:
        """Read: the HTTP parser may have stopped that."""


class UpgradableConnection(Protocol):
    """An HTTP connection that can become another protocol's. ``host`` is the peer's address."""

    @property
    def host(self) -> str: ...

    def take_over(self, protocol: IProtocol) -> None:
        """Hand the transport over: ``makeConnection`` is called, and nothing else writes to it any more."""


@implementer(IProtocol)
@define(eq=False)
class FlvViewer:
    """
    One viewer of FLV, who gets ``head`` first. With a ``websocket`` the feed is framed in its messages.

    ``on_lost`` is called when the connection is lost.
    """

    session: PlaybackSession
    clock: IReactorTime
    head: bytes
    on_lost: Callable[[FlvViewer], object]
    websocket: Connection | None = None
    transport: FlvTransport = field(init=False)
    _received: TokenBucket = field(factory=lambda: TokenBucket(RECEIVED_BYTES_PER_S, RECEIVED_BYTES), init=False)
    _closing: IDelayedCall | None = field(default=None, init=False)

    def makeConnection(self, transport: ITransport) -> None:
        self.transport = cast(FlvTransport, transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        self.transport.resumeProducing()
        self.transport.write(self.head)
        self.session.play(self.transport, self)

    def dataReceived(self, data: bytes) -> None:
        if self._received.take(len(data), self.clock.seconds()):
            self.session.feeds.metrics.limit_hit("viewer_bytes")
            self.transport.abortConnection()
        elif self.websocket is not None:
            self._receive(self.websocket, data)

    def connectionLost(self, reason: Failure) -> None:
        self.session.leave()
        self.on_lost(self)
        if self._closing is not None and self._closing.active():
            self._closing.cancel()

    def over(self) -> None:
        self.session.leave()
        self._close(CloseConnection(CloseReason.NORMAL_CLOSURE))

    def disconnect(self) -> None:
        """Close the connection of a broadcast that goes on: the viewer is to reconnect, here or elsewhere."""
        self.session.leave()
        self._close(CloseConnection(CloseReason.GOING_AWAY))

    def _receive(self, websocket: Connection, data: bytes) -> None:
        """Answer a viewer's pings and its close (RFC 6455, 5.5); all else that it sends is ignored."""
        try:
            websocket.receive_data(data)
            for event in websocket.events():
                if isinstance(event, Ping):
                    self.transport.write(websocket.send(event.response()))
                    self.session.wrote()
                elif isinstance(event, CloseConnection):
                    self.session.leave()
                    self._close(event.response())
        except ProtocolError:
            self.transport.abortConnection()

    def _close(self, message: CloseConnection) -> None:
        if self._closing is None:
            if self.websocket is not None:
                self.transport.write(self.websocket.send(message))
            self._closing = self.clock.callLater(CLOSE_S, self.transport.abortConnection)
            self.transport.loseConnection()


@define(eq=False)
class FlvPush:
    """Answers ``/live/STREAM.flv``, with WebSocket messages where the request asks for that."""

    admission: ViewerAdmission
    responses: ResponseFactory
    _viewers: set[FlvViewer] = field(factory=set, init=False)

    @property
    def watching(self) -> int:
        """How many viewers are connected."""
        return len(self._viewers)

    def disconnect_at_key_frame(self) -> None:
        """Have every viewer reconnect, here or elsewhere, at its next key frame."""
        for viewer in list(self._viewers):
            viewer.session.at_key_frame(partial(self._disconnect, viewer))

    def disconnect_all(self) -> None:
        """End every viewer's connection now."""
        for viewer in list(self._viewers):
            self._disconnect(viewer)

    def refusal(self, stream: str, query: bytes) -> str | None:
        """The status with which a request is refused at once; ``None`` where :meth:`view` is to answer it."""
        args = parse_qs(query, keep_blank_values=True) if query else {}
        refusal = self.admission.refusal(_play_request(stream, args, "", PushProtocol.FLV))
        return None if refusal is None else STATUS[refusal.reason]

    def view(self, request: Request, stream: str) -> Deferred[None]:
        """
        Push a stream into a request's connection. It then never fires; before that it may be cancelled.

        It fails with `Refusal` if the stream cannot be watched, or the request is no WebSocket handshake.
        """
        viewing = Deferred.fromCoroutine(self._admit(request, stream))
        return viewing.addCallbacks(self._begin, self._count_refused, (request,))

    async def _admit(self, request: Request, stream: str) -> FlvViewer:
        websocket, head = None, b""
        wants_websocket = request.getHeader(b"upgrade") is not None
        if wants_websocket:
            try:
                websocket, head = self._shake(request)
            except ProtocolError as error:
                raise Refusal(Reason.UNKNOWN_PATH, str(error)) from None
        protocol = PushProtocol.FLV_WEBSOCKET if wants_websocket else PushProtocol.FLV
        peer = cast(UpgradableConnection, request.channel).host
        session = await self.admission.admit(_play_request(stream, request.args, peer, protocol))
        clock = session.feeds.clock
        head = head or Response("200 OK", self._fields(), "flv", "hit").head()
        return FlvViewer(session, clock, head, self._viewers.discard, websocket)

    def describe(self, request: Request, stream: str) -> Deferred[None]:
        """
        Answer a HEAD with the header that a GET gets. It waits as a GET does, and fails as `view` does.

        What a HEAD asks to upgrade stays HTTP (RFC 6455, 4.1).
        """
        return Deferred.fromCoroutine(self._describe(request, stream)).addErrback(self._count_refused)

    async def _describe(self, request: Request, stream: str) -> None:
        peer = cast(UpgradableConnection, request.channel).host
        session = await self.admission.admit(_play_request(stream, request.args, peer, PushProtocol.FLV))
        session.leave()
        self._count("hit")
        await write(request, Response("200 OK", self._fields(), "flv", "hit"))

    def _begin(self, viewer: FlvViewer, request: Request) -> Deferred[None]:
        self._count("hit")
        self._viewers.add(viewer)
        cast(UpgradableConnection, request.channel).take_over(viewer)
        return Deferred()

    def _count_refused(self, failure: Failure) -> Failure:
        if failure.check(Refusal):
            self._count("error")
        return failure

    def _count(self, outcome: str) -> None:
        self.admission.feeds.metrics.http_requests.labels("flv", outcome).inc()

    def _disconnect(self, viewer: FlvViewer) -> None:
        if viewer in self._viewers:
            viewer.disconnect()

    def _fields(self) -> tuple[Field, ...]:
        return (
            (b"Date", self.responses.date(self.admission.feeds.clock.seconds())),
            (b"Content-Type", b"video/x-flv"),
            (b"Cache-Control", b"no-store"),
            CLOSE,
            *SHARED,
        )

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


def _play_request(stream: str, args: Args, peer: str, protocol: PushProtocol) -> PlayRequest:
    query = {name.decode("latin-1"): values[0].decode("latin-1") for name, values in args.items()}
    return PlayRequest(stream, query.get("rendition", SOURCE), query, peer, protocol)

"""
One viewer's HTTP connection: heads are read strictly, one request is answered at a time, and deadlines are kept.

What is ready in memory is answered by the fast path; anything else goes to Twisted's parser, which so sees only heads
that have been read strictly, that announce no body, and that come when the request before has been answered.
"""

from __future__ import annotations

import math
from typing import Protocol, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProtocol, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.server import Request, Site

from livestream.http.access_log import AccessLog, entry
from livestream.http.client_address import TrustedProxies
from livestream.http.counters import RequestCounters
from livestream.http.head import Refused, parse
from livestream.http.head_reader import IDLE, LINGER_S, ConnectionPhase, HeadReader, HeadServer
from livestream.http.limits import ConnectionLimits
from livestream.http.outflow import Outflow
from livestream.http.peer import Peer
from livestream.http.prepared import FastPath, Ready
from livestream.http.response import CLOSE, Response, ResponseFactory
from livestream.http.signatures import Signatures
from livestream.http.twisted_writer import head_of
from livestream.net.address_limiter import AddressLimiter
from livestream.net.direct_socket import DirectSocket, set_read_bytes
from livestream.net.proxy_protocol import ProxyPreface
from livestream.net.tcp import tune

PROGRESS_BYTES = 65536
"""A reader must have taken this much, or all, within the time that a stall may last."""

READ_BYTES = 16384
"""So much is read at once: a request has a tenth of it."""


class Server(HeadServer, Protocol):
    """What a connection needs of the site that it belongs to."""

    responses: ResponseFactory
    access: AccessLog | None
    signatures: Signatures | None
    counters: RequestCounters
    addresses: AddressLimiter
    proxies: TrustedProxies

    def adopt(self, direct: DirectSocket) -> None: ...
    def connection_lost(self, connection: HttpConnection, direct: DirectSocket | None) -> None: ...
    def failed(self, reason: Failure) -> None: ...


class HttpConnection(HeadReader):
    """Serves one connection of a site, which comes from ``host`` and is counted as one of ``group``."""

    site: Site
    server: Server
    check_at = math.inf
    requests_seen = 0

    _direct: DirectSocket | None = None
    _outflow: Outflow | None = None
    _is_last = False  # the connection is closed after the response that is being sent
    _waiting: Deferred[Response] | None = None
    _resumed = 0
    _seen: tuple[ConnectionPhase, int, int] = (ConnectionPhase.READING, 0, 0)

    def __init__(
        self, server: Server, limits: ConnectionLimits, host: str, fast_path: FastPath | None, group: str = ""
    ) -> None:
        super().__init__()
        self._fast_path = fast_path
        self._prepared = None if fast_path is None else fast_path.prepared
        self._access = server.access
        self.peer = Peer(server, host, group)
        self.logged_host = self.peer.log_prefix
        self.server = server
        self.limits = limits
        self.timeOut = None
        self.MAX_LENGTH = self.totalHeadersSize = limits.head.head_bytes

    @property
    def host(self) -> str:
        """The peer's address."""
        return self.peer.host

    def connectionMade(self) -> None:
        super().connectionMade()
        self._since = self.server.timeouts.now
        self.server.timeouts.watch(self, self._since + self.limits.header_s + 1)
        self._direct = DirectSocket.of(self.transport)
        if self._direct is not None:
            set_read_bytes(self.transport, READ_BYTES)
            tune(self.transport, self.limits.tcp)
            self.server.adopt(self._direct)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.phase = ConnectionPhase.LOST
        if self._outflow is not None:
            self._outflow.abandon()
            self._outflow = None
        if self._waiting is not None:
            self._waiting.cancel()
        direct, self._direct = self._direct, None
        self._keep(b"")
        self.__dict__.pop("dataReceived", None)
        super().connectionLost(reason)
        self.server.connection_lost(self, direct)

    def dataReceived(self, data: bytes) -> None:
        try:
            prepared = self._prepared
            if self.phase is not IDLE or self._held:
                self._hold(data)
            elif prepared is None or (ready := prepared.find(data)) is None or not self._send(ready):
                self._take(data)
        except Exception:
            self.server.failed(Failure())
            self.abort()

    def await_address(self) -> None:
        """Expect a header of the PROXY protocol first, with the peer's address, within the time that a head has."""
        self.dataReceived = ProxyPreface(self._begin, self._no_header).receive  # type: ignore[method-assign]

    def _begin(self, address: str, data: bytes) -> None:
        del self.dataReceived
        if not self.peer.set_address(address):
            self.abort()
            return
        self.logged_host = self.peer.log_prefix
        if data:
            self.dataReceived(data)

    def _no_header(self, reason: str) -> None:
        self.server.addresses.warn_of_proxy(self.host, reason)
        self.abort()

    def _serve(self, head: bytes) -> None:
        prepared, fast_path = self._prepared, self._fast_path
        if prepared is not None and (ready := prepared.find(head)) is not None and self._send(ready):
            return
        try:
            parsed = parse(head, self.limits.head)
            if self.server.signatures is not None:
                self.server.signatures.check(parsed, self.host)
        except Refused as reason:
            self._refuse(reason)
            return
        if parsed.was_absolute:
            head = parsed.encoded()
        found = None
        if fast_path is not None and self._is_free():
            found = fast_path.answer(parsed, head, self.host)
            if isinstance(found, Ready) and self._send(self._logged(found, head)):
                return
        forwarded = parsed.fields.get(b"x-forwarded-for")
        if forwarded is not None and not self.peer.count_viewer(forwarded):
            self._refuse(Refused("429 Too Many Requests"))
        elif callable(found):
            self._wait_for(found(), head.partition(b"\r\n")[0])
        else:
            self.requests_seen += 1
            self.phase = ConnectionPhase.ANSWERING
            super().dataReceived(head)

    def _logged(self, ready: Ready, head: bytes) -> Ready:
        """A response, with its line in the access log if there is one."""
        return ready if ready.log_entry or self._access is None else ready.logged_for(head.partition(b"\r\n")[0])

    def _refuse(self, reason: Refused) -> None:
        """Send an error, read nothing more, and close."""
        if reason.limit:
            self.server.metrics.limit_hit(reason.limit)
        responses, now = self.server.responses, self.server.clock.seconds()
        response = responses.error(reason.status, now, "", *(() if responses.are_last else (CLOSE,)))
        self.write(response.head() + response.read())
        self.close()

    def close(self) -> None:
        """Close once what was written has gone; a peer that is still sending can read the response meanwhile."""
        self._closes_within(LINGER_S)
        if self._direct is not None:
            self._resume_reading()
            self._direct.transport.loseWriteConnection()
        else:
            self.loseConnection()

    # Answering

    def _send(self, ready: Ready) -> bool:
        """Send what is ready past the transport; return whether that could be done."""
        direct = self._direct
        if direct is None or not direct.is_free():
            return False
        counter = ready.counter
        counter.requests += 1
        counter.body_bytes += ready.body_bytes
        if self._access is not None:
            self._access.add(self.logged_host, ready.log_entry)
        self.requests_seen += 1
        self.phase = IDLE
        try:
            sent = ready.send(direct)
        except OSError:
            self.abort()
            return True
        if sent < ready.total:
            self._is_last = ready.is_last
            self._send_rest(direct, ready, sent)
        elif ready.is_last:
            self.close()
        return True

    def _send_rest(self, direct: DirectSocket, ready: Ready, sent: int) -> None:
        """The socket is full: the next request has to wait for the rest."""
        self.phase = ConnectionPhase.ANSWERING
        start = ready.start + max(sent - len(ready.data), 0)
        self._outflow = Outflow(direct, ready.data[sent:], ready.body, start, ready.stop, self._rest_sent)
        self._outflow.wait()

    def _rest_sent(self) -> None:
        self._outflow = None
        if self._is_last:
            self.close()
            return
        self.phase = ConnectionPhase.IDLE
        self._resume_reading()
        self._go_on()

    def _wait_for(self, response: Deferred[Response], line: bytes) -> None:
        self.requests_seen += 1
        self.phase = ConnectionPhase.ANSWERING
        self._waiting = response
        response.addCallbacks(self._give, self._left, (line,))

    def _left(self, failure: Failure) -> None:
        """The peer has gone, and its place in the queue with it; or something is wrong here."""
        if not failure.check(CancelledError):
            self.server.failed(failure)
            self.abort()

    def _give(self, response: Response, line: bytes) -> None:
        """Send a response that was waited for; its body may still be arriving."""
        self._waiting = None
        if self.peer.viewer_group:
            self.peer.release_viewer()
        direct = self._direct
        assert direct is not None
        self.server.counters.count(response)
        if self._access is not None:
            logged = entry(line, response.code, response.length, response.outcome)
            self._access.add(self.logged_host, logged)
        self._is_last = response.is_last
        start, stop = response.start + len(response.opened), response.start + response.length
        self._outflow = Outflow(direct, response.opening, response.body, start, stop, self._rest_sent)
        if self._outflow.begin():
            self._rest_sent()

    def _is_free(self) -> bool:
        return self._direct is not None and self._direct.is_free()

    def send_direct(self, request: Request, response: Response) -> Deferred[None] | None:
        """
        Send a response whose header is set on ``request`` straight to the socket; ``None`` if that cannot be now.

        The Deferred fires when the last byte is with the kernel; cancelling it stops nothing.
        """
        direct = self._direct
        if direct is None or not direct.is_free():
            return None
        request.startedWriting = 1
        request.sentLength = response.length
        done: Deferred[None] = Deferred()

        def sent() -> None:
            self._outflow = None
            done.callback(None)

        stop = response.start + response.length
        self._outflow = Outflow(direct, head_of(request), response.body, response.start, stop, sent)
        if self._outflow.begin():
            sent()
        return done

    def requestDone(self, request: Request) -> None:
        if self.peer.viewer_group:
            self.peer.release_viewer()
        self.persistent = self.persistent and not request.responseHeaders.hasHeader(CLOSE[0])
        if self.persistent:
            self.phase = ConnectionPhase.IDLE
        else:
            self._closes_within(self.limits.stall_s)
        super().requestDone(request)
        self._go_on()

    def pauseProducing(self) -> None:
        self._is_queue_full = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._is_queue_full = False
        super().resumeProducing()
        self._resumed += 1
        self._go_on()

    # Handing over

    def take_over(self, protocol: IProtocol) -> None:
        """
        Give the connection to another protocol, which gets all that the peer sends from here on.

        It still counts as one of the site's connections, and only the other protocol's deadlines hold.
        """
        self.phase = ConnectionPhase.TAKEN
        cast(IConsumer, self.transport).unregisterProducer()
        held = self._take_held()

        def lost(reason: Failure) -> None:
            self.server.connection_lost(self, self._direct)
            protocol.connectionLost(reason)

        self.dataReceived = protocol.dataReceived  # type: ignore[method-assign]
        self.connectionLost = lost  # type: ignore[method-assign, assignment]
        protocol.makeConnection(cast(ITransport, self.transport))
        if held:
            protocol.dataReceived(held)

    # Deadlines

    def check_timeouts(self, now: int) -> float:
        """Close the connection if it is overdue; return when to check again."""
        if self.phase in (ConnectionPhase.TAKEN, ConnectionPhase.LOST):
            return math.inf
        if self.phase is ConnectionPhase.CLOSING and now >= self._since:
            self.abort()
            return math.inf
        if self.phase is ConnectionPhase.CLOSING:
            return self._since
        return self._check_head(now) if self.phase is ConnectionPhase.READING else self._check_progress(now)

    def _check_head(self, now: int) -> float:
        deadline = self._since + self.limits.header_s
        if now <= deadline:
            return deadline + 1
        self._refuse(Refused("408 Request Timeout", "header_time"))
        return now + LINGER_S

    def _check_progress(self, now: int) -> float:
        phase, requests, moved = self._seen
        moves = self._moved_bytes()
        has_moved = moves >= moved + PROGRESS_BYTES or not self._is_blocked()
        if (
            phase is not self.phase
            or requests != self.requests_seen
            or (phase is ConnectionPhase.ANSWERING and has_moved)
        ):
            self._seen, self._since = (self.phase, self.requests_seen, moves), now
        limit_s = self.limits.idle_s if self.phase is ConnectionPhase.IDLE else self.limits.stall_s
        if now - self._since >= limit_s:
            if self.phase is ConnectionPhase.ANSWERING:
                self.server.metrics.limit_hit("stall")
            self.abort()
            return math.inf
        return now + min(self.limits.idle_s, self.limits.stall_s) / 5

    def _is_blocked(self) -> bool:
        """Whether the peer's reading is what is waited for."""
        return self._is_queue_full if self._outflow is None else self._outflow.is_blocked

    def _moved_bytes(self) -> int:
        return self._resumed * PROGRESS_BYTES if self._outflow is None else self._outflow.moved_bytes

"""
The HTTP server of a tier: Twisted's, behind a strict reader of heads and with the limits that it lacks.

:class:`HttpSite` admits connections; a :class:`~livestream.http.connection.HttpConnection` serves each.
"""

from __future__ import annotations

import math
import re
from typing import ClassVar, Protocol, cast

from attrs import frozen
from twisted.internet.interfaces import IAddress, IReactorFDSet, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from livestream.http.access_log import AccessLog, entry
from livestream.http.client_address import TrustedProxies
from livestream.http.connection import HttpConnection
from livestream.http.counters import RequestCounters
from livestream.http.head_reader import ConnectionPhase
from livestream.http.limits import HttpLimits
from livestream.http.prepared import FastPath
from livestream.http.response import Response, ResponseFactory
from livestream.http.signatures import Signatures
from livestream.http.timeouts import Timeouts
from livestream.http.twisted_writer import write
from livestream.net.address_limiter import AddressLimiter
from livestream.net.direct_socket import DirectSocket, Poller

PATH = re.compile(rb"/|(?:/[A-Za-z0-9_~-][A-Za-z0-9._~=-]*)+")
"""A path that may name something: nothing encoded, no empty or dotted step, so that there is one way to write it."""

METHODS = (b"GET", b"HEAD", b"OPTIONS")

DEFAULT_LIMITS = HttpLimits()
NO_PROXIES = TrustedProxies()
FAILURE_LOG_S = 60.0
"""Internal errors are logged once a minute: whoever can cause them could fill the disk with their tracebacks."""


class Admission(Protocol):
    """Decides which requests reach the application."""

    def refusal(self, request: Request, now: float) -> Response | None:
        """The response to one that does not, at the Unix time ``now``; ``None``: it does."""


@frozen
class ReadOnly:
    """Lets requests through that read, and a POST to a path that ``posts`` matches (an `Admission`)."""

    responses: ResponseFactory
    posts: re.Pattern[bytes] | None = None

    def refusal(self, request: Request, now: float) -> Response | None:
        if PATH.fullmatch(request.path) is None:
            return self.responses.error("404 Not Found", now)
        if request.method in METHODS:
            return None
        if request.method == b"POST" and self.posts is not None and self.posts.fullmatch(request.path):
            return None
        return self.responses.error("405 Method Not Allowed", now, "", (b"Allow", b"GET, HEAD, OPTIONS"))


class AdmittedRequest(Request):
    """A request that the fast path left. What is not admitted never reaches the application."""

    channel: HttpConnection
    outcome = ""

    def process(self) -> None:
        site = cast(HttpSite, self.channel.site)
        response = site.admission.refusal(self, site.clock.seconds())
        if response is None:
            super().process()
        else:
            write(self, response).addCallback(self._written)

    def getRequestHostname(self) -> bytes:
        """What routes are bound to; there is none here that depends on the host that was asked for."""
        return b"localhost"

    def processingFailed(self, reason: Failure) -> None:
        """The application has failed: a 500 says so to the peer, if the response has not begun."""
        site = cast(HttpSite, self.site)
        site.failed(reason)
        if self.finished or self.channel is None:  # Twisted takes the channel from a request whose peer has gone
            return
        if self.startedWriting:
            self.channel.abort()
        else:
            write(self, site.responses.error("500 Internal Server Error", site.clock.seconds()), is_direct=False)
            self.finish()

    def _written(self, _: None) -> None:
        self.finish()

    def render(self, resrc: IResource) -> None:
        self.responseHeaders.removeHeader(b"Server")
        super().render(resrc)


class HttpSite(Site):
    """
    Serves a resource with limits, deadlines and a fast path.

    Without ``fast_path``, everything is answered by the resource; without ``access``, no access log is kept; without
    ``signatures``, signatures of nodes are not checked. ``admission`` says which requests the resource gets.
    Connections are counted as viewers of ``protocol``, if there is one, and a refused one as of ``connections_limit``;
    those of ``proxies`` carry the requests of many viewers. No address has a limit until ``addresses`` is given some.
    """

    errors: ClassVar[Logger] = Logger()  # ``log`` is Twisted's name for the access log

    def __init__(
        self,
        resource: IResource,
        responses: ResponseFactory,
        counters: RequestCounters,
        clock: IReactorTime,
        *,
        limits: HttpLimits = DEFAULT_LIMITS,
        fast_path: FastPath | None = None,
        access: AccessLog | None = None,
        signatures: Signatures | None = None,
        admission: Admission | None = None,
        protocol: str = "",
        connections_limit: str = "connections",
        proxies: TrustedProxies = NO_PROXIES,
    ) -> None:
        super().__init__(resource, requestFactory=AdmittedRequest, timeout=None, reactor=clock)
        self.responses = responses
        self.counters = counters
        self.metrics = counters.metrics
        self.clock = clock
        self.limits = limits
        self.fast_path = fast_path
        self.access = access
        self.signatures = signatures
        self.admission: Admission = admission or ReadOnly(responses)
        self.addresses = AddressLimiter("", clock, self.metrics)
        self.proxies = proxies
        self.timeouts = Timeouts(clock)
        self.connections: set[HttpConnection] = set()
        self.held_bytes = 0  # of requests that cannot be served yet, or have not come as a whole
        self.left_at = -math.inf  # when the last peer left that had asked for something
        self._polling = Poller(clock) if IReactorFDSet.providedBy(clock) else None
        self._viewers = self.metrics.viewers.labels(protocol) if protocol else None
        self._connections_limit = connections_limit
        self._failed_at = -math.inf
        self._failures = 0

    def startFactory(self) -> None:
        self.timeouts.start()

    def stopFactory(self) -> None:
        self.timeouts.stop()
        if self.access is not None:
            self.access.flush()

    def buildProtocol(self, addr: IAddress | None) -> HttpConnection | None:  # type: ignore[override]
        host = getattr(addr, "host", "")
        if 0 < self.limits.connections <= len(self.connections):
            self.metrics.limit_hit(self._connections_limit)
            return None
        if host in self.addresses.proxies:
            connection = HttpConnection(self, self.limits.per_connection, host, self.fast_path)
            connection.await_address()
        elif (group := self.addresses.connect(host)) is not None:
            connection = HttpConnection(self, self.limits.per_connection, host, self.fast_path, group)
        else:
            return None
        connection.factory = connection.site = self
        connection.requestFactory = AdmittedRequest
        self.connections.add(connection)
        if self._viewers is not None:
            self._viewers.inc()
        return connection

    def adopt(self, direct: DirectSocket) -> None:
        """A plain connection has been made."""
        if self._polling is not None:
            self._polling.adopt(direct)

    def connection_lost(self, connection: HttpConnection, direct: DirectSocket | None) -> None:
        """A connection, with that socket if it was plain, is lost."""
        if self._polling is not None and direct is not None:
            self._polling.release(direct)
        self.connections.discard(connection)
        if connection.requests_seen:
            self.left_at = self.clock.seconds()
        if self._viewers is not None:
            self._viewers.dec()
        connection.peer.release()

    def drain(self) -> None:
        """This node is draining: requests are served, and every connection is closed after its next response."""
        self.responses.close_after_response()
        if self.fast_path is not None:
            self.fast_path.prepared.invalidate_all()

    def close_idle(self) -> None:
        """Close the connections on which no request is being answered."""
        for connection in list(self.connections):
            if connection.phase in (ConnectionPhase.READING, ConnectionPhase.IDLE):
                connection.close()

    @property
    def answering(self) -> int:
        """How many connections have a response on its way to them."""
        return sum(
            connection.phase in (ConnectionPhase.ANSWERING, ConnectionPhase.CLOSING) for connection in self.connections
        )

    def failed(self, reason: Failure) -> None:
        """Log an internal error, but not each time."""
        self._failures += 1
        now = self.clock.seconds()
        if abs(now - self._failed_at) >= FAILURE_LOG_S:
            self._failed_at = now
            self.errors.failure(
                "{count} requests failed with an internal error; the last one:", reason, count=self._failures
            )
            self._failures = 0

    def log(self, request: AdmittedRequest) -> None:  # type: ignore[override]
        """Log a request that was not answered on the fast path."""
        connection = request.channel
        if self.access is not None:
            line = b" ".join((request.method, request.uri, request.clientproto))
            self.access.add(connection.logged_host, entry(line, request.code, request.sentLength, request.outcome))

"""Pooled connections to upstream nodes, aborted when a response header is too long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from livestream.net.direct_socket import set_read_bytes
from livestream.net.tcp import NODE, tune

CONNECT_S = 1.0

HEAD_BYTES = 16384
"""A response header may be as long as this, with what came in the same read as its end."""

READ_BYTES = 1 << 18
"""
So much is read at once over plain TCP, instead of Twisted's 64 KB: what arrived while many viewers were being served is
handed on together.
"""

PERSISTENT = 160
"""So many idle connections are kept to one node: as many as an origin uses at once, and some more."""

IDLE_S = 20
"""For so long: less than the upstream node keeps them, or a request could meet a connection that is being closed."""


class BoundedHead(ProtocolWrapper):
    """
    Aborts the connection of a peer whose response header is longer than `HEAD_BYTES`.

    Twisted's client limits the length of a line, but neither the number of lines nor that of interim (1xx) responses.
    That a header is complete shows in that it pauses its transport.
    """

    transport: Any
    _head_bytes: int | None = None

    def connectionMade(self) -> None:
        tune(self.transport, NODE)
        set_read_bytes(self.transport, READ_BYTES)

    def write(self, data: bytes) -> None:
        self._head_bytes = 0
        self.transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._head_bytes = 0
        self.transport.writeSequence(data)

    def pauseProducing(self) -> None:
        self._head_bytes = None
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        self.wrappedProtocol.dataReceived(data)
        if self._head_bytes is not None and self._head_bytes > HEAD_BYTES:
            self.transport.abortConnection()


@implementer(IStreamClientEndpoint)
@define(eq=False)
class BoundedEndpoint:
    """Connects as ``endpoint`` does, through a :class:`BoundedHead`."""

    endpoint: IStreamClientEndpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        wrapped: Any = factory
        wrapping: Any = WrappingFactory(wrapped)
        wrapping.protocol = BoundedHead
        wrapped.noisy = wrapping.noisy = False
        connecting: Deferred[Any] = self.endpoint.connect(wrapping)
        return connecting.addCallback(lambda bounded: bounded.wrappedProtocol)


@implementer(IAgentEndpointFactory)
@define(eq=False)
class BoundedEndpoints:
    """The endpoint that an agent connects to, for a URI."""

    reactor: Any

    def endpointForURI(self, uri: Any) -> BoundedEndpoint:
        host = uri.host.decode("ascii")
        endpoint: Any = HostnameEndpoint(self.reactor, host, uri.port, timeout=CONNECT_S)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
        return BoundedEndpoint(endpoint)


def persistent_connections(reactor: Any) -> HTTPConnectionPool:
    """A pool that never repeats a request by itself: each is counted by who makes it."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = PERSISTENT
    pool.retryAutomatically = False
    pool.cachedConnectionTimeout = IDLE_S
    return pool

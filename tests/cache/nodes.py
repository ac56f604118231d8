"""Upstream nodes whose every byte is the test's, over connections in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import Agent

from livestream.bus.announcements import decode_document
from livestream.cache.fill import Fill
from livestream.cache.store import Key
from livestream.cache.upstream.connections import BoundedEndpoint, persistent_connections
from livestream.cache.upstream.node import UpstreamNode
from livestream.cache.upstream.tier import UpstreamTier
from livestream.metrics import Metrics
from livestream.model.segments import ObjectInfo
from livestream.signing import Credentials
from tests.observer import Observer

KEY = Key("show", "source", "1-7.m4s")


def info_of(data: bytes, name: str = KEY.name) -> ObjectInfo:
    return ObjectInfo(name, len(data), hashlib.sha256(data).hexdigest())


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """An answer with its length, other fields, and a body."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


class Line(StringTransport):
    """One connection, as the node sees it; like a real one, it tells of its end a little later."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.protocol: Any = None
        self.said = b""
        self.is_open = True

    @property
    def requests(self) -> list[str]:
        text: str = self.value().decode("ascii")
        return text.split("\r\n\r\n")[:-1]

    def say(self, data: bytes) -> None:
        """Send what is read as soon as the client reads."""
        self.said += data
        while self.said and self.is_open and self.producerState == "producing":
            now, self.said = self.said[:65536], self.said[65536:]
            self.protocol.dataReceived(now)

    def cut(self) -> None:
        """The connection breaks."""
        if self.is_open:
            self._end(ConnectionLost())

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.clock.callLater(0, self.say, b"")

    def loseConnection(self) -> None:
        self.clock.callLater(0, self._end, ConnectionDone())

    def abortConnection(self) -> None:
        self.clock.callLater(0, self._end, ConnectionAborted())

    def _end(self, reason: Exception) -> None:
        if self.is_open:
            self.is_open = False
            self.protocol.connectionLost(Failure(reason))


@define(eq=False)
class Node:
    """An upstream node, and its connections in the order in which they were made."""

    clock: Clock
    lines: list[Line] = field(factory=list)
    is_up: bool = True
    is_frozen: bool = False
    observer: Observer = field(factory=Observer)
    credentials: Credentials = field(factory=lambda: Credentials("edge-1", "", lambda: 0.0))

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        if not self.is_up:
            return fail(ConnectionRefusedError())
        connecting: Deferred[IProtocol] = Deferred()
        if not self.is_frozen:
            line = Line(self.clock)
            line.protocol = factory.buildProtocol(None)
            line.protocol.makeConnection(line)
            self.lines.append(line)
            connecting.callback(line.protocol)
        return connecting

    def endpointForURI(self, uri: object) -> BoundedEndpoint:
        return BoundedEndpoint(self)  # type: ignore[arg-type]

    @property
    def requests(self) -> list[str]:
        return [request for line in self.lines for request in line.requests]

    def upstream(self, url: str) -> UpstreamNode:
        pool = persistent_connections(self.clock)
        agent = Agent.usingEndpointFactory(self.clock, self, pool)
        return UpstreamNode(url, agent, pool, self.clock, self.observer, self.credentials)


@define(eq=False)
class Above:
    """
    Some nodes, and the upstream tier that they make: an ``UpstreamSelection`` that is the same for all streams.

    ``order`` has the numbers of those that are known, as they are to be asked.
    """

    count: int
    clock: Clock = field(factory=Clock)
    metrics: Metrics = field(factory=Metrics)
    nodes: list[Node] = field(init=False)
    upstreams: UpstreamTier = field(init=False)
    order: list[int] = field(init=False)
    made: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.nodes = [Node(self.clock) for _ in range(self.count)]
        self.order = list(range(self.count))
        self.upstreams = UpstreamTier(self, self._connect, self.metrics, decode_document, self.clock)

    def urls(self, stream: str) -> list[str]:
        return self.every_url()

    def every_url(self) -> list[str]:
        return [f"http://node{number}" for number in self.order]

    def _connect(self, url: str) -> UpstreamNode:
        self.made.append(url)
        return self.nodes[int(url.removeprefix("http://node"))].upstream(url)

    def fetch(self, info: ObjectInfo) -> tuple[Fill, Deferred[None]]:
        fill = Fill(info, self.clock.seconds)
        return fill, self.run(self.upstreams.fetch(KEY, info, lambda: fill.body.received, fill.append))

    def run(self, work: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(work)

    def turn(self) -> None:
        """Let happen what is due now."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def leaves_nothing(self) -> bool:
        """Whether, once idle connections are closed, no connection and no timer is left."""
        self.upstreams.stop()
        self.turn()
        lines = [line for node in self.nodes for line in node.lines]
        return not any(line.is_open for line in lines) and not self.clock.getDelayedCalls()


def outcome(work: Deferred[Any]) -> Any:
    """What a Deferred came to: its result, its error, or ``None`` when it has not fired."""
    seen: list[Any] = []
    work.addBoth(seen.append)
    result = seen[0] if seen else None
    return result.value if isinstance(result, Failure) else result

"""A cache below two real nodes: Klein, real sockets, and a wire between them that is cut anywhere."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
import treq
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer
from twisted.web.http_headers import Headers

from livestream.bus.announcements import decode_document
from livestream.cache.cache import Cache
from livestream.cache.store import CachedObject, Store
from livestream.cache.upstream.node import UpstreamNode
from livestream.cache.upstream.tier import UpstreamTier
from livestream.http.head import Head
from livestream.http.signatures import Signatures
from livestream.metrics import Metrics
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body, BodyState
from livestream.signing import HEADER, Credentials, sign
from tests.cache.nodes import info_of
from tests.hls.edge import Edge
from tests.observer import Observer

RANDOM = random.Random(7)
LOOP: Any = reactor
CREDENTIALS = Credentials("edge-1", "the secret of these tests", reactor.seconds)


class CutClient(ProxyClient):
    """Forwards so many bytes of the node's, in pieces, and cuts."""

    peer: Any
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        wire = self.peer.factory
        super().dataReceived(data[: max(wire.left, 0)])
        wire.left -= len(data)
        if wire.left <= 0:
            self.transport.abortConnection()
            self.peer.transport.abortConnection()


class CutClientFactory(ProxyClientFactory):
    noisy = False
    protocol = CutClient


class CutServer(ProxyServer):
    clientProtocolFactory = CutClientFactory


class Wire(ProxyFactory):
    noisy = False
    protocol = CutServer
    left = 1 << 30


@define(eq=False)
class Tiers:
    """Node 0 is behind a wire that the test may have cut, node 1 is not."""

    nodes: list[Edge] = field(factory=lambda: [Edge(is_hot=False, loop=LOOP) for _ in range(2)])
    wire: Wire = field(init=False)
    ports: list[Any] = field(factory=list)
    above: dict[str, UpstreamNode] = field(init=False)
    upstreams: UpstreamTier = field(init=False)
    cache: Cache = field(init=False)
    known: dict[str, ObjectInfo] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for node in self.nodes:
            node.site.stopFactory()
        ports = [self._listen(node.site) for node in self.nodes]
        self.wire = Wire("127.0.0.1", ports[0])
        urls = [f"http://127.0.0.1:{port}" for port in (self._listen(self.wire), ports[1])]
        self.above = {url: UpstreamNode.at(url, reactor, Observer(), CREDENTIALS) for url in urls}
        self.upstreams = UpstreamTier(self, self.above.__getitem__, Metrics(), decode_document, reactor)
        store = Store(1 << 30, lambda _: True, lambda _: True, reactor.seconds, Metrics())
        known = lambda _stream, _rendition, name: self.known.get(name)  # noqa: E731
        self.cache = Cache(store, self.upstreams, known, reactor, reactor.seconds)

    def _listen(self, factory: Any) -> int:
        self.ports.append(reactor.listenTCP(0, factory, interface="127.0.0.1"))
        return int(self.ports[-1].getHost().port)

    def urls(self, stream: str) -> list[str]:
        return self.every_url()

    def every_url(self) -> list[str]:
        return list(self.above)

    def put(self, number: int, data: bytes) -> str:
        """Have both nodes hold an object."""
        name = f"1-{number}.m4s"
        self.known[name] = info_of(data, name)
        for node in self.nodes:
            node.library.put("show", "source", name, data)
        return name

    async def close(self) -> None:
        self.cache.stop()
        self.upstreams.stop()
        await gatherResults([port.stopListening() for port in self.ports])
        await deferLater(reactor, 0.02)


@asynccontextmanager
async def tiers() -> AsyncIterator[Tiers]:
    tiers = Tiers()
    try:
        yield tiers
    finally:
        await tiers.close()


def over(body: Body) -> Deferred[BodyState]:
    fired: Deferred[BodyState] = Deferred()

    def look() -> None:
        if body.state is not BodyState.ARRIVING and not fired.called:
            fired.callback(body.state)

    body.watch(look)
    look()
    return fired


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what must soon be so."""
    for _ in range(500):
        if is_so():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it never was")


@pytest_twisted.ensureDeferred
async def test_whatever_is_cut_every_answer_is_whole_and_right() -> None:
    async with tiers() as tier:
        for number in range(40):
            data = RANDOM.randbytes(RANDOM.choice((700, 9000, 300_000)))
            name = tier.put(number, data)
            tier.wire.left = RANDOM.randrange(len(data) + 700)
            next(iter(tier.above.values())).backoff_until = 0.0
            found: list[CachedObject] = await gatherResults([tier.cache.get("show", "source", name) for _ in range(5)])
            assert await over(found[0].body) is BodyState.WHOLE
            assert all(each.body.read(0, len(data)) == data for each in found)


@pytest_twisted.ensureDeferred
async def test_a_herd_at_a_cold_cache_is_one_request_above() -> None:
    async with tiers() as tier:
        name = tier.put(1, RANDOM.randbytes(900_000))
        found: list[CachedObject] = await gatherResults([tier.cache.get("show", "source", name) for _ in range(1000)])
        assert await over(found[0].body) is BodyState.WHOLE
        counted = [node.counted("segment", "hit") for node in tier.nodes]
        assert counted == [1, 0]


@define(eq=False)
class Heard(Signatures):
    """Remembers the fields of every request of the tier below."""

    heads: list[dict[bytes, bytes]] = field(factory=list)

    def check(self, head: Head, host: str) -> None:
        self.heads.append(head.fields)
        super().check(head, host)


def asked(tier: Tiers) -> list[Heard]:
    """What each node is asked with, from now on."""
    signatures = [Heard(CREDENTIALS) for _ in tier.nodes]
    for node, heard in zip(tier.nodes, signatures, strict=True):
        node.site.signatures = heard
    return signatures


@pytest_twisted.ensureDeferred
async def test_an_object_whose_only_node_breaks_off_is_resumed_when_that_answers_again() -> None:
    async with tiers() as tier:
        data = RANDOM.randbytes(300_000)
        name = tier.put(1, data)
        tier.above.popitem()
        [first, _], tier.wire.left = asked(tier), 150_000
        found = await tier.cache.get("show", "source", name)
        await until(lambda: tier.cache.store.held_bytes > 0)
        received = found.body.received
        assert 0 < received < 150_000
        tier.wire.left = 1 << 30
        assert await over(found.body) is BodyState.WHOLE
        assert found.body.read(0, len(data)) == data
        ranges = [head.get(b"range") for head in first.heads]
        assert ranges[0] is None and set(ranges[1:]) == {b"bytes=%d-" % received}
        assert first.heads[1][b"if-range"] == b'"%b"' % tier.known[name].digest.encode()
        await until(lambda: tier.cache.store.held_bytes == len(data))


@pytest_twisted.ensureDeferred
async def test_the_rest_of_what_another_node_altered_is_not_enough_and_all_is_fetched_once_more() -> None:
    async with tiers() as tier:
        data = RANDOM.randbytes(300_000)
        name = tier.put(1, data)
        tier.nodes[0].library.put("show", "source", name, b"?" + data[1:]).info = tier.known[name]
        [_, second], tier.wire.left = asked(tier), 150_000
        found = await tier.cache.get("show", "source", name)
        assert await over(found.body) is BodyState.FAILED
        again = await tier.cache.get("show", "source", name)
        assert await over(again.body) is BodyState.WHOLE
        assert again.body.read(0, len(data)) == data
        assert [b"range" in head for head in second.heads] == [True, False]


def left() -> tuple[int, int]:
    """How many descriptors are open and how many timers run."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(reactor.getDelayedCalls())


@pytest_twisted.ensureDeferred
async def test_no_descriptor_and_no_timer_is_left_of_what_failed() -> None:
    async with tiers() as tier:
        await tier.cache.get("show", "source", tier.put(0, b"x"))
        tier.upstreams.stop()
        await deferLater(reactor, 0.1)
        before = left()
        for number in range(20):
            name = tier.put(number, RANDOM.randbytes(20_000))
            tier.nodes[1].library.whole.clear()
            tier.wire.left = RANDOM.randrange(20_000)
            await tier.cache.get("show", "source", name).addErrback(lambda _: None)
            tier.nodes[0].library.whole.clear()
        assert len(tier.cache.store) == 1
        tier.cache.stop()
        tier.upstreams.stop()
        for _ in range(100):
            if left() <= before:
                break
            await deferLater(reactor, 0.02)
        assert left()[0] <= before[0] and left()[1] <= before[1]


@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "klein"])
@pytest_twisted.ensureDeferred
async def test_of_what_a_viewer_sends_nothing_reaches_the_tier_above(is_hot: bool) -> None:
    async with tiers() as tier:
        above = Heard(CREDENTIALS)
        for node in tier.nodes:
            node.site.signatures = above
        library: Any = tier.cache
        edge = Edge(is_hot=is_hot, loop=LOOP, library=library)
        edge.site.stopFactory()
        port = tier._listen(edge.site)
        stolen = sign("origin-9", CREDENTIALS.secret, reactor.seconds())
        fields = {HEADER: [stolen], "Cookie": ["a=b"], "Range": ["bytes=2-"], "X-Other": ["c"]}
        name = tier.put(1, b"an object")
        url = f"http://127.0.0.1:{port}/live/show/source/{name}?{HEADER}={stolen}"
        response = await treq.get(url, headers=Headers(fields), persistent=False)
        assert (response.code, await response.content()) == (206, b" object")
    [asked] = above.heads
    assert asked.keys() == {b"host", HEADER.lower().encode()}
    assert CREDENTIALS.signer(asked[HEADER.lower().encode()].decode()) == "edge-1"

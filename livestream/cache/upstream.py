"""The tier above, asked over HTTP: objects, byte by byte as they come, and the state of its streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from livestream.cache.store import Key
from livestream.metrics import Metrics

CONNECT_S = 1.0
SILENCE_S = 2.0
PERSISTENT = 64
STATE_BYTES = 16 << 20

Take = Callable[[bytes], None]


class UpstreamError(Exception):
    """The tier above did not give what it was asked for."""


class _Reader(Protocol):
    """Hands a body's bytes on, and cuts an upstream that says too much or falls silent."""

    transport: Any

    def __init__(self, take: Take, most: int, clock: IReactorTime) -> None:
        self.over: Deferred[None] = Deferred(lambda _: self._cut("no longer wanted"))
        self._take = take
        self._left = most
        self._clock = clock
        self._reason = ""
        self._watch: IDelayedCall = clock.callLater(SILENCE_S, self._cut, "it has fallen silent")

    def dataReceived(self, data: bytes) -> None:
        self._watch.reset(SILENCE_S)
        self._left -= len(data)
        if self._left < 0:
            self._cut("it says more than it should")
            return
        try:
            self._take(data)
        except Exception as error:
            self._cut(str(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._watch.active():
            self._watch.cancel()
        if self.over.called:
            return
        if reason.check(ResponseDone) and not self._reason:
            self.over.callback(None)
        else:
            self.over.errback(UpstreamError(self._reason or reason.getErrorMessage()))

    def _cut(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self.transport is not None:
            self.transport.abortConnection()


@define(eq=False)
class Upstream:
    """One node of the tier above, at ``url`` (``http://HOST:PORT``)."""

    url: str
    agent: Agent
    clock: IReactorTime

    @classmethod
    def at(cls, url: str, reactor: Any) -> Upstream:
        """The node at ``url``, with connections that are kept."""
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = PERSISTENT
        pool.retryAutomatically = False
        pool.cachedConnectionTimeout = 20
        return cls(url, Agent(reactor, connectTimeout=CONNECT_S, pool=pool), reactor)

    async def fetch(self, key: Key, start: int, size: int, take: Take) -> None:
        """
        Fetch an object of ``size`` bytes from ``start`` on, and hand its bytes to ``take`` as they come.

        :raises UpstreamError: it could not be had, or not whole.
        """
        headers = {"Range": [f"bytes={start}-"]} if start else {}
        response = await self._get(key.path, headers)
        if response.code != (206 if start else 200):
            raise UpstreamError(f"{self.url} answers {response.code}")
        if response.length != size - start:
            raise UpstreamError(f"{self.url} offers {response.length} bytes and not {size - start}")
        reader = _Reader(take, size - start, self.clock)
        response.deliverBody(reader)
        await reader.over

    async def document(self, path: str) -> bytes | None:
        """
        Read a small document; ``None`` when there is none.

        :raises UpstreamError: it could not be had.
        """
        response = await self._get(path, {})
        if response.code not in (200, 404) or (response.length is not UNKNOWN_LENGTH and response.length > STATE_BYTES):
            raise UpstreamError(f"{self.url} answers {response.code} with {response.length} bytes")
        parts: list[bytes] = []
        reader = _Reader(parts.append, STATE_BYTES, self.clock)
        response.deliverBody(reader)
        await reader.over
        return b"".join(parts) if response.code == 200 else None

    async def _get(self, path: str, headers: dict[str, list[str]]) -> IResponse:
        asked: Deferred[IResponse] = self.agent.request(b"GET", f"{self.url}{path}".encode("ascii"), Headers(headers))
        asked.addTimeout(SILENCE_S, self.clock)
        try:
            return await asked
        except Exception as error:
            raise UpstreamError(f"{self.url} does not answer: {type(error).__name__} {error}") from error


@define(eq=False)
class Upstreams:
    """The nodes of the tier above, tried in order."""

    nodes: tuple[Upstream, ...]
    metrics: Metrics
    decode: Callable[[bytes], Any]
    """Reads a state document."""
    _first: int = field(default=0, init=False)

    async def fetch(self, key: Key, size: int, have: Callable[[], int], take: Take) -> None:
        """
        Fetch an object; when a node fails in the middle, the next goes on from what ``have`` says is here.

        :raises UpstreamError: none of them could give it.
        """
        kind = "init" if key.name.endswith(".mp4") else "segment"
        reason = UpstreamError("there is no upstream")
        for node in self.nodes:
            try:
                await node.fetch(key, have(), size, take)
            except UpstreamError as error:
                self.metrics.upstream_requests.labels(kind, "error").inc()
                reason = error
                continue
            self.metrics.upstream_requests.labels(kind, "ok").inc()
            return
        raise reason

    async def states(self) -> list[Any]:
        """
        The states of all streams, from the first node that answers.

        :raises UpstreamError: none does.
        """
        return list(await self._document("/state") or ())

    async def state(self, stream: str) -> Any:
        """
        The state of one stream; ``None`` when it is not known.

        :raises UpstreamError: no node answers.
        """
        found = await self._document(f"/state/{stream}")
        return found[0] if found else None

    async def _document(self, path: str) -> Any:
        reason = UpstreamError("there is no upstream")
        for node in self.nodes:
            try:
                text = await node.document(path)
                self.metrics.upstream_requests.labels("state", "ok").inc()
                if text is not None:
                    return self.decode(text)
            except (UpstreamError, ValueError) as error:
                self.metrics.upstream_requests.labels("state", "error").inc()
                reason = UpstreamError(str(error))
                continue
            return None
        raise reason

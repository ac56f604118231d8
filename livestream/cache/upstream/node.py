"""One upstream node, asked over HTTP for objects, whose bytes are handed on as they arrive, and for small documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from livestream.cache.fill import DigestMismatch
from livestream.cache.store import Key
from livestream.cache.upstream.body_reader import (
    SILENCE_S,
    BodyReader,
    ConnectionRefused,
    DiscardedBody,
    Interrupted,
    UpstreamError,
    request_error,
)
from livestream.cache.upstream.connections import BoundedEndpoints, persistent_connections
from livestream.model.segments import ObjectInfo
from livestream.signing import Credentials

STATE_BYTES = 16 << 20
ANSWER_BYTES = 4096
BACKOFF_S = 10.0
"""After a failure the other nodes are asked first for so long."""
REFUSED_BACKOFF_S = 1.0
"""Where the connection was refused, for so long: it costs no time to find that it still is."""
MOST_SILENCE_S = 4.0
"""A node that is far away, or busy, gets so much time to begin a response, once `SILENCE_S` was not enough."""
OVERTAKEN_S = 0.5
"""A request without a response, when the node answers one that was made so much later, has lost its connection."""

REJECTED = (
    "rejected the signature of this node (403): give both nodes the same cluster.secret, and synchronize their clocks"
)

_STATE_TOKEN = re.compile(r"[0-9a-f]{1,32}-[0-9]{1,16}")
_DIGEST_TAG = re.compile(r'"[0-9a-f]{64}"')

Append = Callable[[bytes], None]


@frozen
class Document:
    """A document of states. ``token`` requests next time what has changed since; empty where a node has none."""

    text: bytes
    token: str = ""


class NotFound(UpstreamError):
    """The node does not have it, which is no failure."""


class OvertakenRequest(Interrupted):
    """The node answers later requests, so that the connection of this one must be lost."""


class Observer(Protocol):
    """Who is to know whether nodes answer."""

    def answered(self, url: str) -> None:
        """The node at ``url`` gave what it was asked for, or said that it does not have it."""

    def did_not_answer(self, url: str) -> None:
        """It did not, in time and as it should."""


@define(eq=False)
class UpstreamNode:
    """
    One upstream node, at ``url`` (``http://HOST:PORT``).

    After any failure the others are to be asked before it until ``backoff_until`` (on the clock). ``observer`` is told
    how each request ended. The node has `SILENCE_S` to begin a response, or twice what its last one took, and twice as
    long after each time that this was not enough, up to `MOST_SILENCE_S`. ``credentials`` say who asks.
    """

    url: str
    agent: Agent
    pool: HTTPConnectionPool
    clock: IReactorTime
    observer: Observer
    credentials: Credentials
    backoff_until: float = field(default=0.0, init=False)
    _is_failing: bool = field(default=False, init=False)
    _silence_s: float = field(default=SILENCE_S, init=False)
    _unanswered: dict[Deferred[IResponse], float] = field(factory=dict, init=False)
    """Requests without a response that can be overtaken, and when they were made."""

    log: ClassVar[Logger] = Logger()

    @classmethod
    def at(cls, url: str, reactor: Any, observer: Observer, credentials: Credentials) -> UpstreamNode:
        """The node at ``url``, with connections that are kept."""
        pool = persistent_connections(reactor)
        agent = Agent.usingEndpointFactory(reactor, BoundedEndpoints(reactor), pool)
        return cls(url, agent, pool, reactor, observer, credentials)

    @property
    def is_backed_off(self) -> bool:
        return 0 < self.backoff_until - self.clock.seconds() <= BACKOFF_S

    async def fetch(
        self, key: Key, info: ObjectInfo, start: int, append: Append, *, can_be_overtaken: bool = True
    ) -> None:
        """
        Fetch an object from ``start`` on, and hand its bytes to ``append`` as they come.

        A node that answers the Range request with 200 sends all of the object (RFC 9110, 14.2): what comes before
        ``start`` is skipped.

        :raises OvertakenRequest: the node answers later requests; only if this one ``can_be_overtaken``.
        :raises UpstreamError: it could not be fetched, or not to its end.
        :raises DigestMismatch: it is not what was announced, in these bytes or in those before ``start``.
        """
        headers = {"Range": [f"bytes={start}-"], "If-Range": [f'"{info.digest}"']} if start else {}
        excused = (NotFound, OvertakenRequest, DigestMismatch) if start else (NotFound, OvertakenRequest)
        with self._blamed(excused):
            response = await self._get(key.path, headers, can_be_overtaken=can_be_overtaken)
            skipped = start if response.code == 200 else 0
            _accept(response, _fault(response, info, start - skipped))
            await self._read(response, _skipping(skipped, append) if skipped else append, info.size - start + skipped)

    async def document(self, path: str) -> Document | None:
        """
        Read a document; ``None`` when there is none.

        :raises UpstreamError: it could not be read.
        """
        parts: list[bytes] = []
        try:
            with self._blamed(excused=(NotFound,)):
                response = await self._get(path, {})
                _accept(response, "" if response.code == 200 else f"answered {response.code}")
                await self._read(response, parts.append, STATE_BYTES)
        except NotFound:
            return None
        token = response.headers.getRawHeaders("x-livestream-state", [""])[0]
        return Document(b"".join(parts), token if _STATE_TOKEN.fullmatch(token) else "")

    async def post(self, path: str) -> tuple[int, bytes]:
        """
        Make a POST request, once; return the status and the body, of `ANSWER_BYTES` at most.

        :raises UpstreamError: there was no response.
        """
        parts: list[bytes] = []
        with self._blamed(excused=()):
            response = await self._get(path, {}, b"POST")
            await self._read(response, parts.append, ANSWER_BYTES)
        return response.code, b"".join(parts)

    def stop(self) -> None:
        """Close the connections that are idle."""
        self.pool.closeCachedConnections()

    async def _get(
        self, path: str, headers: dict[str, list[str]], method: bytes = b"GET", *, can_be_overtaken: bool = False
    ) -> IResponse:
        """
        Request ``path``, and return the response once its header is here.

        :raises UpstreamError: none came in time, or the node rejects the signature.
        """
        signed = Headers({**self.credentials.headers(), **headers})
        try:
            asked: Deferred[IResponse] = self.agent.request(method, f"{self.url}{path}".encode("ascii"), signed)
        except ValueError as error:
            raise UpstreamError(f"is not a valid address: {error}") from error
        asked_at = self.clock.seconds()
        if can_be_overtaken:
            self._unanswered[asked] = asked_at
        deadline = self.clock.callLater(self._silence_s, asked.cancel)
        try:
            response = await asked
        except Exception as error:
            if can_be_overtaken and asked not in self._unanswered:
                raise OvertakenRequest("answered later requests and not this one") from error
            if not deadline.active():
                self._set_silence(2 * self._silence_s)
                raise UpstreamError("did not answer in time") from error
            raise request_error(Failure(error)) from error
        finally:
            self._unanswered.pop(asked, None)
            if deadline.active():
                deadline.cancel()
        self._answered(asked_at)
        if response.code == 403:
            response.deliverBody(DiscardedBody())
            raise UpstreamError(REJECTED if self.credentials.secret else "answered 403")
        return response

    def _answered(self, asked_at: float) -> None:
        self._set_silence(2 * (self.clock.seconds() - asked_at))
        if self._unanswered:
            self._cancel_overtaken(asked_at - OVERTAKEN_S)

    def _cancel_overtaken(self, before: float) -> None:
        for overtaken in [request for request, made_at in self._unanswered.items() if made_at < before]:
            del self._unanswered[overtaken]
            overtaken.cancel()

    def _set_silence(self, seconds: float) -> None:
        self._silence_s = min(max(seconds, SILENCE_S), MOST_SILENCE_S)

    async def _read(self, response: IResponse, append: Append, limit_bytes: int) -> None:
        reader = BodyReader(append, limit_bytes, self.clock)
        response.deliverBody(reader)
        await reader.finished

    @contextmanager
    def _blamed(self, excused: tuple[type[Exception], ...]) -> Iterator[None]:
        """Back off from the node after an error, unless it is not the node's."""
        try:
            yield
        except (UpstreamError, DigestMismatch) as error:
            if isinstance(error, excused):
                self.observer.answered(self.url)
            else:
                self._back_off(error)
            raise
        self.observer.answered(self.url)
        if self._is_failing:
            self._is_failing = False
            self.log.info("upstream {url} recovered", url=self.url)

    def _back_off(self, error: Exception) -> None:
        self.observer.did_not_answer(self.url)
        if not self._is_failing:
            self._is_failing = True
            self.log.warn("upstream {url} {reason}; trying the others first", url=self.url, reason=str(error))
        self.backoff_until = self.clock.seconds() + (
            REFUSED_BACKOFF_S if isinstance(error, ConnectionRefused) else BACKOFF_S
        )
        self.stop()


def _accept(response: IResponse, fault: str) -> None:
    """
    Make sure that a response can be used.

    :raises UpstreamError: it cannot; its connection is closed.
    """
    encoding = response.headers.getRawHeaders("content-encoding", [])
    if encoding:
        fault = f"applied the content coding {encoding[0][:40]!r}"
    if fault:
        response.deliverBody(DiscardedBody())
        raise NotFound(fault) if response.code == 404 else UpstreamError(fault)


def _skipping(count: int, append: Append) -> Append:
    """Hand on to ``append`` what follows the first ``count`` bytes."""

    def skip(data: bytes) -> None:
        nonlocal count
        skipped = min(count, len(data))
        count -= skipped
        if skipped < len(data):
            append(data[skipped:])

    return skip


def _fault(response: IResponse, info: ObjectInfo, start: int) -> str:
    """What is wrong with a response that should be an object from ``start`` on; empty if nothing is."""
    if response.code != (206 if start else 200):
        return f"answered {response.code}"
    if response.length != info.size - start:
        offered = "an unknown number of" if response.length is UNKNOWN_LENGTH else response.length
        return f"offered {offered} bytes instead of {info.size - start}"
    if start and response.headers.getRawHeaders("content-range") != [f"bytes {start}-{info.size - 1}/{info.size}"]:
        return "sent another range than the requested one"
    tag = response.headers.getRawHeaders("etag", [""])[0]
    if _DIGEST_TAG.fullmatch(tag) and tag[1:-1] != info.digest:
        return "has another object under that name"
    return ""

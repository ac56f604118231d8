"""The upstream tier: the nodes selected for a stream, where one goes on from where another broke off."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from livestream.cache.fill import DigestMismatch
from livestream.cache.store import Key
from livestream.cache.upstream.body_reader import Interrupted, UpstreamError
from livestream.cache.upstream.node import Append, Document, UpstreamNode
from livestream.metrics import Metrics
from livestream.model.names import is_init, state_path
from livestream.model.segments import ObjectInfo

BACKED_OFF_WAIT_S = 0.25
"""A node that is backed off is given so long for its states, while others can be asked."""


class UpstreamSelection(Protocol):
    """The nodes of the upstream tier, as they are at the moment."""

    def urls(self, stream: str) -> Sequence[str]:
        """The URLs of those to ask for a stream, in that order."""

    def every_url(self) -> Sequence[str]:
        """The URLs of all of them."""


@frozen
class _States:
    """The states that the node at ``url`` has, and its token."""

    url: str
    states: Sequence[Any]
    token: str


@define(eq=False)
class UpstreamTier:
    """
    The nodes of the upstream tier, in the order that ``selection`` has for each stream; those backed off come last.

    ``connect`` makes a node of its URL; it is kept while ``selection`` has it. ``decode`` reads state documents into a
    sequence of states.
    """

    selection: UpstreamSelection
    connect: Callable[[str], UpstreamNode]
    metrics: Metrics
    decode: Callable[[bytes], Sequence[Any]]
    clock: IReactorTime
    _nodes: dict[str, UpstreamNode] = field(factory=dict, init=False)
    _tokens: dict[str, str] = field(factory=dict, init=False)

    async def fetch(self, key: Key, info: ObjectInfo, received: Callable[[], int], append: Append) -> None:
        """
        Fetch an object; when a node fails in the middle, the next one is asked for what follows ``received()`` bytes.

        A node whose connection was lost is asked once more, after the others: it may have closed it for being idle. So
        is one that answered later requests first, and then it has its full time.

        :raises UpstreamError: none of them could give it.
        :raises DigestMismatch: nor can any go on from what is here, which is not all as it was announced.
        """
        kind = "init" if is_init(key.name) else "segment"
        reason: Exception = UpstreamError("no upstream node is known")
        again: set[UpstreamNode] = set()
        waiting = deque(self._in_order(self.selection.urls(key.stream)))
        while waiting:
            node = waiting.popleft()
            try:
                await node.fetch(key, info, received(), append, can_be_overtaken=node not in again)
            except (UpstreamError, DigestMismatch) as error:
                self._count(kind, "error")
                if isinstance(error, DigestMismatch) or not isinstance(reason, DigestMismatch):
                    reason = type(error)(f"{node.url} {error}")
                if isinstance(error, Interrupted) and node not in again:
                    again.add(node)
                    waiting.append(node)
                continue
            self._count(kind, "ok")
            return
        raise reason

    async def states(self) -> list[Any]:
        """
        The states of all streams, from every node that answers: each may have streams that no other has.

        A node that has answered before sends what has changed since: a caller that does not use all of the result has
        to `start_over`. When it is cancelled, it returns the states of those that have answered.

        :raises UpstreamError: none does.
        """
        tokens = self._tokens  # `start_over` replaces them
        answers = await self._documents(lambda url: f"/state?since={tokens.get(url, '')}", self.selection.every_url())
        tokens.update((answer.url, answer.token) for answer in answers)
        return [state for answer in answers for state in answer.states]

    def start_over(self) -> None:
        """Request everything, next time."""
        self._tokens = {}

    async def state(self, stream: str) -> list[Any]:
        """
        The states of one stream, from every node that knows it; it may be cancelled in the same way.

        :raises UpstreamError: no node answers.
        """
        answers = await self._documents(lambda _: state_path(stream), self.selection.urls(stream))
        return [state for answer in answers for state in answer.states]

    async def each(self, path: str, urls: Sequence[str], wait_s: float) -> dict[str, bytes]:
        """
        The documents that the nodes at ``urls`` have at ``path``, by URL.

        Those that do not answer within ``wait_s`` seconds, or have none, are missing.
        """
        asked = [Deferred.fromCoroutine(self._node(url).document(path)).addTimeout(wait_s, self.clock) for url in urls]
        answers: Any = await DeferredList(asked, consumeErrors=True)
        answered = ((url, answer) for url, (is_answered, answer) in zip(urls, answers, strict=True) if is_answered)
        return {url: document.text for url, document in answered if document}

    async def post(self, url: str, path: str) -> None:
        """
        Make a POST request to one node, and ignore the response.

        :raises UpstreamError: it does not answer.
        """
        await self._node(url).post(path)

    def stop(self) -> None:
        """Close the connections that are idle."""
        for node in self._nodes.values():
            node.stop()

    async def _documents(self, path: Callable[[str], str], urls: Sequence[str]) -> list[_States]:
        nodes = self._in_order(urls)
        is_any_well = any(not node.is_backed_off for node in nodes)
        asked = []
        for node in nodes:
            answer = Deferred.fromCoroutine(self._document(node, path(node.url)))
            if node.is_backed_off and is_any_well:
                answer.addTimeout(BACKED_OFF_WAIT_S, self.clock)
            asked.append(answer)
        answers: Any = await DeferredList(asked, consumeErrors=True)
        if not any(is_answered for is_answered, _ in answers):
            raise answers[0][1].value if answers else UpstreamError("no upstream node is known")
        return [states for is_answered, states in answers if is_answered]

    async def _document(self, node: UpstreamNode, path: str) -> _States:
        try:
            document = await node.document(path) or Document(b"")
            states = self.decode(document.text)
        except (UpstreamError, ValueError) as error:
            self._count("state", "error")
            raise UpstreamError(f"{node.url} {error}") from error
        self._count("state", "ok")
        return _States(node.url, states, document.token)

    def _in_order(self, urls: Sequence[str]) -> list[UpstreamNode]:
        return sorted(map(self._node, urls), key=_backed_off_until)

    def _node(self, url: str) -> UpstreamNode:
        node = self._nodes.get(url)
        if node is None:
            self._remove_gone()
            node = self._nodes[url] = self.connect(url)
        return node

    def _remove_gone(self) -> None:
        known = set(self.selection.every_url())
        for url in self._nodes.keys() - known:
            self._nodes.pop(url).stop()
            self._tokens.pop(url, None)

    def _count(self, kind: str, outcome: str) -> None:
        self.metrics.upstream_requests.labels(kind, outcome).inc()


def _backed_off_until(node: UpstreamNode) -> float:
    """When a node is asked in its turn again; zero if it is now."""
    return node.backoff_until if node.is_backed_off else 0.0

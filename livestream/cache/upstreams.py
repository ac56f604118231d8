"""The tier above: its nodes, asked in order, where one goes on from where another stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define

from livestream.cache.fill import Altered
from livestream.cache.reader import Interrupted, UpstreamError
from livestream.cache.store import Key
from livestream.cache.upstream import Take, Upstream
from livestream.metrics import Metrics
from livestream.model import ObjectInfo


@define(eq=False)
class Upstreams:
    """The nodes of the tier above, in the order in which they are tried; those that failed lately come last."""

    nodes: tuple[Upstream, ...]
    metrics: Metrics
    decode: Callable[[bytes], Any]
    """Reads state documents into a sequence of states."""

    async def fetch(self, key: Key, info: ObjectInfo, have: Callable[[], int], take: Take) -> None:
        """
        Fetch an object; when a node fails in the middle, the next goes on from what ``have`` says is here.

        A node whose connection broke is asked once more, after the others: it may have closed it for being idle.

        :raises UpstreamError: none of them could give it.
        :raises Altered: none of them has what was announced.
        """
        kind = "init" if key.name.endswith(".mp4") else "segment"
        reason: Exception = UpstreamError("there is no upstream")
        again: set[Upstream] = set()
        waiting = deque(self._in_order())
        while waiting:
            node = waiting.popleft()
            try:
                await node.fetch(key, info, have(), take)
            except (UpstreamError, Altered) as error:
                self._count(kind, "error")
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
        The states of all streams, from the first node that answers.

        :raises UpstreamError: none does.
        """
        return list(await self._document("/state"))

    async def state(self, stream: str) -> Any:
        """
        The state of one stream; ``None`` when it is not known.

        :raises UpstreamError: no node answers.
        """
        return next(iter(await self._document(f"/state/{stream}")), None)

    def stop(self) -> None:
        """Close the connections that are idle."""
        for node in self.nodes:
            node.stop()

    async def _document(self, path: str) -> Iterable[Any]:
        reason = UpstreamError("there is no upstream")
        for node in self._in_order():
            try:
                text = await node.document(path)
                states = () if text is None else self.decode(text)
            except (UpstreamError, ValueError) as error:
                self._count("state", "error")
                reason = UpstreamError(f"{node.url} {error}")
                continue
            self._count("state", "ok")
            return states
        raise reason

    def _in_order(self) -> list[Upstream]:
        return sorted(self.nodes, key=lambda node: node.rests_until if node.is_resting else 0.0)

    def _count(self, kind: str, outcome: str) -> None:
        self.metrics.upstream_requests.labels(kind, outcome).inc()

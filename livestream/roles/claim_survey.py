"""Asking the other ingests, and all origins, how far a stream has come, before an ingest claims it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from livestream.bus.announcements import InvalidMessage, decode_position
from livestream.cache.upstream.body_reader import UpstreamError
from livestream.cache.upstream.node import UpstreamNode
from livestream.ingest.claims import Survey
from livestream.model.names import take_path
from livestream.model.segments import StreamPosition
from livestream.steering.nodes import Node

LEARNING_S = 2.0
"""A node that has just started is asked again for so long, and asks so late: by then it knows who and what there is."""
AGAIN_S = 0.25


@define(eq=False)
class OtherNodes:
    """
    The other ingests, and all origins, as a take asks them.

    ``nodes(role)`` has those that may know something, and ``connect`` makes one of its URL. ``has_addresses`` says
    whether nodes tell each other where they are, and ``knows_nodes`` whether this one has learnt of those that there
    are: if it has just started, that is awaited.
    """

    has_addresses: bool
    nodes: Callable[[str], Sequence[Node]]
    knows_nodes: Callable[[], bool]
    connect: Callable[[str], UpstreamNode]
    clock: IReactorTime
    _learns_until: float = field(init=False)
    _connected: dict[str, UpstreamNode] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._learns_until = self.clock.seconds() + LEARNING_S

    async def survey(self, stream: str, epoch: int) -> Survey:
        while not self.knows_nodes() and self.clock.seconds() < self._learns_until:
            await deferLater(self.clock, AGAIN_S)
        asked = [node for role in ("ingest", "origin") for node in self.nodes(role) if node.http]
        self._connected = {node.http: self._connected.get(node.http) or self.connect(node.http) for node in asked}
        answers: Any = await DeferredList([Deferred.fromCoroutine(self._ask(node, stream, epoch)) for node in asked])
        return self._sum_up(asked, [answer for _, answer in answers])

    async def _ask(self, node: Node, stream: str, epoch: int) -> tuple[StreamPosition | None, int, bool]:
        """How far the stream had come there; or else which epoch is younger; and whether it had its publisher."""
        try:
            status, body = await self._post(self._connected[node.http], f"{take_path(stream)}?epoch={epoch}")
            if status not in (200, 409):
                raise UpstreamError(f"answered {status}")
            position, fields = decode_position(body)
        except (UpstreamError, InvalidMessage) as error:
            self.log.warn("{stream}: {id} did not report its position: {why}", stream=stream, id=node.id, why=error)
            return None, 0, False
        return (None, position.epoch, False) if status == 409 else (position, 0, fields.get("live") is True)

    async def _post(self, node: UpstreamNode, path: str) -> tuple[int, bytes]:
        """Ask a node, and one that has just started again while it learns."""
        until = self.clock.seconds() + LEARNING_S
        while True:
            status, body = await node.post(path)
            if status != 503 or self.clock.seconds() > until:
                return status, body
            await deferLater(self.clock, AGAIN_S)

    def _sum_up(self, asked: Sequence[Node], answers: Sequence[tuple[StreamPosition | None, int, bool]]) -> Survey:
        unanswered = {node.role for node, answer in zip(asked, answers, strict=True) if answer[0] is None}
        roles = {node.role for node in asked}
        return Survey(
            [position for position, _, _ in answers if position is not None],
            younger=max((younger for _, younger, _ in answers), default=0),
            is_complete=bool(roles - unanswered),
            has_addresses=self.has_addresses,
            displaced=any(displaced for _, _, displaced in answers),
        )

"""
How nodes ask and answer each other when an ingest takes a stream (see `livestream.ingest.claims`), over HTTP.

``POST /take/STREAM?epoch=EPOCH`` is answered with how far the stream had come, with 409 and the younger epoch, or with
503 by a node that does not know. ``POST /taken/STREAM?epoch=EPOCH`` tells an ingest whose numbers are refused why.
Both are signed with the cluster's secret (`livestream.signing`); without one there are no takes over HTTP.

``GET /epochs`` is answered with the streams that a node has, each with the number of its epoch. It is what relays ask
whose stream is silent, signed or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from livestream.bus.announcements import InvalidMessage, decode_position, encode_epochs, encode_position
from livestream.bus.interface import TemporarilyUnavailable
from livestream.bus.known_streams import KnownStreams
from livestream.cache.upstream.body_reader import UpstreamError
from livestream.cache.upstream.node import UpstreamNode
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.claims import Survey
from livestream.ingest.publish_admission import PublishAdmission
from livestream.model.names import take_path
from livestream.model.segments import StreamPosition, Superseded
from livestream.signing import Credentials
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
                raise UpstreamError(f"answers {status}")
            position, fields = decode_position(body)
        except (UpstreamError, InvalidMessage) as error:
            self.log.warn("{stream}: {id} does not say how far it is: {why}", stream=stream, id=node.id, why=error)
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


class Answering(Protocol):
    """What a role answers to those who take streams."""

    def take(self, stream: str, epoch: int) -> Mapping[str, Any]:
        """
        How far a stream has come, as what becomes JSON.

        :raises Superseded: a younger epoch is known.
        :raises TemporarilyUnavailable: this node does not know.
        """

    def taken(self, stream: str, epoch: int) -> None:
        """The stream was taken."""

    def epochs(self) -> Mapping[str, int]:
        """The streams that this node has, each with the number of its epoch."""


@define(eq=False)
class IngestAnswers:
    """Fences an ingest's own broadcasts."""

    broadcasts: Broadcasts
    admission: PublishAdmission
    position: Callable[[str], StreamPosition]

    def take(self, stream: str, epoch: int) -> Mapping[str, Any]:
        was_live = self.broadcasts.fence(stream, epoch)
        self.admission.superseded(stream, "")
        return {**encode_position(self.position(stream)), "live": was_live}

    def taken(self, stream: str, epoch: int) -> None:
        self.broadcasts.suspend(stream, epoch)

    def epochs(self) -> Mapping[str, int]:
        return self.broadcasts.epochs()


@define(eq=False)
class OriginAnswers:
    """Promises to take no older numbers."""

    known_streams: KnownStreams

    def take(self, stream: str, epoch: int) -> Mapping[str, Any]:
        return encode_position(self.known_streams.promise(stream, epoch))

    def taken(self, stream: str, epoch: int) -> None:
        """An origin gives no numbers."""

    def epochs(self) -> Mapping[str, int]:
        return {window.stream: window.epoch for window in self.known_streams.windows() if window.is_live}


@define(eq=False)
class TakeRequests:
    """Answers the requests of other nodes (`livestream.hls.routes.Takes`)."""

    credentials: Credentials
    answering: Answering

    def epochs(self) -> bytes:
        return encode_epochs(self.answering.epochs())

    def answer(self, kind: str, stream: str, epoch: str, signature: str) -> tuple[str, bytes]:
        if self.credentials.signer(signature) is None:
            return "403 Forbidden", b""
        if not epoch.isdigit() or len(epoch) > 16:
            return "400 Bad Request", b""
        if kind == "taken":
            self.answering.taken(stream, int(epoch))
            return "200 OK", b"{}"
        try:
            return "200 OK", _json(self.answering.take(stream, int(epoch)))
        except Superseded as error:
            return "409 Conflict", _json(encode_position(StreamPosition(error.epoch)))
        except TemporarilyUnavailable:
            return "503 Service Unavailable", b""


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii")

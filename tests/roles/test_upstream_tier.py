"""The tier above: whether those that are cut off from the bus answer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from livestream.bus.announcements import encode_epochs
from livestream.cache.upstream.body_reader import UpstreamError
from livestream.cache.upstream.tier import UpstreamTier
from livestream.cluster.messages import Heartbeat, encode
from livestream.cluster.upstream_selection import UpstreamSelection
from livestream.config import load
from livestream.lifecycle.process import Process
from livestream.metrics import Metrics
from livestream.roles.node import LocalNode
from livestream.roles.upstream_tier import UpstreamPlayers, UpstreamStates, fetching_from
from livestream.signing import HEADER
from livestream.steering.nodes import Node, NodeState
from tests.ports import free_port

SECRET = "0123456789abcdef"
LISTENER: Any = reactor


@define(eq=False)
class Above:
    """The tier above an origin, in which one node is kept on the bus and not heard."""

    node: LocalNode
    upstreams: UpstreamTier
    states: UpstreamStates
    players: UpstreamPlayers

    @classmethod
    def of(cls, other: Node) -> Above:
        settings = (f"cluster.secret={SECRET}", "node.id=origin-1", "node.http=http://origin-1:80", "bus.redis=unix:x")
        config = load("origin", None, {}, settings, lambda path: "")
        node = LocalNode.join(config, Process.of(config, reactor), Metrics())
        node.members.others.restore([encode(Heartbeat(other, 1, 1, reactor.seconds()), SECRET)])
        selection = UpstreamSelection("ingest", (), node.members.nodes)
        upstreams = fetching_from(selection, node, reactor)
        return cls(
            node, upstreams, UpstreamStates(selection, upstreams), UpstreamPlayers(selection, upstreams, node, reactor)
        )

    async def ask(self) -> None:
        with suppress(UpstreamError):
            await self.states.every_stream()


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_cut_off_is_asked_and_it_is_known_whether_it_answers() -> None:
    port = free_port()
    above = Above.of(Node("ingest-1", "ingest", f"http://127.0.0.1:{port}"))
    assert above.states.has_cut_off_nodes and above.states.not_ready_reasons() == []
    await above.ask()
    [_, node] = above.node.members.nodes()
    assert node.state is NodeState.CUT_OFF and not node.is_answering
    listening = LISTENER.listenTCP(port, Site(notFound()), interface="127.0.0.1")
    await above.ask()
    [_, node] = above.node.members.nodes()
    assert node.is_answering and above.states.has_cut_off_nodes
    above.upstreams.stop()
    await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_cut_off_is_known_not_to_answer_when_it_cannot_be_played() -> None:
    above = Above.of(Node("ingest-1", "ingest", "http://127.0.0.1:9", f"rtmp://127.0.0.1:{free_port()}"))
    lost: Deferred[str] = Deferred()

    class Receiver:
        def started(self) -> None: ...
        def heard(self) -> None: ...
        def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None: ...
        def data(self, timestamp_ms: int, name: str, values: object) -> None: ...
        def over(self) -> None: ...
        def lost(self, reason: str) -> None:
            lost.callback(reason)

    [player] = above.players.of("show")
    player.play("show", "source", Receiver())
    await lost
    [_, node] = above.node.members.nodes()
    assert not node.is_answering


class Epochs(Resource):
    """Answers ``/epochs``."""

    isLeaf = True

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text = text

    def render_GET(self, request: Request) -> bytes:
        assert request.path == b"/epochs" and request.getHeader(HEADER)
        return self.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [(encode_epochs({"show": 7}), {"rtmp://127.0.0.1:9": {"show": 7}}), (b"{}", {}), (b"x" * 100, {})],
    ids=["an answer", "no answer of ours", "garbage"],
)
@pytest_twisted.ensureDeferred
async def test_the_nodes_above_say_which_streams_they_have(text: bytes, expected: dict[str, dict[str, int]]) -> None:
    listening = LISTENER.listenTCP(0, Site(Epochs(text)), interface="127.0.0.1")
    port = listening.getHost().port
    above = Above.of(Node("ingest-1", "ingest", f"http://127.0.0.1:{port}", "rtmp://127.0.0.1:9"))
    holdings = await above.players.holdings()
    assert {str(player): dict(epochs) for player, epochs in holdings.items()} == expected
    assert list(holdings) == (above.players.of("show") if expected else [])
    above.upstreams.stop()
    await listening.stopListening()

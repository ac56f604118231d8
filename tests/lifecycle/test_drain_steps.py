"""What each way of serving does when the node goes, with the real parts on a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from livestream.lifecycle.drain import FINISH_S, LEAD_S, Drain, DrainPhase
from livestream.lifecycle.drain_steps import drain_http, drain_rtmp
from livestream.net.rtmp.requests import RtmpRequest
from livestream.roles.ingest import heard_origins
from livestream.steering.nodes import Node, NodeState
from tests.hls.edge import Edge

QUIET_S = 5.0


@define(eq=False)
class Peer:
    """A connection of an RTMP port; a player that can be redirected goes by itself."""

    played: RtmpRequest | None
    ends: list[str] = field(factory=list)

    def close(self, reason: str) -> None:
        self.ends.append(reason)


@define(eq=False)
class Port:
    """The connections of an RTMP port, and those that have somewhere else to play."""

    peers: list[Peer] = field(factory=list)
    has_elsewhere: bool = False

    def join(self, query: dict[str, str] | None = None) -> Peer:
        self.peers.append(Peer(RtmpRequest("live", "show", query or {}, "192.0.2.1")))
        return self.peers[-1]

    def connections(self) -> Iterator[Peer]:
        return iter([peer for peer in self.peers if not peer.ends])

    def redirect_players(self) -> None:
        if self.has_elsewhere:
            for peer in self.connections():
                peer.close("sent elsewhere")


@define(eq=False)
class Going:
    """A node that is going, and when it was gone."""

    clock: Clock
    gone_at: float | None = None
    draining: Drain = field(init=False)
    _begun_at: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.draining = Drain(20.0, self.clock, self._end)
        self._begun_at = self.clock.seconds()

    def _end(self) -> None:
        self.gone_at = self.clock.seconds() - self._begun_at

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


@pytest.mark.parametrize("keeps_relays", [True, False])
def test_relays_are_ended_early_unless_the_broadcasts_are_here_alone(keeps_relays: bool) -> None:
    going, port = Going(Clock()), Port()
    drain_rtmp(going.draining, port, keeps_relays=keeps_relays)  # type: ignore[arg-type]
    relay, player = port.join({"relay": ""}), port.join()
    going.draining.begin("told to")
    going.pass_time(LEAD_S + 0.5)
    assert (bool(relay.ends), player.ends) == (not keeps_relays, [])
    going.pass_time(20 - FINISH_S - LEAD_S)
    assert player.ends and bool(relay.ends) is not keeps_relays
    assert going.gone_at is not None


def test_players_who_have_somewhere_to_go_are_not_waited_for_any_longer() -> None:
    going, port = Going(Clock()), Port(has_elsewhere=True)
    drain_rtmp(going.draining, port, keeps_relays=False)  # type: ignore[arg-type]
    player = port.join()
    going.draining.begin("told to")
    going.pass_time(LEAD_S + 0.5)
    assert player.ends == ["sent elsewhere"] and going.gone_at is not None


def test_an_edge_stays_until_no_viewer_has_come_for_a_while() -> None:
    edge = Edge()
    going = Going(edge.loop)
    drain_http(going.draining, edge.site, viewers_ask_every_s=3.0)
    going.draining.begin("told to")
    for _ in range(3):
        going.pass_time(2)
        client = edge.client()
        client.ask("/live/s/master.m3u8")
        client.socket.close()
        edge.loop.turn()
    assert going.draining.phase is DrainPhase.MIGRATING
    going.pass_time(QUIET_S + 0.3)
    assert going.gone_at == pytest.approx(6 + QUIET_S, abs=0.4)


def test_an_ingest_does_not_wait_for_what_an_origin_that_is_cut_off_cannot_say() -> None:
    nodes = [
        Node("origin-1", "origin", "http://origin-1"),
        Node("origin-2", "origin", "http://origin-2", state=NodeState.CUT_OFF),
        Node("origin-3", "origin", "http://origin-3", state=NodeState.DRAINING),
        Node("edge-1", "edge", "http://edge-1"),
    ]
    assert heard_origins(nodes) == ["origin-1", "origin-3"]

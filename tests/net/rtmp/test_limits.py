"""Whom an RTMP port takes, whom it closes for others, and whose connection it is that a proxy passes on."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from livestream.net.address_limits import AddressLimits, Networks
from livestream.net.log_summary import PERIOD_S
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.requests import RtmpRequest
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused, Started
from tests.net.rtmp.test_connection import Peer, Scene
from tests.net.test_proxy_protocol import HEADERS, WRONG

PROXY = "10.0.0.1"


def connect(scene: Scene, address: str) -> Peer | None:
    connection = scene.factory.buildProtocol(IPv4Address("TCP", address, 5000))
    if connection is None:
        return None
    assert isinstance(connection, RtmpConnection)
    peer = Peer(connection)
    connection.makeConnection(peer.transport)
    return peer


def lose(peer: Peer) -> None:
    peer.connection.connectionLost(Failure(ConnectionDone()))


def limited(scene: Scene, limit: str) -> float:
    return scene.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": limit}) or 0.0


def peers(scene: Scene, count: int, publishes: bool | None = None, address: str = "192.0.2.1") -> list[Peer]:
    """So many connections, which publish, or play, or ask for nothing."""
    made = []
    for _ in range(count):
        peer = connect(scene, address)
        assert peer is not None
        if publishes is not None:
            peer.speak(publishes=publishes)
        made.append(peer)
    return made


# All connections


def test_who_has_asked_for_nothing_for_longest_makes_room_for_a_newcomer() -> None:
    scene = Scene(limits=RtmpLimits(connections=4))
    (publisher,), (player,) = peers(scene, 1, True), peers(scene, 1, False)
    first, second = peers(scene, 2)
    (third,) = peers(scene, 1)
    assert first.transport.aborted and not second.transport.aborted
    lose(first)
    (newcomer,) = peers(scene, 1, True)
    assert Started() in newcomer.told and second.transport.aborted
    assert not (publisher.transport.aborted or player.transport.aborted or third.transport.aborted)
    assert len(list(scene.factory.connections())) == 4
    assert limited(scene, "rtmp_connections") == 2


def test_connections_that_come_in_one_turn_are_never_more_than_the_limit() -> None:
    scene = Scene(limits=RtmpLimits(connections=4))
    peers(scene, 100)
    assert len(list(scene.factory.connections())) == 4


def test_nobody_who_is_served_makes_room() -> None:
    scene = Scene(limits=RtmpLimits(connections=3))
    served = peers(scene, 3, True)
    scene.factory.addresses.connections.limits = AddressLimits(connections=3)
    for _ in range(9):
        assert connect(scene, "192.0.2.2") is None
    lose(served[0])
    assert connect(scene, "192.0.2.2") is not None


def test_who_is_served_no_more_may_have_to_make_room() -> None:
    scene = Scene(limits=RtmpLimits(connections=2))
    (left,), (other,) = peers(scene, 1, False), peers(scene, 1, True)
    left.connection.dataReceived(b"".join(split(Message(20, 1, 0, encode("closeStream", 0, None)), 3, 65_536)))
    peers(scene, 1)
    assert left.transport.aborted and not other.transport.aborted


def test_players_leave_room_for_publishers_where_both_come() -> None:
    scene = Scene(limits=RtmpLimits(connections=10))
    assert not any(player.is_closing for player in peers(scene, 9, False))
    (last,) = peers(scene, 1, False)
    assert PeerRefused("NetStream.Play.Failed", "this server has no room for more players") in last.told
    lose(last)
    (publisher,) = peers(scene, 1, True)
    assert Started() in publisher.told
    assert limited(scene, "rtmp_connections") == 1


def test_players_take_all_room_where_nobody_publishes() -> None:
    scene = Scene(limits=RtmpLimits(connections=10))
    scene.factory.publishing = None
    assert not any(player.is_closing for player in peers(scene, 10, False))


# Connections of one address


def test_one_address_has_so_many_and_costs_the_others_nothing() -> None:
    scene = Scene(limits=RtmpLimits(connections=6))
    scene.factory.addresses.connections.limits = AddressLimits(connections=4)
    waiting = peers(scene, 4)
    assert connect(scene, "192.0.2.1") is None
    peers(scene, 2, address="192.0.2.2")
    assert connect(scene, "192.0.2.1") is None
    assert not any(peer.transport.aborted for peer in waiting)
    assert limited(scene, "rtmp_connections_per_address") == 2
    lose(waiting[0])
    assert connect(scene, "192.0.2.1") is not None


def test_a_connection_that_makes_room_counts_for_its_address_no_more() -> None:
    scene = Scene(limits=RtmpLimits(connections=2))
    scene.factory.addresses.connections.limits = AddressLimits(connections=2)
    first, _ = peers(scene, 2)
    peers(scene, 1, address="192.0.2.2")
    peers(scene, 1)
    lose(first)
    assert len(scene.factory.addresses.connections) == 2


def test_new_connections_of_one_address_are_limited_and_one_line_in_ten_seconds_says_so() -> None:
    scene = Scene()
    scene.factory.addresses.connections.limits = AddressLimits(connects=20)
    with capturedLogs() as logged:
        for _ in range(50):
            connect(scene, "192.0.2.1")
        scene.clock.advance(PERIOD_S)
    assert [str(formatEvent(event)) for event in logged if "refused" in str(formatEvent(event))] == [
        "10 connections refused in the last 10 s, such as one from 192.0.2.1: limits.rtmp_connects_per_address is 20"
    ]
    assert limited(scene, "rtmp_connects_per_address") == 10


# Connections through a proxy


@pytest.fixture
def proxied() -> Scene:
    scene = Scene()
    scene.factory.addresses.proxies = Networks.of([f"{PROXY}/32"])
    scene.factory.addresses.connections.limits = AddressLimits(connections=2, exempt=Networks.of([f"{PROXY}/32"]))
    return scene


@pytest.mark.parametrize("name", ["tcp4", "v2 tcp4 tlvs", "v2 tcp6"])
def test_a_publisher_behind_a_proxy_has_its_own_address(proxied: Scene, name: str) -> None:
    header, address = HEADERS[name]
    peer = connect(proxied, PROXY)
    assert peer is not None
    peer.connection.dataReceived(header)
    peer.speak(publishes=True)
    assert proxied.door.asked == [RtmpRequest("live", "show", {"key": "k"}, address)]
    assert peer.connection.peer == address
    assert "dataReceived" not in vars(peer.connection)


def test_what_comes_with_the_header_is_the_peers(proxied: Scene) -> None:
    peer = connect(proxied, PROXY)
    assert peer is not None
    client = ClientSession(b"c", "live", "rtmp://x/live", "show", publishes=True)
    peer.connection.dataReceived(HEADERS["v2 tcp4"][0] + client.data_to_send())
    peer.client = client
    peer.run()
    assert Started() in peer.told


def test_connections_behind_a_proxy_are_counted_by_the_address_that_it_tells(proxied: Scene) -> None:
    header = HEADERS["tcp4"][0]
    first, second, third = (connect(proxied, PROXY) for _ in range(3))
    for peer in (first, second, third):
        assert peer is not None
        peer.connection.dataReceived(header)
    assert third is not None and third.transport.aborted
    assert limited(proxied, "rtmp_connections_per_address") == 1
    assert first is not None
    lose(first)
    peer = connect(proxied, PROXY)
    assert peer is not None
    peer.connection.dataReceived(header)
    assert not peer.transport.aborted


@pytest.mark.parametrize("name", ["unknown", "v2 local", "v2 unix"])
def test_a_connection_without_an_address_is_the_proxys_own(proxied: Scene, name: str) -> None:
    for _ in range(5):
        peer = connect(proxied, PROXY)
        assert peer is not None
        peer.connection.dataReceived(HEADERS[name][0])
        assert peer.connection.peer == PROXY and not peer.transport.aborted


@pytest.mark.parametrize("name", ["rtmp", "udp", "v2 udp"])
def test_a_proxy_that_sends_no_header_is_closed_and_the_log_says_what_to_do(proxied: Scene, name: str) -> None:
    peer = connect(proxied, PROXY)
    assert peer is not None
    with capturedLogs() as logged:
        peer.connection.dataReceived(WRONG[name])
        assert peer.transport.aborted and peer.transport.value() == b""
        proxied.clock.advance(PERIOD_S)
    (said,) = (str(formatEvent(event)) for event in logged)
    assert said.startswith(
        "1 connections closed in the last 10 s for lack of a PROXY header, such as one from 10.0.0.1"
    )
    assert limited(proxied, "proxy_protocol") == 1


def test_a_header_has_to_come_as_soon_as_a_handshake(proxied: Scene) -> None:
    peer = connect(proxied, PROXY)
    assert peer is not None
    header = HEADERS["tcp4"][0]
    for byte in header[:4]:
        peer.connection.dataReceived(bytes([byte]))
        proxied.clock.advance(1.2)
    assert not peer.is_closing
    proxied.clock.advance(0.3)
    assert peer.is_closing


@pytest.mark.parametrize("name", ["tcp4", "v2 tcp4"])
def test_a_header_of_anybody_else_is_no_rtmp(proxied: Scene, name: str) -> None:
    peer = connect(proxied, "192.0.2.9")
    assert peer is not None
    peer.connection.dataReceived(HEADERS[name][0])
    assert peer.is_closing and proxied.door.asked == []


def test_who_comes_without_a_proxy_is_served(proxied: Scene) -> None:
    peer = connect(proxied, "192.0.2.9")
    assert peer is not None
    peer.speak(publishes=True)
    assert Started() in peer.told

"""Players who are silent, on RTMP: those who pause and are gone are closed, and all others are kept."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Server
from twisted.python.failure import Failure

from livestream.net.rtmp.connection import RtmpConnection
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import Started
from tests.net.loop import Loop
from tests.net.rtmp.test_connection import Peer, Scene


def playing(scene: Scene) -> Peer:
    peer = scene.connect()
    peer.speak(publishes=False)
    return peer


def limited(scene: Scene, limit: str) -> float:
    return scene.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": limit}) or 0.0


def pause(peer: Peer, is_paused: bool = True) -> None:
    data = split(Message(20, 1, 0, encode("pause", 5, None, is_paused, 0)), 3, 65_536)
    peer.connection.dataReceived(b"".join(data))


def after(scene: Scene, minutes: float, each: Callable[[], None] = lambda: None) -> None:
    for _ in range(round(minutes * 60)):
        scene.clock.advance(1)
        each()


def test_a_paused_player_that_answers_no_ping_is_closed_within_two_minutes() -> None:
    scene = Scene()
    player = playing(scene)
    pause(player)
    after(scene, 1)
    assert not player.transport.aborted
    after(scene, 1)
    assert player.transport.aborted
    assert limited(scene, "silent_player") == 1
    player.connection.connectionLost(Failure(ConnectionDone()))
    assert scene.clock.getDelayedCalls() == [] and len(scene.door.sink.ends) == 1


def test_a_paused_player_that_answers_is_kept() -> None:
    scene = Scene()
    player = playing(scene)
    pause(player)
    after(scene, 10, player.run)
    assert not player.transport.aborted


def test_a_player_that_plays_something_else_after_a_pause_is_paused_no_more() -> None:
    scene = Scene()
    player = playing(scene)
    pause(player)
    data = split(Message(20, 1, 0, encode("play", 6, None, "other")), 3, 65_536)
    player.connection.dataReceived(b"".join(data))
    after(scene, 10)
    assert not player.transport.aborted


@pytest.mark.parametrize("was_paused", [True, False])
def test_a_player_that_is_sent_media_need_not_answer(was_paused: bool) -> None:
    scene = Scene()
    player = playing(scene)
    if was_paused:
        pause(player)
        after(scene, 1)
        pause(player, False)
    after(scene, 10)
    assert not player.transport.aborted


def test_a_paused_player_that_speaks_and_reads_nothing_is_closed() -> None:
    loop = Loop()
    scene = Scene(clock=loop)
    near, far = socket.socketpair()
    connection = scene.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5000))
    assert isinstance(connection, RtmpConnection)
    connection.makeConnection(Server(near, connection, ("192.0.2.1", 5000), None, 1, loop))
    client = ClientSession(b"c", "live", "rtmp://x/live", "show", publishes=False)
    while Started() not in list(client.receive_data(received(far))):
        far.send(client.data_to_send())
        loop.turn()
    peer = Peer(connection)
    pause(peer)
    connection.transport.write(bytes(10_000_000))
    for second in range(120):
        loop.advance(1)
        loop.turn()
        if second % 10 == 0 and connection.transport.connected:
            client.ping(second)
            connection.dataReceived(client.data_to_send())
    assert not connection.transport.connected
    assert limited(scene, "silent_player") == 1
    far.close()


def received(far: socket.socket) -> bytes:
    far.setblocking(False)
    try:
        return far.recv(1 << 16)
    except BlockingIOError:
        return b""

"""How an RTMP connection ends: whoever was served is told once, whatever else happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from livestream.model.admission import Reason, Refusal
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.requests import RtmpRequest
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.events import PingAnswered, StreamEnded
from tests.logged_failures import LoggedFailures
from tests.net.rtmp.test_connection import Peer, Scene, Sink


@frozen
class Deciding:
    """A door that the test decides for."""

    decide: Callable[[RtmpConnection], Sink]
    audience: int = 0

    async def publish(self, request: RtmpRequest, connection: RtmpConnection) -> Sink:
        return self.decide(connection)

    def play(self, request: RtmpRequest, connection: RtmpConnection) -> Sink:
        return self.decide(connection)


class BrokenSink(Sink):
    def lost(self, reason: str, *, is_over: bool = False) -> None:
        raise RuntimeError("a fault of ours")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def served(scene: Scene, *, publishes: bool) -> Peer:
    peer = scene.connect()
    peer.speak(publishes=publishes)
    return peer


def say(peer: Peer, *values: object) -> None:
    data = b"".join(split(Message(20, 1, 0, encode(*values)), 3, 65_536))
    peer.connection.dataReceived(data)


@pytest.mark.parametrize("publishes", [True, False])
@pytest.mark.parametrize("closes_first", [True, False])
def test_who_is_served_is_told_of_the_end_once(scene: Scene, publishes: bool, closes_first: bool) -> None:
    peer = served(scene, publishes=publishes)
    if closes_first:
        peer.connection.close("enough")
    peer.connection.connectionLost(Failure(ConnectionDone()))
    peer.connection.close("once more")
    assert len(scene.door.sink.ends) == 1
    assert scene.clock.getDelayedCalls() == []


def test_garbage_after_the_beginning_ends_the_publisher_once(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    peer.connection.dataReceived(b"\xff" * 100)
    peer.connection.dataReceived(b"\xff" * 100)
    assert peer.is_closing and len(scene.door.sink.ends) == 1


def test_a_publisher_who_says_so_has_left_and_may_come_back(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    say(peer, "FCUnpublish", 5, None, "show")
    assert scene.door.sink.ends == ["unpublished"]
    scene.door.sink = Sink()
    say(peer, "publish", 6, None, "show", "live")
    scene.clock.advance(10.1)
    assert scene.door.sink.ends == [] and not peer.is_closing


def test_who_has_left_and_asks_for_nothing_more_is_closed(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    say(peer, "deleteStream", 5, None, 1)
    scene.clock.advance(10.1)
    assert peer.is_closing


def test_a_second_request_ends_what_the_first_was_served(scene: Scene) -> None:
    peer = served(scene, publishes=False)
    first, scene.door.sink = scene.door.sink, Sink()
    say(peer, "play", 6, None, "other")
    assert first.ends == ["stopped"] and scene.door.sink.ends == []


def test_a_player_hears_of_the_end_of_the_broadcast(scene: Scene) -> None:
    peer = served(scene, publishes=False)
    peer.connection.end()
    assert peer.client is not None
    assert StreamEnded() in list(peer.client.receive_data(peer.transport.value()))
    assert peer.is_closing and len(scene.door.sink.ends) == 1


def test_a_door_that_fails_ends_that_connection_alone(scene: Scene, logged_failures: LoggedFailures) -> None:
    other = served(scene, publishes=True)

    def fails(_: object) -> Sink:
        raise RuntimeError("a fault of ours")

    scene.factory.publishing = Deciding(fails)
    broken = served(scene, publishes=True)
    assert broken.is_closing and not other.is_closing
    logged_failures.take(RuntimeError)


def test_who_closes_a_connection_from_within_the_door_is_told_of_the_end(scene: Scene) -> None:
    sink = Sink()

    def refuse(connection: RtmpConnection) -> Sink:
        connection.refuse(Refusal(Reason.NOT_LIVE, "no such stream"))
        return sink

    scene.factory.playing = Deciding(refuse)
    peer = served(scene, publishes=False)
    assert peer.connection.played is None
    peer.connection.connectionLost(Failure(ConnectionDone()))
    assert len(sink.ends) == 1


def test_a_refused_peer_is_not_listened_to_any_more(scene: Scene) -> None:
    scene.door.refusal = Refusal(Reason.WRONG_KEY, "wrong key")
    peer = served(scene, publishes=True)
    asked = len(scene.door.asked)
    say(peer, "publish", 6, None, "show", "live")
    assert len(scene.door.asked) == asked


def test_a_player_who_is_let_in_after_it_has_gone_is_not_written_to(scene: Scene) -> None:
    scene.factory.playing = Deciding(lambda _: Sink())
    peer = served(scene, publishes=False)
    peer.connection.connectionLost(Failure(ConnectionDone()))
    peer.connection.accept_play(4096)
    assert peer.transport.value() == b""
    assert scene.clock.getDelayedCalls() == []


@pytest.mark.parametrize("closes", [True, False])
def test_a_sink_that_fails_at_its_end_leaves_nothing_behind(
    scene: Scene, logged_failures: LoggedFailures, closes: bool
) -> None:
    scene.door.sink = BrokenSink()
    peer = served(scene, publishes=True)
    if closes:
        peer.connection.close("enough")
        assert peer.is_closing
    peer.connection.connectionLost(Failure(ConnectionDone()))
    assert list(scene.factory.connections()) == []
    assert scene.clock.getDelayedCalls() == []
    logged_failures.take(RuntimeError)


@pytest.mark.parametrize("publishes", [True, False])
def test_who_asks_for_a_sign_of_life_every_few_seconds_is_served_for_hours(scene: Scene, publishes: bool) -> None:
    peer = served(scene, publishes=publishes)
    assert peer.client is not None
    for time_s in range(0, 3_600, 5):
        scene.clock.advance(5)
        peer.client.ping(time_s * 1000)
        peer.run()
    assert not peer.is_closing
    assert peer.told.count(PingAnswered()) == 720


def test_who_asks_for_signs_of_life_all_the_time_is_closed(scene: Scene) -> None:
    peer = served(scene, publishes=False)
    assert peer.client is not None
    for _ in range(300):
        peer.client.ping(0)
    peer.connection.dataReceived(peer.client.data_to_send())
    scene.clock.pump([0.001] * 10)
    assert peer.is_closing

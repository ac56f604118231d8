"""Players who are to play at another node: at once, or in the middle."""

from __future__ import annotations

import pytest

from livestream.net.rtmp.redirect import KEY_FRAME_S, RECONNECT_S
from livestream.net.rtmp.requests import RtmpRequest
from livestream.rtmp.events import PeerRefused, Started
from tests.net.rtmp.test_connection import Peer, Scene

URL = "rtmp://edge-2:1937/live"
REFUSAL = PeerRefused("NetConnection.Connect.Rejected", f"play it at {URL}")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def player(scene: Scene) -> Peer:
    peer = scene.connect()
    peer.speak(publishes=False)
    return peer


def counted(scene: Scene, when: str) -> float | None:
    return scene.metrics.registry.get_sample_value("livestream_push_redirects_total", {"when": when})


def test_a_play_that_is_to_be_had_elsewhere_is_refused_with_the_place(scene: Scene) -> None:
    asked = []
    scene.factory.elsewhere = lambda request: asked.append(request) or URL
    peer = player(scene)
    assert peer.told == [REFUSAL] and peer.is_closing
    assert asked == [RtmpRequest("live", "show", {"key": "k"}, "192.0.2.1")]
    assert scene.door.asked == []
    assert counted(scene, "asking") == 1


def test_the_whole_url_has_the_query_too(scene: Scene) -> None:
    scene.factory.elsewhere = lambda _: URL
    peer = scene.connect()
    seen: list[bytes] = []
    write = peer.transport.write
    peer.transport.write = lambda data: (seen.append(data), write(data))  # type: ignore[method-assign]
    peer.speak(publishes=False)
    assert any(f"{URL}/show?key=k".encode() in data for data in seen)


def test_publishers_are_sent_nowhere(scene: Scene) -> None:
    scene.factory.elsewhere = lambda _: URL
    peer = scene.connect()
    peer.speak(publishes=True)
    scene.factory.redirect_players()
    assert peer.told == [Started()] and not peer.is_closing


def test_a_player_in_the_middle_is_told_at_a_key_frame_and_closed_later(scene: Scene) -> None:
    peer = player(scene)
    peer.connection.redirect(URL)
    peer.run()
    assert REFUSAL not in peer.told
    (key_frame,) = scene.door.sink.awaiting
    spoken = scene.door.sink.spoken
    key_frame()
    peer.run()
    assert REFUSAL in peer.told and not peer.is_closing
    assert scene.door.sink.spoken == spoken + 1
    scene.clock.advance(RECONNECT_S)
    assert peer.is_closing and scene.door.sink.ends == [f"redirected to {URL}"]
    assert counted(scene, "playing") == 1


def test_without_a_key_frame_it_is_told_after_a_while_and_only_once(scene: Scene) -> None:
    peer = player(scene)
    peer.connection.redirect(URL)
    peer.connection.redirect("rtmp://edge-3:1937/live")
    scene.clock.advance(KEY_FRAME_S)
    scene.door.sink.awaiting[0]()
    peer.run()
    assert peer.told.count(REFUSAL) == 1 == len(scene.door.sink.awaiting)
    scene.clock.advance(RECONNECT_S)
    assert peer.is_closing


def test_all_players_are_moved_but_those_who_have_nowhere_to_go(scene: Scene) -> None:
    peer, idle = player(scene), scene.connect()
    scene.factory.redirect_players()
    assert scene.door.sink.awaiting == []
    scene.factory.elsewhere = lambda _: URL
    scene.factory.redirect_players()
    assert len(scene.door.sink.awaiting) == 1
    assert not idle.is_closing and not peer.is_closing


@pytest.mark.parametrize("is_told", [False, True])
def test_one_that_goes_by_itself_leaves_nothing_behind(scene: Scene, is_told: bool) -> None:
    peer = player(scene)
    peer.connection.redirect(URL)
    if is_told:
        scene.door.sink.awaiting[0]()
    peer.connection.connectionLost()
    scene.door.sink.awaiting[0]()
    assert scene.clock.getDelayedCalls() == []

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from livestream.metrics import Metrics
from livestream.model.admission import Refusal
from livestream.net.rtmp.requests import CODES, RtmpRequest
from livestream.push.feed import Feed, PushLimits
from livestream.push.feeds import Feeds
from livestream.push.framing import CLOCK
from livestream.push.relay_admission import NearRelays, RelayAdmission
from livestream.push.rtmp import RtmpPlaying, RtmpViewer
from livestream.push.timeline_splice import TimelineOrigin
from livestream.push.viewer_admission import ViewerAdmission
from tests.logged_failures import LoggedFailures
from tests.push.frames import configs, picture, sound

NOT_FOUND = "NetStream.Play.StreamNotFound"


@define(eq=False)
class FakeConnection:
    """What a viewer asks of its connection."""

    transport: StringTransport = field(factory=StringTransport)
    said: list[str] = field(factory=list)

    def accept_play(self, chunk_bytes: int) -> None:
        self.said.append(f"accepted in chunks of {chunk_bytes}")
        self.transport.write(b"accepted")

    def refuse(self, refusal: Refusal) -> None:
        self.said.append(f"{CODES[refusal.reason][1]}: {refusal.message}")

    def end(self) -> None:
        self.said.append("over")

    def close(self, reason: str) -> None:
        self.said.append(f"closed: {reason}")


@define(eq=False)
class Port:
    clock: Clock = field(factory=Clock)
    metrics: Metrics = field(factory=Metrics)
    limits: PushLimits = field(factory=lambda: PushLimits(wait_s=5))
    feeds: Feeds = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.feeds = Feeds(self.limits, self.clock, self.metrics)

    def play(self, name: str = "show", app: str = "live", **query: str) -> tuple[FakeConnection, Any]:
        connection = FakeConnection()
        request = RtmpRequest(app, name, query, "127.0.0.1")
        relays = RelayAdmission(NearRelays(()), takes_viewers=True, seconds=self.clock.seconds)
        return connection, RtmpPlaying(ViewerAdmission(self.feeds), relays).play(request, connection)  # type: ignore[arg-type]

    def live(self, rendition: str = "source") -> Feed:
        feed = self.feeds.begin("show", rendition, TimelineOrigin(42))
        for frame in [*configs(), picture(0, True, arrived=9.0)]:
            feed.add(frame)
        return feed

    def viewers(self, protocol: str) -> float | None:
        return self.metrics.registry.get_sample_value("livestream_viewers", {"protocol": protocol})


@pytest.fixture
def port() -> Port:
    return Port()


def test_a_player_is_accepted_at_once_and_given_the_stream_at_the_next_tick(port: Port) -> None:
    port.live()
    connection, viewer = port.play()
    assert connection.said == ["accepted in chunks of 4096"]
    port.clock.advance(1)
    data = connection.transport.value()
    assert data.startswith(b"accepted") and picture(0, True).body in data
    assert port.viewers("rtmp") == 1 and port.feeds.viewers() == {"show": 1}
    viewer.lost("connection lost")
    assert port.viewers("rtmp") == 0 and port.feeds.viewers() == {"show": 0}


def test_visitors_are_those_who_watch_or_wait_and_have_not_left(port: Port) -> None:
    waiting, watching = port.play("later"), port.play()
    port.live()
    for _ in range(2):
        assert port.play("../etc")[0].said[0].startswith(NOT_FOUND)
    assert port.feeds.audience == 2
    for _, viewer in (waiting, watching):
        viewer.lost("connection lost")
        viewer.lost("connection lost")
    assert port.feeds.audience == 0


def test_a_player_chooses_its_rendition(port: Port) -> None:
    port.live("480p")
    connection, _ = port.play(rendition="480p")
    assert connection.said == ["accepted in chunks of 4096"]


def test_a_player_who_comes_early_is_accepted_when_the_broadcast_begins(port: Port) -> None:
    connection, _ = port.play()
    port.clock.advance(4)
    assert connection.said == []
    port.live()
    assert connection.said == ["accepted in chunks of 4096"]


def test_a_player_who_has_waited_long_enough_is_told_why(port: Port) -> None:
    connection, viewer = port.play()
    port.clock.advance(6)
    assert connection.said == [f"{NOT_FOUND}: show is not live"]
    viewer.lost("refused")
    port.clock.advance(10)
    assert len(port.feeds) == 0


def test_an_error_in_an_admission_closes_that_connection(logged_failures: LoggedFailures) -> None:
    connection = FakeConnection()
    viewer = RtmpViewer(connection, 4096)  # type: ignore[arg-type]
    viewer.begin(fail(OSError("an error of these tests")))
    assert connection.said == ["closed: internal error"] and len(logged_failures.take(OSError)) == 1


def test_a_player_who_leaves_while_it_waits_is_forgotten(port: Port) -> None:
    connection, viewer = port.play()
    viewer.lost("connection lost")
    port.clock.advance(10)
    port.live()
    assert connection.said == []


@pytest.mark.parametrize(
    ("app", "name", "rendition"), [("vod", "show", "source"), ("live", "a b", "source"), ("live", "show", "best")]
)
def test_what_there_cannot_be_is_refused_in_words(port: Port, app: str, name: str, rendition: str) -> None:
    connection = FakeConnection()
    try:
        connection, _ = port.play(name, app, rendition=rendition)
    except Refusal as refusal:
        connection.refuse(refusal)
    [said] = connection.said
    assert said.startswith(f"{NOT_FOUND}: ")
    assert len(said) > len(NOT_FOUND) + 12
    assert len(port.feeds) == 0


def test_the_end_is_said_when_the_broadcast_has_ended(port: Port) -> None:
    feed = port.live()
    connection, viewer = port.play()
    port.feeds.end(feed)
    assert connection.said[-1] == "over"
    viewer.lost("closed")
    assert port.viewers("rtmp") == 0


def test_pausing_stops_the_stream_and_playing_on_begins_with_a_key_frame(port: Port) -> None:
    feed = port.live()
    connection, viewer = port.play()
    port.clock.advance(1)
    viewer.paused(True)
    connection.transport.clear()
    feed.add(picture(40))
    port.clock.advance(1)
    assert connection.transport.value() == b""
    viewer.paused(False)
    for frame in (picture(80), sound(90), picture(120, True)):
        feed.add(frame)
        port.clock.advance(1)
    data = connection.transport.value()
    assert picture(80).body not in data and sound(90).body in data and picture(120, True).body in data


def test_a_player_who_goes_on_without_having_paused_gets_nothing_twice(port: Port) -> None:
    port.live()
    others = port.play()[0]
    connection, viewer = port.play()
    for _ in range(3):
        viewer.paused(False)
    port.clock.advance(1)
    viewer.paused(False)
    port.clock.advance(1)
    assert connection.transport.value() == others.transport.value() != b""


def test_a_player_who_has_left_is_freed_before_the_collector_looks(port: Port) -> None:
    port.live()
    viewer = port.play()[1]
    port.clock.advance(1)
    left = weakref.ref(viewer._session)
    gc.disable()
    try:
        viewer.lost("connection lost")
        del viewer
        assert left() is None
    finally:
        gc.enable()


def test_a_relay_gets_the_clock_ahead_of_the_frames_and_does_not_wait(port: Port) -> None:
    assert port.play(relay="1")[0].said == [f"{NOT_FOUND}: show is not live"]
    port.live()
    connection, _ = port.play(relay="1")
    port.clock.advance(1)
    data = connection.transport.value()
    assert 0 < data.index(CLOCK.encode()) < data.index(picture(0, True).body)
    assert (port.viewers("relay"), port.viewers("rtmp")) == (1, 0)


def test_what_waits_for_a_key_frame_is_done_when_the_player_has_been_given_it(port: Port) -> None:
    feed = port.live()
    connection, viewer = port.play()
    port.clock.advance(1)
    given: list[bool] = []
    key = picture(80, True)
    viewer.at_key_frame(lambda: given.append(key.body in connection.transport.value()))
    feed.add(picture(40))
    port.clock.advance(1)
    assert given == []
    feed.add(key)
    port.clock.advance(1)
    assert given == [True]
    feed.add(picture(120, True))
    port.clock.advance(1)
    assert given == [True]


def test_it_is_done_at_once_for_one_who_waits_for_the_broadcast(port: Port) -> None:
    _, viewer = port.play()
    given: list[bool] = []
    viewer.at_key_frame(lambda: given.append(True))
    assert given == [True]

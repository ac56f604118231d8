"""Viewers who read nothing are closed in time, whatever they speak, and whether or not anything is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from attrs import define, field

from livestream.metrics import Metrics
from livestream.model.admission import PushProtocol
from livestream.model.frames import Frame
from livestream.push.feed import Feed, PushLimits
from livestream.push.feeds import Feeds
from livestream.push.session import PlaybackSession
from livestream.push.timeline_splice import TimelineOrigin
from tests.push.frames import configs, picture
from tests.push.show import FakeReactor, Player
from tests.push.viewers import come

LIMITS = PushLimits(stall_s=30)


def large(time_ms: int) -> Frame:
    """A key frame that is more than a socket takes."""
    return picture(time_ms, True, 50_000)


@define(eq=False)
class Scene:
    """A broadcast whose frames are more than a socket takes, and viewers on real sockets."""

    reactor: FakeReactor = field(factory=FakeReactor)
    metrics: Metrics = field(factory=Metrics)
    feeds: Feeds = field(init=False)
    feed: Feed = field(init=False)
    players: list[Player] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.feeds = Feeds(LIMITS, self.reactor, self.metrics)
        self.feed = self.feeds.begin("show", "source", TimelineOrigin(1))
        for frame in [*configs(0), large(0)]:
            self.feed.add(frame)

    def watch(self, wire: PushProtocol) -> tuple[PlaybackSession, Player]:
        player = Player(self.reactor)
        self.players.append(player)
        stay, _ = come(self.feeds, protocol=wire)
        stay.watch(player.transport, player)
        player.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        assert stay.session is not None
        return stay.session, player

    def pass_time(self, seconds: int, *reading: Player, is_live: bool = True) -> None:
        for _ in range(seconds):
            if is_live:
                self.feed.add(large(round(1000 * self.reactor.seconds()) + 1))
            self.reactor.advance(1)
            self.reactor.write()
            for player in reading:
                read(player)
            self.feeds.close_stalled()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    for player in scene.players:
        player.close()


@pytest.mark.parametrize("wire", PushProtocol)
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "between frames"])
def test_a_viewer_who_reads_nothing_is_closed_after_so_long_and_no_other(
    scene: Scene, wire: PushProtocol, is_live: bool
) -> None:
    (_, stopped), (_, reading) = scene.watch(wire), scene.watch(wire)
    scene.pass_time(29, reading, is_live=is_live)
    assert not stopped.is_lost
    scene.pass_time(4, reading, is_live=is_live)
    assert stopped.is_lost and not reading.is_lost
    assert scene.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": "stall"}) == 1


def test_a_viewer_who_pauses_before_it_has_read_what_it_was_given_is_closed_too(scene: Scene) -> None:
    stay, stopped = scene.watch(PushProtocol.RTMP)
    scene.reactor.advance(1)
    scene.reactor.write()
    stay.pause(True)
    assert stopped.transport.dataBuffer or stopped.transport._tempDataBuffer
    scene.pass_time(33)
    assert stopped.is_lost


def test_a_viewer_who_has_read_all_that_it_was_given_may_pause_for_long(scene: Scene) -> None:
    stay, player = scene.watch(PushProtocol.RTMP)
    scene.pass_time(2, player)
    stay.pause(True)
    scene.pass_time(120)
    assert not player.is_lost


def test_a_viewer_who_pauses_while_its_socket_is_full_is_given_no_more_than_it_had(scene: Scene) -> None:
    stay, player = scene.watch(PushProtocol.RTMP)
    scene.reactor.advance(1)
    stay.pause(True)
    read(player)
    scene.pass_time(5)
    assert read(player) == b""


def read(player: Player) -> bytes:
    data = b""
    while True:
        player.reactor.write()
        try:
            data += player.far.recv(1 << 20)
        except BlockingIOError:
            return data

"""Two tiers of the push, joined by real RTMP sessions over wires in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import implementer

from livestream.media.flv import file_header
from livestream.metrics import Metrics
from livestream.model.admission import PushProtocol
from livestream.model.frames import Frame
from livestream.net.rtmp.client import RtmpUpstream
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.push.feed import Feed, PushLimits
from livestream.push.feeds import Feeds
from livestream.push.relay import GIVE_UP_S, Relays
from livestream.push.relay_admission import RelayAdmission, SignedRelays
from livestream.push.rtmp import RtmpPlaying
from livestream.push.timeline_splice import TimelineOrigin
from livestream.push.viewer_admission import ViewerAdmission
from livestream.signing import Credentials
from tests.observer import Observer
from tests.push.frames import configs, group
from tests.push.test_feed import Heard, flv_tags
from tests.push.viewers import come


@implementer(IStreamClientEndpoint)
@define(eq=False)
class Cable:
    """An endpoint that is wired to a port in memory."""

    port: RtmpServerFactory
    pumps: list[IOPump] = field(factory=list)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        client, server = factory.buildProtocol(None), self.port.buildProtocol(None)
        assert client is not None and server is not None
        ends = FakeTransport(server, isServer=True), FakeTransport(client, isServer=False)
        self.pumps.append(connect(server, ends[0], client, ends[1]))
        return succeed(client)

    def cut(self) -> None:
        pump = self.pumps.pop()
        pump.clientIO.abortConnection()
        pump.flush()


@define(eq=False)
class Viewer:
    transport: StringTransport = field(factory=StringTransport)
    is_over: bool = False

    def over(self) -> None:
        self.is_over = True

    def times(self) -> list[int]:
        return [time_ms for _, time_ms, _ in flv_tags(self.transport.value())]


@define(eq=False)
class Tiers:
    """Two upstreams that push the same broadcast, to relays alone, and an edge that relays it."""

    clock: Clock = field(factory=Clock)
    upper: list[Feeds] = field(init=False)
    cables: list[Cable] = field(init=False)
    edge: Feeds = field(init=False)
    sources: list[Feed] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000)
        limits, metrics = PushLimits(), Metrics()
        self.upper = [Feeds(limits, self.clock, metrics) for _ in range(2)]
        credentials = Credentials("edge-1", "the secret of these tests", self.clock.seconds)
        admission = RelayAdmission(SignedRelays(credentials), takes_viewers=False, seconds=self.clock.seconds)
        plays = [RtmpPlaying(ViewerAdmission(one), admission) for one in self.upper]
        ports = [RtmpServerFactory(None, play, RtmpLimits(), self.clock, metrics) for play in plays]
        self.cables = [Cable(port) for port in ports]
        upstreams = [
            RtmpUpstream(f"rtmp://up{n}", cable, self.clock, Observer(), credentials)
            for n, cable in enumerate(self.cables)
        ]
        relays = Relays(lambda _: upstreams, lambda: succeed({}), lambda _: 0, self.clock, metrics)
        self.edge = Feeds(limits, self.clock, metrics, relays, Heard())

    def live(self, epoch: int = 7) -> None:
        self.sources = [one.begin("show", "source", TimelineOrigin(epoch)) for one in self.upper]

    def add(self, frames: list[Frame]) -> None:
        for source in self.sources:
            for frame in frames:
                source.add(frame)
        self.run(0.2)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.clock.advance(0.02)
            for cable in self.cables:
                for pump in list(cable.pumps):
                    pump.flush()

    def watch(self) -> Viewer:
        viewer = Viewer()
        stay, _ = come(self.edge, protocol=PushProtocol.FLV)
        stay.admission.addCallback(lambda _: stay.watch(viewer.transport, viewer))
        self.run(0.3)
        return viewer


FRAMES = group(16_776_000, 50)


@pytest.fixture
def tiers() -> Iterator[Tiers]:
    tiers = Tiers()
    tiers.live()
    tiers.add([*configs(16_776_000), *FRAMES[:40]])
    yield tiers
    tiers.edge.stop()


def test_a_stream_passes_through_a_relay_unchanged_past_24_bits_of_time(tiers: Tiers) -> None:
    viewer = tiers.watch()
    tiers.add(FRAMES[40:])
    assert viewer.transport.value().startswith(file_header(True, True))
    assert viewer.times() == sorted(viewer.times()) and viewer.times()[-1] > 2**24
    bodies = {body for *_, body in flv_tags(viewer.transport.value())}
    assert bodies == {frame.body for frame in (*configs(), *FRAMES)}


def test_many_viewers_are_one_relay(tiers: Tiers) -> None:
    viewers = [tiers.watch() for _ in range(5)]
    tiers.add(FRAMES[40:])
    assert len({viewer.transport.value() for viewer in viewers}) == 1
    assert len(tiers.cables[0].pumps) == 1 and tiers.cables[1].pumps == []


def test_a_cut_upstream_is_followed_by_the_next_with_every_frame_once(tiers: Tiers) -> None:
    viewer = tiers.watch()
    tiers.cables[0].cut()
    tiers.add(FRAMES[40:])
    tiers.run(1)
    assert len(tiers.cables[1].pumps) == 1
    assert [body for *_, body in flv_tags(viewer.transport.value())][2:] == [frame.body for frame in FRAMES]
    assert not viewer.is_over


def test_a_silent_publisher_does_not_look_like_a_dead_upstream(tiers: Tiers) -> None:
    viewer = tiers.watch()
    tiers.run(20)
    assert tiers.cables[1].pumps == []
    tiers.add(FRAMES[40:])
    assert len(viewer.times()) == 2 + len(FRAMES)


def test_an_upstream_that_is_frozen_is_left_for_the_next(tiers: Tiers) -> None:
    viewer = tiers.watch()
    tiers.cables[0].pumps.clear()
    tiers.run(6)
    assert len(tiers.cables[1].pumps) == 1
    tiers.add(FRAMES[40:])
    assert len(viewer.times()) == 2 + len(FRAMES)


def test_the_end_of_the_broadcast_reaches_the_last_viewer(tiers: Tiers) -> None:
    viewer = tiers.watch()
    for upper, source in zip(tiers.upper, tiers.sources, strict=True):
        upper.end(source)
    tiers.run(0.5)
    assert viewer.is_over
    assert len(tiers.edge) == 0


def test_a_relay_that_nobody_watches_any_more_is_released_after_a_while(tiers: Tiers) -> None:
    stay, _ = come(tiers.edge, protocol=PushProtocol.FLV)
    stay.admission.addCallback(lambda _: stay.watch(StringTransport(), Viewer()))
    tiers.run(0.5)
    stay.leave()
    tiers.run(PushLimits().linger_s / 2)
    assert len(tiers.edge) == 1
    tiers.run(PushLimits().linger_s)
    assert len(tiers.edge) == 0
    assert not tiers.sources[0].is_in_use


def test_viewers_stay_while_the_whole_tier_above_is_away(tiers: Tiers) -> None:
    viewer = tiers.watch()
    for upper in tiers.upper:
        upper.stop()
    tiers.cables[0].cut()
    tiers.run(GIVE_UP_S / 2)
    assert not viewer.is_over
    tiers.live(8)
    tiers.add([*configs(0), *group(0, 5)])
    tiers.run(1)
    assert viewer.times() == sorted(viewer.times())
    assert len(viewer.times()) == 2 + 40 + 10

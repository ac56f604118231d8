"""Two ingests on one bus: a stream goes from one to the other, and back, and its numbers only rise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.memory import MemoryBus
from livestream.bus.published import PublishedStreams
from livestream.ingest.broadcasts import REMEMBERED_S, Broadcasts, WriterServices
from livestream.ingest.claims import Claims, NoPeerNodes, farthest
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import PublishAdmission, Publisher
from livestream.ingest.services import BroadcastSettings
from livestream.ingest.takeovers import Takeovers
from livestream.metrics import Metrics
from livestream.model.admission import PublishRequest, Refusal
from livestream.model.frames import Track
from livestream.model.segments import Announcement, SegmentAnnounced, StreamEnded, StreamPosition
from livestream.packaging.window import Window
from livestream.roles.other_ingests import CHANNEL, OtherIngests, PublisherChannel, giving_way
from livestream.steering.nodes import Node
from tests.ingest.test_broadcast import FakeSite, media
from tests.ingest.test_publish_admission import FakeConnection, answered

SECRET = "the-key-of-the-show"


@define(eq=False)
class Below:
    """What an origin makes of what it hears."""

    window: Window = field(factory=lambda: Window("show", 6))
    news: list[SegmentAnnounced] = field(factory=list)
    ends: int = 0

    def announced(self, announcement: Announcement) -> None:
        news = self.window.apply([announcement])
        self.news += [told for told in news if isinstance(told, SegmentAnnounced)]
        self.ends += sum(isinstance(told, StreamEnded) for told in news)

    def recovered(self, announcements: Sequence[Announcement]) -> None: ...

    @property
    def breaks(self) -> int:
        return sum(after.segment.discontinuity > before.segment.discontinuity for before, after in pairwise(self.news))


@define(eq=False)
class Ingest:
    """An ingest without a network, whose clock is ``ahead_s`` ahead."""

    scene: Scene
    name: str
    ahead_s: float
    bus: MemoryBus = field(init=False)
    published: PublishedStreams = field(init=False)
    site: FakeSite = field(factory=FakeSite)
    admission: PublishAdmission = field(init=False)
    channel: PublisherChannel = field(init=False)

    def __attrs_post_init__(self) -> None:
        clock, metrics = self.scene.clock, Metrics()
        self.bus = MemoryBus(self.name)
        self.bus._heads, self.bus._logs = self.scene.bus._heads, self.scene.bus._logs
        self.bus._listeners, self.bus._subscribers = self.scene.bus._listeners, self.scene.bus._subscribers
        self.published = PublishedStreams(self.bus, Tier.INGEST, 6, self.name)
        known_streams = KnownStreams(self.bus, Tier.INGEST, None, 6, clock, metrics)
        others = OtherIngests(self.name, lambda: self.scene.nodes, clock)
        channel = self.channel = PublisherChannel(self.bus, self.name, "")

        def position(stream: str) -> StreamPosition:
            return farthest([self.published.position(stream), known_streams.position(stream)])

        seconds = lambda: clock.seconds() + self.ahead_s  # noqa: E731
        claims = Claims(self.name, self.bus.claim, NoPeerNodes(), position, len(self.scene.nodes), clock, seconds)
        numbering = WriterServices(
            self.name,
            claims,
            self.bus.accept,
            self.bus.release,
            self.published.record,
            lambda: True,
            channel.send,
        )
        takeovers = Takeovers(clock)
        broadcasts = Broadcasts(
            BroadcastSettings(3, 3.0, 10.0, ()),
            self.site,
            numbering,
            self.published.remove,
            takeovers.count,
            clock,
            seconds,
            metrics,
        )
        self.admission = PublishAdmission(
            PublishKeys(self.scene.keys), broadcasts, clock, metrics, 9, takeovers, others
        )
        known_streams.subscribe(giving_way(self.name, broadcasts.give_up, self.admission.superseded))
        known_streams.subscribe(others.changed)
        channel.subscribe(others.publisher_changed)
        known_streams.start()

    def publish(self) -> tuple[Publisher, FakeConnection]:
        connection = FakeConnection()
        request = PublishRequest("show", {"key": SECRET}, "192.0.2.1")
        return answered(self.admission.admit(request, connection), self.scene.clock), connection


@define(eq=False)
class Scene:
    """The second ingest's clock is ``ahead_s`` before that of the first."""

    ahead_s: float = 0.0
    keys: dict[str, str] = field(factory=lambda: {"*": SECRET})
    clock: Clock = field(factory=Clock)
    bus: MemoryBus = field(factory=MemoryBus)
    below: Below = field(factory=Below)
    nodes: list[Node] = field(init=False)
    first: Ingest = field(init=False)
    second: Ingest = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_800_000_000)
        self.nodes = [Node(name, "ingest", f"http://{name}") for name in ("ingest-1", "ingest-2")]
        self.bus.listen(Tier.INGEST, self.below)
        self.first, self.second = Ingest(self, "ingest-1", 0.0), Ingest(self, "ingest-2", self.ahead_s)

    def send(self, publisher: Publisher, start_s: int, end_s: int) -> None:
        """Send so much in the time that it takes."""
        began = self.clock.seconds() - start_s
        for frame in media(start_s * 1000, end_s * 1000):
            self.clock.advance(max(began + frame.dts_ms / 1000 - self.clock.seconds(), 0.0))
            publisher.media(9 if frame.track is Track.VIDEO else 8, frame.dts_ms, frame.body)


def rises(below: Below) -> bool:
    """Whether numbers and dates go up, one by one, in one list."""
    segments = [told.segment for told in below.news]
    return all(
        after.msn == before.msn + 1
        and after.discontinuity >= before.discontinuity
        and after.starts_at_ms >= before.starts_at_ms
        for before, after in pairwise(segments)
    )


@pytest.mark.parametrize("ahead_s", [0.0, 300.0, -300.0])
def test_a_stream_goes_to_another_ingest_and_back_with_a_discontinuity_and_no_number_twice(ahead_s: float) -> None:
    scene = Scene(ahead_s)
    for turn, ingest in enumerate((scene.first, scene.second, scene.first, scene.second)):
        publisher, _ = ingest.publish()
        scene.send(publisher, 100 * turn, 100 * turn + 9)
        assert scene.below.window.node == ingest.name
    assert rises(scene.below) and scene.below.breaks == 3 and scene.below.ends == 0
    assert not any(told.segment.is_gap for told in scene.below.news)


def test_the_publisher_that_has_gone_elsewhere_is_disconnected_and_the_end_of_its_life_is_not_announced() -> None:
    scene = Scene()
    publisher, connection = scene.first.publish()
    scene.send(publisher, 0, 9)
    newcomer, _ = scene.second.publish()
    scene.send(newcomer, 100, 109)
    assert connection.ends == ["replaced by a new connection of the same publisher, at ingest-2"]
    publisher.lost("closed")
    assert scene.first.site.cut and not scene.first.site.ended
    scene.send(newcomer, 109, 119 + int(REMEMBERED_S))
    assert scene.below.ends == 0 and rises(scene.below)
    assert scene.first.published.window("show") is None


def test_a_zombie_that_wakes_up_changes_nothing_and_gives_up_when_it_hears_the_newer_life() -> None:
    scene = Scene()
    zombie, connection = scene.first.publish()
    scene.send(zombie, 0, 9)
    asleep = scene.bus._listeners[Tier.INGEST].pop(1)
    newcomer, _ = scene.second.publish()
    scene.send(newcomer, 100, 109)
    scene.send(zombie, 9, 12)
    assert rises(scene.below) and {told.node for told in scene.below.news[-2:]} == {"ingest-2"}
    scene.bus._listeners[Tier.INGEST].append(asleep)
    scene.send(newcomer, 109, 118)
    assert connection.ends and rises(scene.below)


def test_without_keys_nobody_takes_a_live_stream_from_another_ingest() -> None:
    scene = Scene(keys={})
    publisher, connection = scene.first.publish()
    scene.send(publisher, 0, 9)
    with pytest.raises(Refusal, match="already being published at ingest-1"):
        scene.second.publish()
    scene.send(publisher, 9, 18)
    assert connection.ends == [] and scene.below.window.node == "ingest-1"
    del scene.nodes[0]
    newcomer, _ = scene.second.publish()
    scene.send(newcomer, 100, 109)
    assert rises(scene.below) and scene.below.window.node == "ingest-2"


@pytest.mark.parametrize("keys", [{}, {"*": SECRET}], ids=["without keys", "with keys"])
def test_a_publisher_who_leaves_one_ingest_is_let_in_at_the_other_at_once_as_often_as_it_likes(
    keys: dict[str, str],
) -> None:
    scene = Scene(keys=keys)
    for turn in range(9):
        publisher, _ = (scene.first, scene.second)[turn % 2].publish()
        scene.send(publisher, 100 * turn, 100 * turn + 5)
        publisher.lost("closed")
    assert rises(scene.below) and scene.below.ends == 0


def test_a_publisher_who_has_left_and_is_back_is_there_for_the_other_ingest_at_once() -> None:
    scene = Scene(keys={})
    for start_s in (0, 100):
        publisher, _ = scene.first.publish()
        scene.send(publisher, start_s, start_s + 5)
        with pytest.raises(Refusal, match="already being published at ingest-1"):
            scene.second.publish()
        publisher.lost("closed")
    scene.first.publish()
    with pytest.raises(Refusal, match="already being published at ingest-1"):
        scene.second.publish()


def test_who_does_not_have_the_secret_cannot_say_that_a_publisher_has_left() -> None:
    scene = Scene(keys={})
    scene.second.channel.secret = "the secret of the cluster"
    publisher, _ = scene.first.publish()
    scene.send(publisher, 0, 5)
    publisher.lost("closed")
    for message in (b"", b"{}", b"0" * 64 + b" {}"):
        scene.second.bus.send(CHANNEL, message)
    with pytest.raises(Refusal, match="already being published at ingest-1"):
        scene.second.publish()

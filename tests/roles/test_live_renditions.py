"""What an edge knows of names, with the real way of announcements from ingest to origin to edge in one process."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from livestream.bus.announcements import decode_document
from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.memory import MemoryBus
from livestream.bus.published import PublishedStreams
from livestream.cache.cache import Cache
from livestream.cache.prefetch import OriginReplicator
from livestream.cache.store import Store
from livestream.hls.beginnings import Beginnings
from livestream.hls.paths import Kind, Target
from livestream.hls.playlists import Playlists
from livestream.http.response import ResponseFactory
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, Epoch, EpochBegan
from livestream.push.feeds import Availability
from livestream.roles.live_renditions import LiveRenditions
from tests.cache.test_cache import Source
from tests.packaging.windows import EPOCH, RUNG, announced, ended

LENGTH = 6


@define(eq=False)
class Chain:
    """An origin that can fetch nothing, and an edge, on one bus."""

    clock: Clock = field(factory=Clock)
    bus: MemoryBus = field(factory=MemoryBus)
    origin: PublishedStreams = field(init=False)
    edge: KnownStreams = field(init=False)
    known: LiveRenditions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(EPOCH / 1000)
        origin = KnownStreams(self.bus, Tier.INGEST, None, LENGTH, self.clock, Metrics())
        self.origin = published = PublishedStreams(self.bus, Tier.ORIGIN, LENGTH)
        store = Store(1 << 20, lambda _: True, lambda _: True, self.clock.seconds, Metrics())
        cache = Cache(store, Source(), origin.object_info, self.clock, self.clock.seconds)
        replicator = OriginReplicator(cache, LENGTH, published.announce, published.remove, self.clock)
        origin.subscribe(replicator.on_announcement)
        self.edge = KnownStreams(self.bus, Tier.ORIGIN, None, LENGTH, self.clock, Metrics())
        self.known = LiveRenditions(self.edge)
        origin.start()
        self.edge.start()

    def hear(self, *announcements: Announcement) -> None:
        for announcement in announcements:
            self.edge.announced(announcement)

    def availability(self, rendition: str = "source", stream: str = "show") -> Availability:
        return self.known.availability(stream, rendition)


@pytest.fixture
def chain() -> Chain:
    return Chain()


def test_an_edge_knows_at_once_that_a_broadcast_has_begun_and_lists_nothing_of_it(chain: Chain) -> None:
    assert chain.availability() is Availability.NOT_LIVE
    chain.bus.publish(Tier.INGEST, EpochBegan("show", Epoch(EPOCH, 1)))
    assert chain.availability() is Availability.LIVE
    window = chain.edge.window("show")
    assert window is not None and window.renditions() == [] and not window.is_live
    chain.bus.publish(Tier.INGEST, announced(1))
    assert window.listed("source") == [], "the origin does not have it yet"
    assert chain.availability(stream="other") is Availability.NOT_LIVE


@pytest.mark.parametrize("has_log", [True, False], ids=["from the bus", "from the origin"])
def test_every_tier_and_an_edge_that_starts_later_wait_for_a_broadcast_that_has_begun(
    chain: Chain, has_log: bool
) -> None:
    chain.bus.publish(Tier.INGEST, EpochBegan("show", Epoch(EPOCH, 1)))
    late = KnownStreams(chain.bus if has_log else MemoryBus(), Tier.ORIGIN, None, LENGTH, chain.clock, Metrics())
    late.start()
    late.recovered([] if has_log else decode_document(chain.origin.every()))
    for tier in (chain.origin, chain.edge, late):
        playlists = Playlists(tier, ResponseFactory("node"))
        beginnings = Beginnings(playlists, 3, 100, chain.clock, Metrics())
        assert beginnings.find(Target(Kind.MULTIVARIANT, "show"), gzip=False) is not None
        assert beginnings.find(Target(Kind.MULTIVARIANT, "other"), gzip=False) is None
    chain.bus.publish(Tier.INGEST, ended(0))
    assert not (chain.origin.is_on_air("show") or chain.edge.is_on_air("show"))


def test_what_has_ended_is_not_live_until_it_begins_again(chain: Chain) -> None:
    chain.hear(announced(1), ended(1))
    assert chain.availability() is Availability.NOT_LIVE
    chain.hear(EpochBegan("show", Epoch(EPOCH + 1000, 2)))
    assert chain.availability() is Availability.LIVE


def test_a_rendition_that_is_not_listed_may_come_while_the_stream_is_young_and_not_later(chain: Chain) -> None:
    chain.hear(EpochBegan("show", Epoch(EPOCH, 1)))
    assert chain.availability("720p") is Availability.UNKNOWN
    for msn in (1, 2):
        chain.hear(announced(msn))
        assert chain.availability("720p") is Availability.UNKNOWN
    chain.hear(announced(1, RUNG))
    assert chain.availability("720p") is Availability.LIVE
    assert chain.availability("480p") is Availability.UNKNOWN
    chain.hear(announced(3))
    assert chain.availability("480p") is Availability.NOT_LIVE
    assert chain.availability("720p") is Availability.LIVE


def test_a_node_that_is_cut_off_cannot_tell_of_what_it_does_not_know_and_can_of_what_it_does(chain: Chain) -> None:
    chain.hear(announced(1))
    chain.bus.is_healthy = False
    assert chain.availability(stream="other") is Availability.UNKNOWN
    assert chain.availability() is Availability.LIVE
    chain.bus.is_healthy = True
    chain.bus.has_caught_up = False
    assert chain.availability(stream="other") is Availability.UNKNOWN

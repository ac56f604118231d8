from __future__ import annotations

from attrs import define, field
from twisted.internet.task import Clock

from livestream.cache.cache import HOLD_DOWN_S, Cache
from livestream.cache.prefetch import (
    AGAIN_S,
    REPLICATED_AT_ONCE,
    RETRY_S,
    WATCHED_TARGETS,
    EdgePrefetcher,
    OriginReplicator,
)
from livestream.cache.store import Store
from livestream.metrics import Metrics
from livestream.model.segments import (
    Announcement,
    Epoch,
    EpochBegan,
    ObjectInfo,
    RenditionInfo,
    Segment,
    SegmentAnnounced,
    StreamEnded,
)
from tests.cache.nodes import info_of
from tests.cache.test_cache import Fetch, Source

TARGET_S = 3
LENGTH = 7
INIT = info_of(b"init", "1-init-0.mp4")
ENDED = StreamEnded("show", Epoch(1, 0), 9)


def media(msn: int) -> ObjectInfo:
    return info_of(b"media%d" % msn, f"1-{msn}.m4s")


def announced(msn: int, rendition: str = "source", stream: str = "show") -> SegmentAnnounced:
    segment = Segment(msn, 0, msn * 3000, 3000, media(msn), INIT)
    return SegmentAnnounced(stream, Epoch(1, 0), TARGET_S, RenditionInfo(rendition, "avc1", 1, 1), segment)


@define(eq=False)
class Tier:
    """A node that hears announcements, with fetches that the test ends."""

    clock: Clock = field(factory=Clock)
    source: Source = field(factory=Source)
    out: list[Announcement] = field(factory=list)
    forgotten: list[str] = field(factory=list)
    cache: Cache = field(init=False)
    replicator: OriginReplicator = field(init=False)
    prefetcher: EdgePrefetcher = field(init=False)

    def __attrs_post_init__(self) -> None:
        store = Store(1 << 20, lambda _: True, lambda _: True, self.clock.seconds, Metrics())
        known = lambda _stream, _rendition, name: INIT if name == INIT.name else None  # noqa: E731
        self.cache = Cache(store, self.source, known, self.clock, self.clock.seconds)
        self.replicator = OriginReplicator(self.cache, LENGTH, self.out.append, self.forgotten.append, self.clock)
        self.prefetcher = EdgePrefetcher(self.cache)

    def wanted(self) -> list[str]:
        return [f"{fetch.key.rendition}/{fetch.key.name}" for fetch in self.source.fetches]

    def end(self, name: str, rendition: str = "source", error: Exception | None = None) -> None:
        """End the latest fetch of an object, well or with an error."""
        fetch = next(each for each in reversed(self.source.fetches) if self._is(each, name, rendition))
        if error is None:
            fetch.take(b"init" if name == INIT.name else b"media" + name[2:-4].encode())
        fetch.end(error)

    def _is(self, fetch: Fetch, name: str, rendition: str) -> bool:
        return (fetch.key.name, fetch.key.rendition) == (name, rendition) and not fetch.over.called


def test_a_segment_is_passed_on_when_it_and_its_init_segment_are_here() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(7))
    tier.end(INIT.name)
    assert tier.wanted() == ["source/1-init-0.mp4", "source/1-7.m4s"]
    assert tier.out == []
    tier.end("1-7.m4s")
    assert tier.out == [announced(7)]


def test_segments_are_passed_on_in_their_order_however_they_arrive() -> None:
    tier = Tier()
    for msn in (7, 8, 9):
        tier.replicator.on_announcement("show", announced(msn))
    tier.end(INIT.name)
    tier.end("1-9.m4s")
    tier.end("1-8.m4s")
    assert tier.out == []
    tier.end("1-7.m4s")
    assert tier.out == [announced(7), announced(8), announced(9)]


def test_one_rendition_does_not_wait_for_another() -> None:
    tier = Tier()
    for rendition in ("source", "480p"):
        tier.replicator.on_announcement("show", announced(7, rendition))
    tier.end(INIT.name, "480p")
    tier.end("1-7.m4s", "480p")
    assert tier.out == [announced(7, "480p")]


def test_the_end_is_passed_on_after_everything_else() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(9))
    tier.replicator.on_announcement("show", ENDED)
    tier.replicator.on_announcement("other", StreamEnded("other", Epoch(1, 0), 1))
    assert tier.out == [StreamEnded("other", Epoch(1, 0), 1)]
    tier.end(INIT.name)
    tier.end("1-9.m4s")
    assert tier.out[1:] == [announced(9), ENDED]


def fail_until(tier: Tier, name: str, seconds: float) -> None:
    """Have every fetch of an object fail for so long."""
    until = tier.clock.seconds() + seconds
    while tier.clock.seconds() < until:
        for fetch in tier.source.fetches:
            if fetch.key.name == name and not fetch.over.called:
                fetch.end(RuntimeError("no"))
        tier.clock.advance(RETRY_S)


def test_what_cannot_be_had_is_not_announced_and_is_tried_no_more_in_the_end() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(7))
    tier.end(INIT.name)
    fail_until(tier, "1-7.m4s", LENGTH * TARGET_S - 1)
    assert tier.replicator._pending
    fail_until(tier, "1-7.m4s", TARGET_S)
    assert (tier.out, tier.replicator._pending, tier.clock.getDelayedCalls()) == ([], {}, [])
    assert len(tier.source.fetches) <= 2 + LENGTH * TARGET_S / HOLD_DOWN_S


def test_what_is_late_keeps_the_others_for_a_target_duration_and_is_announced_when_it_comes() -> None:
    tier = Tier()
    for msn in (7, 8):
        tier.replicator.on_announcement("show", announced(msn))
    tier.end(INIT.name)
    tier.end("1-8.m4s")
    fail_until(tier, "1-7.m4s", TARGET_S - 1)
    assert tier.out == []
    fail_until(tier, "1-7.m4s", 2)
    assert tier.out == [announced(8)]
    tier.replicator.on_announcement("show", announced(9))
    tier.end("1-9.m4s")
    assert tier.out == [announced(8), announced(9)]
    tier.end("1-7.m4s")
    assert tier.out == [announced(8), announced(9), announced(7)]


def test_what_is_late_is_asked_for_again_before_what_follows_is_announced() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(7))
    tier.end(INIT.name)
    fail_until(tier, "1-7.m4s", TARGET_S + 1)
    for msn in (8, 9):
        tier.replicator.on_announcement("show", announced(msn))
        tier.end(f"1-{msn}.m4s")
    assert tier.out == []
    tier.clock.advance(AGAIN_S - 0.1)
    tier.end("1-7.m4s")
    assert tier.out == [announced(7), announced(8), announced(9)]


def test_what_follows_waits_only_a_moment_for_what_is_late() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(7))
    tier.end(INIT.name)
    fail_until(tier, "1-7.m4s", TARGET_S + 1)
    tier.replicator.on_announcement("show", announced(8))
    tier.end("1-8.m4s")
    fail_until(tier, "1-7.m4s", AGAIN_S)
    assert tier.out == [announced(8)]


def test_that_an_epoch_began_is_passed_on_at_once() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(7))
    began = EpochBegan("show", Epoch(2, 8))
    tier.replicator.on_announcement("show", began)
    assert tier.out == [began]


def test_what_succeeds_in_the_end_is_announced() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(7))
    tier.end(INIT.name)
    tier.end("1-7.m4s", error=RuntimeError("no"))
    tier.clock.advance(RETRY_S)
    tier.end("1-7.m4s")
    assert tier.out == [announced(7)]


def test_an_origin_that_comes_late_does_not_fetch_everything_at_once() -> None:
    tier = Tier()
    for number in range(2 * REPLICATED_AT_ONCE):
        tier.replicator.on_announcement(f"show{number}", announced(7, stream=f"show{number}"))
    assert len(tier.source.fetches) == REPLICATED_AT_ONCE
    tier.end(INIT.name)
    assert len(tier.source.fetches) == REPLICATED_AT_ONCE + 1


def test_however_many_fetches_fail_together_each_is_tried_again_and_none_is_stuck() -> None:
    tier = Tier()
    streams = [f"show{number}" for number in range(1000)]
    for stream in streams:
        tier.replicator.on_announcement(stream, announced(7, stream=stream))
    tier.cache._is_stopped = True  # every fetch that begins from here on fails at once
    tier.source.fetches[0].end(RuntimeError("no"))
    tier.cache._is_stopped = False
    for _ in range(20):
        tier.clock.advance(RETRY_S)
        for fetch in tier.source.fetches:
            if not fetch.over.called:
                fetch.take(b"init" if fetch.key.name == INIT.name else b"media7")
                fetch.end()
    assert sorted(told.stream for told in tier.out) == sorted(streams)


def test_nothing_is_kept_of_a_stream_that_is_forgotten_nor_passed_on() -> None:
    tier = Tier()
    tier.replicator.on_announcement("show", announced(7))
    tier.replicator.on_announcement("show", None)
    assert tier.forgotten == ["show"]
    tier.end(INIT.name)
    tier.end("1-7.m4s")
    assert (tier.out, tier.replicator._pending, tier.replicator._running) == ([], {}, set())


def test_when_the_node_stops_nothing_more_is_passed_on_or_tried() -> None:
    tier = Tier()
    for msn in (7, 8):
        tier.replicator.on_announcement("show", announced(msn))
    tier.end(INIT.name)
    tier.end("1-7.m4s", error=RuntimeError("no"))
    tier.replicator.stop()
    tier.cache.stop()
    tier.clock.advance(60)
    assert (tier.out, len(tier.source.fetches), tier.clock.getDelayedCalls()) == ([], 3, [])


def test_an_edge_prefetches_what_is_used_and_not_what_is_only_asked_about() -> None:
    tier = Tier()
    tier.cache.prefetch("show", "source", INIT)
    tier.end(INIT.name)
    assert tier.cache.is_known("show", "source", INIT.name)
    assert tier.cache.get_cached("show", "source", "1-7.m4s") is None
    tier.prefetcher.on_announcement("show", announced(7))
    assert tier.wanted() == ["source/1-init-0.mp4"]
    assert tier.cache.get_cached("show", "source", INIT.name) is not None
    tier.prefetcher.on_announcement("show", announced(8))
    assert tier.wanted() == ["source/1-init-0.mp4", "source/1-8.m4s"]


def test_an_edge_fetches_what_its_viewers_will_ask_for_and_nothing_else() -> None:
    tier = Tier()
    tier.prefetcher.on_announcement("show", announced(7))
    assert tier.wanted() == []
    tier.cache.get("show", "480p", INIT.name)
    for rendition in ("source", "480p"):
        tier.prefetcher.on_announcement("show", announced(8, rendition))
    assert tier.wanted() == ["480p/1-init-0.mp4", "480p/1-8.m4s"]
    tier.end("1-8.m4s", "480p", RuntimeError("no"))
    tier.clock.advance(WATCHED_TARGETS * TARGET_S + 1)
    tier.prefetcher.on_announcement("show", announced(9, "480p"))
    tier.prefetcher.on_announcement("show", ENDED)
    tier.prefetcher.on_announcement("show", None)
    assert len(tier.source.fetches) == 2

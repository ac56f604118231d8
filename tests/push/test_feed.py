from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from weakref import ref

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from livestream.metrics import Metrics
from livestream.model.admission import PushProtocol, Refusal
from livestream.push.backlog import Backlog
from livestream.push.feed import ANSWER_S, Feed, FeedPhase, PushLimits
from livestream.push.feeds import UNKNOWN_S, Availability, Feeds
from livestream.push.timeline_splice import TimelineOrigin
from livestream.push.viewer import Viewer
from tests.push.frames import configs, group, picture, sound
from tests.push.viewers import come

LIMITS = PushLimits(wait_s=5.0, linger_s=10.0)


@define(eq=False)
class Asked:
    """A supply that does nothing by itself."""

    feeds: list[Feed] = field(factory=list)
    on_end: Callable[[Feed], None] | None = None

    def start(self, feed: Feed, on_end: Callable[[Feed], None]) -> None:
        self.feeds.append(feed)
        self.on_end = on_end

    def stop(self, feed: Feed) -> None:
        self.feeds.remove(feed)


@define(eq=False)
class Heard:
    """What is known elsewhere: the same of every name that is not in ``live``."""

    of_others: Availability = Availability.NOT_LIVE
    live: set[str] = field(factory=lambda: {"show"})
    asked: int = 0

    def availability(self, stream: str, rendition: str) -> Availability:
        self.asked += 1
        return Availability.LIVE if stream in self.live and rendition == "source" else self.of_others


@define(eq=False)
class FakeConnection:
    is_over: bool = False

    def over(self) -> None:
        self.is_over = True


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1000)
    return clock


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The garbage collector does not look, as it does not for hours on a node with few streams."""
    gc.disable()
    yield
    gc.enable()


def feeds(clock: Clock, supply: Asked | None = None, limits: PushLimits = LIMITS, known: Heard | None = None) -> Feeds:
    return Feeds(limits, clock, Metrics(), supply, known or (Heard() if supply else None), max_feeds=3)


def unknowing(clock: Clock, supply: Asked, limits: PushLimits = LIMITS, most: int = 4096) -> Feeds:
    """The feeds of a node that cannot know what is live."""
    return Feeds(limits, clock, Metrics(), supply, Heard(Availability.UNKNOWN, set()), max_feeds=most)


def outcome(ready: Deferred[None]) -> list[object]:
    seen: list[object] = []
    ready.addCallbacks(lambda _: seen.append("ready"), lambda failure: seen.append(failure.value))
    return seen


def watch(feed: Feed, protocol: PushProtocol = PushProtocol.FLV) -> StringTransport:
    transport = StringTransport()
    feed.fanout(protocol).attach(Viewer(transport, FakeConnection(), Backlog(10**6, 4000)))
    return transport


def test_a_broadcasts_viewers_begin_when_its_first_frame_has_come(clock: Clock) -> None:
    feed = feeds(clock).begin("show", "source", TimelineOrigin(1))
    seen = outcome(feed.ready(clock.seconds() + 5))
    for frame in configs():
        feed.add(frame)
    assert seen == []
    feed.add(picture(0, True))
    assert seen == ["ready"]
    assert outcome(feed.ready(0)) == ["ready"]


def test_the_configurations_have_the_time_of_the_first_frame(clock: Clock) -> None:
    feed = feeds(clock).begin("show", "source", TimelineOrigin(1))
    for frame in [*configs(0), *group(16_780_000, 1)]:
        feed.add(frame)
    transport = watch(feed)
    clock.advance(1)
    times = [tag[1] for tag in flv_tags(transport.value())]
    assert times == [16_780_000] * 4


def test_metadata_goes_ahead(clock: Clock) -> None:
    feed = feeds(clock).begin("show", "source", TimelineOrigin(1))
    feed.set_metadata(b"about")
    for frame in [*configs(40), picture(40, True)]:
        feed.add(frame)
    transport = watch(feed)
    clock.advance(1)
    assert flv_tags(transport.value())[0] == (18, 40, b"about")


def test_relays_get_their_ticks_more_often(clock: Clock) -> None:
    feed = feeds(clock).begin("show", "source", TimelineOrigin(1))
    for frame in [*configs(40), picture(40, True)]:
        feed.add(frame)
    relay, viewer = watch(feed, PushProtocol.RELAY), watch(feed, PushProtocol.RTMP)
    clock.advance(1)
    relay.clear()
    viewer.clear()
    clock.advance(-clock.seconds() % 0.064 + 0.001)
    feed.add(picture(80))
    clock.advance(0.016)
    assert relay.value() and not viewer.value()


def test_a_relay_of_relayed_frames_does_not_wait_for_a_tick(clock: Clock) -> None:
    relayed = feeds(clock, Asked()).join("show", "source")
    for frame in [*configs(40), picture(40, True)]:
        relayed.add(frame)
    relay, viewer = watch(relayed, PushProtocol.RELAY), watch(relayed, PushProtocol.RTMP)
    clock.advance(1)
    relay.clear()
    viewer.clear()
    clock.advance(-clock.seconds() % 0.064 + 0.001)
    for time_ms in (80, 120):
        relayed.add(picture(time_ms))
    clock.advance(0)
    assert relay.value().count(picture(80).body) == relay.value().count(picture(120).body) == 1
    assert not viewer.value()


def test_who_waits_longer_than_it_wants_to_is_told_why(clock: Clock) -> None:
    all_feeds = feeds(clock)
    _, seen = come(all_feeds, wait_s=5.0)
    clock.advance(4.9)
    assert seen == []
    clock.advance(0.2)
    assert [str(reason) for reason in seen] == ["show is not live"]


def test_who_does_not_want_to_wait_is_told_at_once(clock: Clock) -> None:
    with pytest.raises(Refusal, match="show is not live"):
        come(feeds(clock))


def test_who_does_not_want_to_wait_still_waits_for_the_tier_above_to_answer(clock: Clock) -> None:
    supply = Asked()
    _, seen = come(feeds(clock, supply))
    clock.advance(ANSWER_S - 0.1)
    assert seen == []
    supply.feeds[0].unavailable("nobody has it")
    assert [str(reason) for reason in seen] == ["nobody has it"]


def test_an_answer_is_not_waited_for_for_ever(clock: Clock) -> None:
    _, seen = come(feeds(clock, Asked()))
    clock.advance(ANSWER_S)
    assert isinstance(seen[0], Refusal)


def test_one_who_leaves_while_it_waits_is_forgotten(clock: Clock) -> None:
    supply = Asked()
    all_feeds = feeds(clock, supply)
    stay, seen = come(all_feeds, wait_s=5.0)
    stay.leave()
    assert isinstance(seen[0], CancelledError)
    clock.advance(UNKNOWN_S)
    assert len(all_feeds) == 0 and supply.feeds == []
    assert clock.getDelayedCalls() == []


def test_a_name_that_is_asked_for_often_is_asked_for_above_once(clock: Clock) -> None:
    supply = Asked()
    all_feeds = unknowing(clock, supply)
    for _ in range(100):
        stay, seen = come(all_feeds)
        supply.feeds[0].unavailable("nobody has it")
        clock.advance(0)
        assert isinstance(seen[0], Refusal)
        stay.leave()
    assert len(supply.feeds) == 1
    clock.advance(UNKNOWN_S)
    assert supply.feeds == []


def test_the_names_that_are_asked_for_at_once_are_bounded(clock: Clock) -> None:
    all_feeds = feeds(clock, Asked(), known=Heard(live={f"show{number}" for number in range(4)}))
    for number in range(3):
        come(all_feeds, f"show{number}")
    with pytest.raises(Refusal, match="no room"):
        come(all_feeds, "show3")
    come(all_feeds, "show2")


@pytest.mark.parametrize(("stream", "rendition"), [("../show", "source"), ("show", "best"), ("", "source")])
def test_what_cannot_be_a_name_is_not_asked_for(clock: Clock, stream: str, rendition: str) -> None:
    supply = Asked()
    with pytest.raises(Refusal):
        come(feeds(clock, supply), stream, rendition)
    assert supply.feeds == []


def test_a_relayed_feed_lingers_and_is_then_let_go(clock: Clock) -> None:
    supply = Asked()
    all_feeds = feeds(clock, supply)
    stay, _ = come(all_feeds, protocol=PushProtocol.FLV)
    for frame in [*configs(), picture(0, True)]:
        supply.feeds[0].add(frame)
    stay.watch(StringTransport(), FakeConnection())
    stay.leave()
    clock.advance(LIMITS.linger_s - 1)
    again, _ = come(all_feeds, protocol=PushProtocol.FLV)
    clock.advance(LIMITS.linger_s)
    assert len(supply.feeds) == 1
    again.leave()
    clock.advance(LIMITS.linger_s)
    assert supply.feeds == []


def test_a_relayed_feed_stays_as_long_as_anybody_watches(clock: Clock) -> None:
    supply = Asked()
    all_feeds = feeds(clock, supply)
    first, second = (come(all_feeds, protocol=PushProtocol.FLV)[0] for _ in range(2))
    supply.feeds[0].add(sound(0))
    for stay in (first, second):
        stay.watch(StringTransport(), FakeConnection())
    first.leave()
    clock.advance(10 * LIMITS.linger_s)
    assert len(supply.feeds) == 1


def test_a_broadcasts_feed_stays_until_it_ends_and_its_viewers_are_told(clock: Clock) -> None:
    all_feeds = feeds(clock)
    feed = all_feeds.begin("show", "source", TimelineOrigin(1))
    for frame in [*configs(), picture(0, True)]:
        feed.add(frame)
    (stay, _), connection = come(all_feeds, protocol=PushProtocol.FLV), FakeConnection()
    stay.watch(StringTransport(), connection)
    clock.advance(1000)
    assert not connection.is_over
    all_feeds.end(feed)
    assert connection.is_over and feed.phase is FeedPhase.OVER
    assert len(all_feeds) == 0
    stay.leave()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("end", [Feeds.end, Feeds.cut])
@pytest.mark.usefixtures("uncollected")
def test_the_frames_of_a_feed_go_when_its_broadcast_does(clock: Clock, end: Callable[[Feeds, Feed], None]) -> None:
    all_feeds = feeds(clock)
    feed = all_feeds.begin("show", "source", TimelineOrigin(1))
    watch(feed)
    key = picture(0, True)
    for frame in [*configs(), key]:
        feed.add(frame)
    clock.advance(LIMITS.tick_ms / 1000)
    kept = ref(key)
    del key, frame
    assert kept() is not None
    end(all_feeds, feed)
    assert kept() is None


@pytest.mark.usefixtures("uncollected")
def test_the_frames_of_a_feed_that_is_let_go_go_with_it(clock: Clock) -> None:
    supply = Asked()
    stay, _ = come(feeds(clock, supply), protocol=PushProtocol.FLV)
    feed, key = supply.feeds[0], picture(0, True)
    for frame in [*configs(), key]:
        feed.add(frame)
    kept = ref(key)
    del key, frame
    stay.watch(StringTransport(), FakeConnection())
    stay.leave()
    assert kept() is not None
    clock.advance(LIMITS.linger_s)
    assert kept() is None


def test_when_the_process_ends_the_viewers_are_not_told_that_the_broadcast_has(clock: Clock) -> None:
    supply = Asked()
    all_feeds = feeds(clock, supply)
    connection = FakeConnection()
    stay, _ = come(all_feeds, protocol=PushProtocol.FLV)
    supply.feeds[0].add(sound(0))
    stay.watch(StringTransport(), connection)
    all_feeds.stop()
    assert supply.feeds == [] and not connection.is_over


def test_who_waits_for_a_broadcast_gets_it_when_it_begins(clock: Clock) -> None:
    all_feeds = feeds(clock)
    _, seen = come(all_feeds, wait_s=5.0)
    clock.advance(3)
    feed = all_feeds.begin("show", "source", TimelineOrigin(1))
    feed.add(picture(0, True))
    assert seen == ["ready"]


def test_viewers_are_counted_while_they_watch(clock: Clock) -> None:
    all_feeds = feeds(clock)
    all_feeds.begin("show", "source", TimelineOrigin(1)).add(sound(0))
    stay, _ = come(all_feeds, protocol=PushProtocol.FLV)
    stay.watch(StringTransport(), FakeConnection())
    count = lambda: all_feeds.metrics.registry.get_sample_value("livestream_viewers", {"protocol": "flv"})  # noqa: E731
    assert count() == 1
    stay.leave()
    stay.leave()
    assert count() == 0


def flv_tags(data: bytes) -> list[tuple[int, int, bytes]]:
    """The tags of an FLV file: type, time, body."""
    assert data[:3] == b"FLV"
    tags, at = [], 13
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time_ms = data[at + 7] << 24 | int.from_bytes(data[at + 4 : at + 7], "big")
        tags.append((data[at], time_ms, data[at + 11 : at + 11 + size]))
        assert int.from_bytes(data[at + 11 + size : at + 15 + size], "big") == size + 11
        at += size + 15
    return tags


def test_when_a_broadcast_has_gone_to_another_node_its_viewers_are_cut_and_not_told_that_it_is_over(
    clock: Clock,
) -> None:
    all_feeds = feeds(clock)
    feed = all_feeds.begin("show", "source", TimelineOrigin(1))
    waiting = outcome(feed.ready(clock.seconds() + 5))
    viewer = Viewer(StringTransport(), FakeConnection(), Backlog(10**6, 4000))
    feed.fanout(PushProtocol.RELAY).attach(viewer)
    all_feeds.cut(feed)
    assert viewer.transport.disconnected and not viewer.connection.is_over  # type: ignore[attr-defined]
    assert isinstance(waiting[0], Refusal)
    assert len(all_feeds) == 0
    assert all_feeds.begin("show", "source", TimelineOrigin(2)) is not feed
    clock.advance(1)
    assert clock.getDelayedCalls() == []

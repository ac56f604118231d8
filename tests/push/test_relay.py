from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from livestream.metrics import Metrics
from livestream.model.frames import Frame
from livestream.push.feed import Feed, FeedPhase, PushLimits
from livestream.push.framing import CLOCK, type_of
from livestream.push.relay import (
    ANSWER_CHECKS,
    ASK_AFTER_CHECKS,
    ASK_S,
    CHECK_S,
    CONNECT_CHECKS,
    GIVE_UP_S,
    RETRY_S,
    STARVED_CHECKS,
    Holdings,
    Receiver,
    Relay,
    RelayPhase,
    Relays,
)
from tests.logged_failures import LoggedFailures
from tests.push.frames import configs, group, names


@define(eq=False)
class FakeLink:
    receiver: Receiver
    asked: int = 0
    is_closed: bool = False

    def ask(self) -> None:
        self.asked += 1

    def close(self) -> None:
        self.is_closed = True

    def play(self, frames: Sequence[Frame], epoch: float = 7.0) -> None:
        """Begin to play, with the clock ahead."""
        self.receiver.started()
        self.receiver.data(0, CLOCK, [float(frames[-1].dts_ms), 500.0, epoch, 0.0])
        self.send(frames)

    def send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.receiver.heard()
            self.receiver.media(type_of(frame), frame.dts_ms, frame.body)


@define(eq=False)
class FakeUpstream:
    name: str
    links: list[FakeLink] = field(factory=list)

    def play(self, stream: str, rendition: str, receiver: Receiver) -> FakeLink:
        assert (stream, rendition) == ("show", "source")
        self.links.append(FakeLink(receiver))
        return self.links[-1]

    @property
    def link(self) -> FakeLink:
        return self.links[-1]


@define(eq=False)
class Frames(Feed):
    """A feed that remembers what it was given."""

    added: list[Frame] = field(factory=list)
    reasons: list[str] = field(factory=list)

    def add(self, frame: Frame) -> None:
        self.added.append(frame)
        super().add(frame)

    def unavailable(self, reason: str) -> None:
        self.reasons.append(reason)


@define(eq=False)
class Scene:
    clock: Clock = field(factory=Clock)
    metrics: Metrics = field(factory=Metrics)
    first: FakeUpstream = field(factory=lambda: FakeUpstream("first"))
    second: FakeUpstream = field(factory=lambda: FakeUpstream("second"))
    chosen: list[FakeUpstream] = field(init=False)
    ended: list[Feed] = field(factory=list)
    feed: Frames = field(init=False)
    relay: Relay = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.feed = Frames("show", "source", PushLimits(), self.clock, self.metrics)
        self.chosen = [self.first, self.second]
        self.relay = self.make()
        self.relay.start()

    def make(self) -> Relay:
        on_end, starving = self.ended.append, lambda: None
        return Relay(self.feed, lambda _: self.chosen, on_end, starving, self.clock, self.metrics)

    def checks(self, count: int) -> None:
        self.clock.pump([CHECK_S] * count)

    def count(self, phase: RelayPhase) -> float:
        return self.metrics.registry.get_sample_value("livestream_relays", {"state": phase.value}) or 0.0


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.relay.stop()
    assert scene.clock.getDelayedCalls() == []
    assert all(scene.count(phase) == 0 for phase in RelayPhase)


FRAMES = [*configs(0), *group(0, 25)]


def test_what_the_first_upstream_plays_is_fed(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    assert names(scene.feed.added) == names(FRAMES)
    assert scene.feed.added[-1].arrived == 500.0
    assert scene.count(RelayPhase.PLAYING) == 1
    assert scene.second.links == []


def test_when_the_upstream_is_lost_the_next_goes_on_with_nothing_twice(scene: Scene) -> None:
    scene.first.link.play(FRAMES[:31])
    scene.first.link.receiver.lost("connection lost")
    scene.second.link.play(FRAMES)
    assert names(scene.feed.added) == names(FRAMES)
    assert scene.feed.phase is FeedPhase.LIVE


def test_an_upstream_that_does_not_have_it_is_passed_over(scene: Scene) -> None:
    scene.first.link.receiver.lost("show is not live")
    scene.second.link.play(FRAMES)
    assert names(scene.feed.added) == names(FRAMES)
    assert scene.feed.reasons == []


def test_when_nobody_has_it_the_feed_is_told_and_all_are_asked_again(scene: Scene) -> None:
    scene.first.link.receiver.lost("unreachable")
    scene.second.link.receiver.lost("show is not live")
    assert scene.feed.reasons == ["show is not live"]
    assert scene.count(RelayPhase.WAITING) == 1
    scene.clock.advance(RETRY_S)
    assert len(scene.first.links) == 2


def test_one_that_was_lost_is_asked_again_only_after_the_others(scene: Scene) -> None:
    scene.first.link.play(FRAMES[:31])
    scene.first.link.receiver.lost("connection lost")
    scene.second.link.receiver.lost("show is not live")
    assert len(scene.first.links) == 2 and scene.feed.reasons == []
    scene.first.link.receiver.lost("unreachable")
    assert scene.feed.reasons == ["unreachable"]


def test_a_stream_that_plays_stays_where_it_is_when_another_node_is_chosen_for_it(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    third = FakeUpstream("third")
    scene.chosen = [third, scene.second]
    scene.checks(ASK_AFTER_CHECKS - 1)
    scene.first.link.send(FRAMES)
    assert not scene.first.link.is_closed and third.links == []
    scene.first.link.receiver.lost("connection lost")
    assert len(third.links) == 1 and scene.second.links == [] and len(scene.first.links) == 1


def test_where_no_node_is_known_the_choice_is_asked_again_until_there_is_one(scene: Scene) -> None:
    scene.relay.stop()
    scene.chosen = []
    relay = scene.make()
    relay.start()
    assert scene.feed.reasons == ["no upstream is known"]
    scene.clock.advance(RETRY_S)
    scene.chosen = [scene.second]
    scene.clock.advance(RETRY_S)
    scene.second.link.play(FRAMES)
    assert names(scene.feed.added) == names(FRAMES)
    relay.stop()


def test_two_seconds_of_silence_are_enough() -> None:
    assert CHECK_S * (ASK_AFTER_CHECKS + ANSWER_CHECKS) == CHECK_S * CONNECT_CHECKS == 2


def test_one_that_does_not_answer_in_time_is_passed_over(scene: Scene) -> None:
    scene.checks(CONNECT_CHECKS)
    assert scene.first.link.is_closed
    assert len(scene.second.links) == 1


def test_a_silent_upstream_that_answers_is_left_in_peace(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    for _ in range(10):
        scene.checks(ASK_AFTER_CHECKS + ANSWER_CHECKS - 1)
        scene.first.link.receiver.heard()
    assert scene.first.link.asked == 10
    assert not scene.first.link.is_closed
    assert scene.second.links == []


def test_a_silent_upstream_that_does_not_answer_is_given_up(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.checks(ASK_AFTER_CHECKS + ANSWER_CHECKS)
    assert scene.first.link.is_closed
    assert len(scene.second.links) == 1


def test_a_process_that_was_stopped_hears_before_it_judges(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.clock.advance(60)
    assert not scene.first.link.is_closed
    scene.checks(ASK_AFTER_CHECKS)
    scene.clock.advance(60)
    assert not scene.first.link.is_closed


def test_the_end_of_the_broadcast_is_the_end_of_the_feed(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.first.link.receiver.over()
    assert scene.ended == [scene.feed]
    assert scene.relay.phase is RelayPhase.STOPPED
    assert scene.second.links == []


def test_viewers_are_kept_for_a_while_when_nobody_has_the_stream_any_more(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.first.link.receiver.lost("connection lost")
    while not scene.ended:
        for upstream in (scene.first, scene.second):
            if upstream.links and scene.relay._link is upstream.link:
                upstream.link.receiver.lost("show is not live")
        scene.clock.advance(RETRY_S)
        assert scene.clock.seconds() < GIVE_UP_S + 2
    assert scene.clock.seconds() >= GIVE_UP_S


def test_a_stream_that_never_began_is_asked_for_as_long_as_it_is_wanted(scene: Scene) -> None:
    while scene.clock.seconds() < 2 * GIVE_UP_S:
        for upstream in (scene.first, scene.second):
            if upstream.links and scene.relay._link is upstream.link:
                upstream.link.receiver.lost("show is not live")
        scene.clock.advance(RETRY_S)
    assert scene.ended == []


def test_a_relay_that_is_not_wanted_any_more_hangs_up(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.relay.stop()
    assert scene.first.link.is_closed
    scene.clock.advance(60)
    assert scene.second.links == []


def test_metadata_is_passed_on_and_other_data_is_not(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.first.link.receiver.data(0, "onMetaData", [{"width": 1280.0}])
    scene.first.link.receiver.data(0, "onTextData", ["hello"])
    assert b"onMetaData" in scene.feed.metadata and b"width" in scene.feed.metadata


def test_what_cannot_be_parsed_is_left_out(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.first.link.receiver.media(9, 2000, b"")
    scene.first.link.receiver.data(0, CLOCK, ["?", None])
    scene.first.link.receiver.data(0, CLOCK, [float("nan"), 0.0, 0.0, 0.0])
    assert names(scene.feed.added) == names(FRAMES)


def test_a_stream_with_another_writer_is_played_from_the_node_that_is_chosen_first_by_now(scene: Scene) -> None:
    scene.first.link.play(FRAMES)
    scene.relay.reconsider()
    assert not scene.first.link.is_closed
    scene.chosen = [scene.second, scene.first]
    scene.relay.reconsider()
    assert scene.first.links[0].is_closed
    scene.second.link.play(FRAMES, epoch=8.0)
    assert scene.relay.phase is RelayPhase.PLAYING and len(scene.first.links) == 1


@define(eq=False)
class Tier:
    """Several relays of one tier, and the answers to what they ask; all of them play from ``first``."""

    count: int = 1
    clock: Clock = field(factory=Clock)
    first: FakeUpstream = field(factory=lambda: FakeUpstream("first"))
    second: FakeUpstream = field(factory=lambda: FakeUpstream("second"))
    known: int = 7
    asked: list[Deferred[Holdings]] = field(factory=list)
    relays: Relays = field(init=False)
    feeds: list[Feed] = field(init=False)

    def __attrs_post_init__(self) -> None:
        metrics = Metrics()
        choose = lambda _: [self.first, self.second]  # noqa: E731
        self.relays = Relays(choose, self._ask, lambda _: self.known, self.clock, metrics)
        self.feeds = [Feed("show", "source", PushLimits(), self.clock, metrics) for _ in range(self.count)]
        for feed in self.feeds:
            self.relays.start(feed, lambda _: None)
        for link in self.first.links:
            link.play(FRAMES)

    def _ask(self) -> Deferred[Holdings]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def starve(self, seconds: float = 1.0) -> None:
        """Nothing comes, but ``first`` answers when it is asked whether it is there."""
        for _ in range(round(seconds / CHECK_S)):
            self.clock.advance(CHECK_S)
            for link in self.first.links:
                link.receiver.heard()

    def answer(self, **epochs: int) -> None:
        """These nodes have the stream, in these epochs; one with 0 answers that it has not."""
        nodes = {"first": self.first, "second": self.second}
        self.asked[-1].callback({nodes[name]: {"show": epoch} if epoch else {} for name, epoch in epochs.items()})

    @property
    def has_moved(self) -> bool:
        return len(self.second.links) == self.count and all(link.is_closed for link in self.first.links)


@pytest.fixture
def tier() -> Iterator[Tier]:
    tier = Tier()
    yield tier
    for feed in tier.feeds:
        tier.relays.stop(feed)
    assert tier.clock.getDelayedCalls() == []


def test_a_second_without_anything_is_enough_to_ask_who_has_the_stream(tier: Tier) -> None:
    assert CHECK_S * STARVED_CHECKS == 1
    tier.starve(1 - CHECK_S)
    assert tier.asked == []
    tier.starve(CHECK_S)
    assert len(tier.asked) == 1


@pytest.mark.parametrize(
    "epochs",
    [
        {"first": 7, "second": 8},
        {"first": 0, "second": 7},
        {"first": 0, "second": 6},
        {"second": 8},
    ],
    ids=["younger elsewhere", "no longer here", "unknown here", "no answer here"],
)
def test_a_silent_stream_is_played_from_where_it_is_in_a_younger_epoch(tier: Tier, epochs: dict[str, int]) -> None:
    tier.starve()
    tier.answer(**epochs)
    assert tier.has_moved


@pytest.mark.parametrize(
    "epochs",
    [
        {},
        {"first": 7},
        {"first": 7, "second": 7},
        {"first": 8, "second": 7},
        {"first": 0, "second": 0},
        {"second": 7},
        {"second": 0},
    ],
    ids=["no answers", "here alone", "the same", "older elsewhere", "nowhere", "no younger one known", "not elsewhere"],
)
def test_it_stays_where_it_is_if_nobody_knows_better(tier: Tier, epochs: dict[str, int]) -> None:
    tier.starve()
    tier.answer(**epochs)
    assert not tier.first.link.is_closed and tier.second.links == []


def test_a_stream_that_plays_stays_whatever_is_answered(tier: Tier) -> None:
    tier.starve()
    tier.first.link.send(FRAMES)
    tier.answer(first=7, second=8)
    assert not tier.first.link.is_closed and tier.second.links == []


def test_many_silent_streams_ask_together_once_a_second_and_go_on_together() -> None:
    tier, asked_at = Tier(count=160), list[float]()

    def ask() -> Deferred[Holdings]:
        asked_at.append(tier.clock.seconds())
        return succeed({tier.first: {"show": 7}, tier.second: {"show": 8 if len(asked_at) > 4 else 7}})

    tier.relays.ask_holdings = ask
    tier.starve(4 * ASK_S)
    assert asked_at == [1, 2, 3, 4] and tier.second.links == []
    tier.starve(ASK_S)
    assert tier.has_moved


def test_the_node_that_has_the_stream_is_tried_first_whichever_is_chosen(tier: Tier) -> None:
    third = FakeUpstream("third")
    tier.relays.choose = lambda _: [third, tier.first]
    for relay in tier.relays._relays.values():
        relay.choose = tier.relays.choose
    tier.starve()
    tier.answer(first=7, second=8)
    assert tier.has_moved and third.links == []
    tier.second.link.receiver.lost("show is not live")
    assert len(third.links) == 1


def test_nobody_is_asked_again_before_having_answered(tier: Tier) -> None:
    tier.starve(3 * ASK_S)
    assert len(tier.asked) == 1


def test_who_cannot_be_asked_is_asked_again(tier: Tier, logged_failures: LoggedFailures) -> None:
    tier.relays.ask_holdings = lambda: fail(OSError("an error of these tests"))
    tier.starve()
    logged_failures.take(OSError)
    tier.relays.ask_holdings = tier._ask
    tier.starve(ASK_S)
    tier.answer(first=7, second=8)
    assert tier.has_moved


def test_what_is_asked_is_awaited_no_longer_when_nobody_wants_it() -> None:
    tier, cancelled = Tier(), list[object]()
    tier.relays.ask_holdings = lambda: Deferred(cancelled.append)
    tier.starve()
    tier.relays.stop(tier.feeds[0])
    assert len(cancelled) == 1


def test_one_that_waits_for_a_frozen_node_goes_on_where_the_publisher_has_come_meanwhile(tier: Tier) -> None:
    tier.clock.pump([CHECK_S] * (ASK_AFTER_CHECKS + ANSWER_CHECKS - 1))
    tier.answer()
    tier.clock.advance(CHECK_S)
    tier.second.link.receiver.lost("show is not live")
    assert [link.is_closed for link in tier.first.links] == [True, False], "it tries the frozen one again"
    tier.clock.pump([CHECK_S] * STARVED_CHECKS)
    tier.answer(second=8)
    assert tier.first.link.is_closed and len(tier.second.links) == 2
    tier.second.link.play(FRAMES, epoch=8.0)
    [relay] = tier.relays._relays.values()
    assert relay.phase is RelayPhase.PLAYING and not relay.is_starved

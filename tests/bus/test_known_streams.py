"""What a node learns of streams: heard, recalled, or asked for above; with a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from livestream.bus.interface import AnnouncementLog, ClaimReply, Listener, TemporarilyUnavailable, Tier
from livestream.bus.known_streams import (
    ANSWER_VALID_S,
    KEPT_S,
    LOST_TARGETS,
    MAX_FETCHES,
    STARTUP_S,
    TICK_S,
    KnownStreams,
)
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, Epoch, EpochBegan, SegmentAnnounced, Superseded
from tests.logged_failures import LoggedFailures
from tests.packaging.windows import EPOCH, announced, ended


@define(eq=False)
class FakeBus:
    """Says what the test has it say. What is kept is in ``kept``; with ``is_slow`` it is told when the test likes."""

    is_healthy: bool = True
    has_caught_up: bool = True
    is_slow: bool = False
    kept: dict[str, list[Announcement]] = field(factory=dict)
    asked: list[str] = field(factory=list)
    waiting: list[Deferred[Sequence[Announcement]]] = field(factory=list)
    listener: Listener | None = None

    def claim(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        return fail(TemporarilyUnavailable())

    def accept(self, announcement: Announcement) -> Deferred[None]:
        return fail(TemporarilyUnavailable())

    def release(self, stream: str, epoch: int) -> None: ...
    def publish(self, tier: Tier, announcement: Announcement) -> None: ...
    def restore_from(self, tier: Tier, log: AnnouncementLog) -> None: ...
    def discard(self, tier: Tier, stream: str) -> None: ...
    def send(self, channel: str, message: bytes) -> None: ...
    def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None: ...
    def retain(self, channel: str, name: str, message: bytes | None) -> None: ...
    def retained(self, channel: str) -> Deferred[Sequence[bytes]]:
        return succeed(())

    def listen(self, tier: Tier, listener: Listener) -> None:
        self.listener = listener

    def fetch_state(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        self.asked.append(stream)
        if not self.is_slow:
            return succeed(self.kept.get(stream, []))
        self.waiting.append(Deferred())
        return self.waiting[-1]


@define(eq=False)
class Upstream:
    """The tier above; ``None`` is one that does not answer."""

    answer: list[Announcement] | None = None
    asked: list[str] = field(factory=list)
    warned: list[tuple[str, str, int]] = field(factory=list)
    has_cut_off_nodes: bool = False
    starts: int = 0

    def start_over(self) -> None:
        self.starts += 1

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        self.asked.append("*")
        return fail(ConnectionError()) if self.answer is None else succeed(self.answer)

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        self.asked.append(stream)
        if self.answer is None:
            return fail(ConnectionError())
        return succeed([told for told in self.answer if told.stream == stream])

    def warn(self, stream: str, node: str, epoch: int) -> None:
        self.warned.append((stream, node, epoch))


@define(eq=False)
class Scene:
    bus: FakeBus = field(factory=FakeBus)
    above: Upstream = field(factory=Upstream)
    clock: Clock = field(factory=Clock)
    told: list[Announcement | None] = field(factory=list)
    known_streams: KnownStreams = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(EPOCH / 1000 + 36)
        self.known_streams = KnownStreams(self.bus, Tier.INGEST, self.above, 4, self.clock, Metrics())
        self.known_streams.subscribe(lambda _, announcement: self.told.append(announcement))
        self.known_streams.start()

    def hear(self, *announcements: Announcement) -> None:
        for announcement in announcements:
            self.known_streams.announced(announcement)

    @property
    def numbers(self) -> list[int]:
        return [told.segment.msn for told in self.told if isinstance(told, SegmentAnnounced)]

    @property
    def listed(self) -> list[int]:
        window = self.known_streams.window("show")
        return [] if window is None else [segment.msn for segment in window.listed("source")]


def state(*msns: int, is_ended: bool = False) -> list[Announcement]:
    return [*(announced(msn) for msn in msns), *([ended(msns[-1])] if is_ended else [])]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_heard_is_told_in_order_and_once(scene: Scene) -> None:
    scene.hear(announced(10), announced(11), announced(11), announced(12))
    assert scene.numbers == [10, 11, 12]


def test_of_a_stream_that_is_new_here_what_was_before_is_learnt_first() -> None:
    scene = Scene(FakeBus(is_slow=True))
    scene.hear(announced(11), announced(12))
    assert scene.numbers == [] and scene.bus.asked == ["show"]
    scene.bus.waiting[0].callback(state(9, 10, 11))
    assert scene.numbers == [9, 10, 11, 12]


def test_a_bus_that_cannot_tell_what_was_before_does_not_keep_a_stream_back() -> None:
    scene = Scene(FakeBus(is_slow=True))
    scene.hear(announced(11))
    scene.bus.waiting[0].errback(ConnectionError())
    assert scene.numbers == [11]


def test_a_hole_is_filled_from_what_is_kept(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.bus.kept["show"] = state(10, 11, 12)
    scene.hear(announced(12))
    assert sorted(scene.numbers) == scene.listed == [10, 11, 12]


def test_a_hole_is_filled_from_above_when_nothing_is_kept(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.above.answer = state(10, 11, 12)
    scene.hear(announced(12))
    assert scene.listed == [10, 11, 12]


def test_a_hole_is_filled_from_all_nodes_above_together(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.above.answer = [*state(10, 11), *state(10, 12)]
    scene.hear(announced(13))
    assert scene.listed == [10, 11, 12, 13]


def test_the_node_that_announced_a_stream_last_is_known(scene: Scene) -> None:
    assert scene.known_streams.holder("show") == ""
    scene.hear(attrs.evolve(announced(10), node="ingest-1"))
    assert scene.known_streams.holder("show") == "ingest-1"
    scene.hear(attrs.evolve(announced(11, epoch=EPOCH + 1, first=11, discontinuity=1), node="ingest-2"))
    assert scene.known_streams.holder("show") == "ingest-2"


def test_a_stream_that_is_too_quiet_is_asked_about_until_it_is_heard(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.bus.asked.clear()
    scene.clock.pump([1] * 3)
    assert scene.bus.asked == []
    scene.bus.kept["show"] = state(10, 11)
    scene.clock.pump([1] * 2)
    assert scene.numbers == [10, 11]


def test_an_end_that_was_missed_is_learnt(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.bus.kept["show"] = state(10, 11, is_ended=True)
    scene.clock.pump([1] * 5)
    assert scene.told[-1] == ended(11)


def test_without_the_bus_the_tier_above_is_asked_every_second(scene: Scene) -> None:
    scene.bus.is_healthy = False
    for newest in (11, 12, 13):
        scene.above.answer = state(*range(10, newest + 1))
        scene.clock.advance(1)
    assert scene.numbers == [10, 11, 12, 13]
    assert scene.above.asked == ["*"] * 3


def test_a_node_says_when_it_does_not_know_what_is_live(scene: Scene) -> None:
    assert scene.known_streams.not_ready_reasons() == []
    scene.bus.is_healthy = False
    scene.clock.advance(1)
    assert len(scene.known_streams.not_ready_reasons()) == 1
    scene.above.answer = []
    scene.clock.advance(1)
    assert scene.known_streams.not_ready_reasons() == []
    scene.above.answer = None
    scene.clock.advance(ANSWER_VALID_S + 0.1)
    assert len(scene.known_streams.not_ready_reasons()) == 1


def test_a_stream_of_which_nothing_is_heard_is_known_for_a_while_and_then_no_more(scene: Scene) -> None:
    scene.hear(announced(10), ended(10))
    scene.clock.pump([1] * int(KEPT_S))
    assert scene.known_streams.window("show") is not None
    scene.clock.pump([1, 1])
    assert scene.known_streams.window("show") is None
    assert scene.told[-1] is None and scene.told.count(None) == 1


def test_a_subscriber_that_fails_does_not_keep_the_news_from_others(
    scene: Scene, logged_failures: LoggedFailures
) -> None:
    late: list[object] = []

    def fails(stream: str, announcement: Announcement | None) -> None:
        raise RuntimeError("a fault of ours")

    scene.known_streams.subscribe(fails)
    scene.known_streams.subscribe(lambda _, announcement: late.append(announcement))
    scene.hear(announced(10), announced(11))
    assert late == [announced(10), announced(11)]
    assert len(logged_failures.take(RuntimeError)) == 2


def test_nothing_is_left_on_the_clock_when_it_stops(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.clock.advance(1)
    scene.known_streams.stop()
    assert scene.clock.getDelayedCalls() == []


def test_what_is_heard_in_the_wrong_order_waits_for_its_turn(scene: Scene) -> None:
    scene.hear(announced(10), announced(13), announced(12))
    assert scene.listed == [10]
    scene.hear(announced(11))
    assert scene.listed == [10, 11, 12, 13] and sorted(scene.numbers) == [10, 11, 12, 13]


def test_what_nobody_has_is_left_out_after_a_target_duration(scene: Scene) -> None:
    scene.hear(announced(10), announced(12), announced(13))
    scene.clock.pump([0.5] * 6)
    assert scene.listed == [10]
    scene.told.clear()
    scene.clock.pump([0.5] * 2)
    assert scene.listed == [12, 13] and scene.told == [announced(12)]


def test_an_older_epoch_does_not_break_the_silence(scene: Scene) -> None:
    scene.hear(announced(10, epoch=EPOCH + 1, first=10))
    scene.bus.asked.clear()
    for msn in range(10, 14):
        scene.clock.advance(1)
        scene.hear(announced(msn))
    assert scene.bus.asked == ["show"]


def test_a_bus_that_came_back_empty_ends_nothing(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.known_streams.recovered([])
    assert scene.known_streams.window("show") is not None
    assert scene.told == [announced(10)]


def test_what_is_recovered_while_a_stream_is_learnt_comes_with_the_rest() -> None:
    scene = Scene(FakeBus(is_slow=True))
    scene.hear(announced(12))
    scene.known_streams.recovered(state(10, 11))
    assert scene.numbers == []
    scene.bus.waiting[0].callback([])
    assert scene.listed == [10, 11, 12]


def test_a_promise_is_made_once_this_node_has_learnt_what_there_is(scene: Scene) -> None:
    with pytest.raises(TemporarilyUnavailable):
        scene.known_streams.promise("show", EPOCH + 9)
    scene.clock.advance(STARTUP_S)
    scene.hear(announced(10))
    assert scene.known_streams.promise("show", EPOCH + 9).msn == 10
    with pytest.raises(Superseded):
        scene.known_streams.promise("show", EPOCH + 9)
    assert scene.known_streams.promise("other", EPOCH + 9).msn == 0
    scene.bus.is_healthy = False
    with pytest.raises(TemporarilyUnavailable):
        scene.known_streams.promise("third", EPOCH + 9)


def test_who_is_not_heard_because_of_a_promise_is_told_so_until_the_younger_epoch_begins(scene: Scene) -> None:
    scene.clock.advance(STARTUP_S)
    scene.hear(announced(10))
    scene.known_streams.promise("show", EPOCH + 9)
    scene.hear(attrs.evolve(announced(11), node="ingest-1"))
    scene.clock.advance(0.5)
    assert scene.above.warned == [("show", "ingest-1", EPOCH + 9)] and scene.numbers == [10]
    scene.hear(EpochBegan("show", Epoch(EPOCH + 9, 12), "ingest-2"))
    scene.clock.advance(0.5)
    assert len(scene.above.warned) == 1 and scene.listed == [10, 11]


def test_while_a_node_above_is_cut_off_from_the_bus_all_of_them_are_asked_for_what_is_new(scene: Scene) -> None:
    scene.above.answer = state(10, 11)
    scene.clock.pump([0.5] * 4)
    assert scene.above.asked == [] and scene.known_streams.window("show") is None
    scene.above.has_cut_off_nodes = True
    scene.clock.pump([0.5] * 4)
    assert scene.above.asked == ["*"] * 4 and scene.numbers == [10, 11]
    scene.above.has_cut_off_nodes = False
    scene.above.asked.clear()
    scene.clock.pump([0.5] * 4)
    assert "*" not in scene.above.asked


def test_the_epoch_of_a_stream_is_the_youngest_that_was_announced_and_no_promise(scene: Scene) -> None:
    assert scene.known_streams.epoch("show") == 0
    scene.clock.advance(STARTUP_S)
    scene.hear(announced(10))
    scene.known_streams.promise("show", EPOCH + 9)
    assert scene.known_streams.epoch("show") == EPOCH
    scene.hear(EpochBegan("show", Epoch(EPOCH + 9, 12), "ingest-2"))
    assert scene.known_streams.epoch("show") == EPOCH + 9


def test_what_was_answered_above_and_could_not_be_taken_in_is_asked_for_again(
    scene: Scene, logged_failures: LoggedFailures
) -> None:
    scene.bus.is_healthy = False
    scene.above.answer = [*state(10), None]
    scene.clock.advance(1)
    assert scene.above.starts == 1
    logged_failures.take(AttributeError)
    scene.above.answer = state(10, 11)
    scene.clock.advance(1)
    assert scene.numbers == [10, 11] and scene.above.starts == 1


@pytest.mark.parametrize(("is_over", "starts"), [(True, 0), (False, 1)])
def test_a_stream_that_is_silent_and_not_over_is_asked_for_whole_when_it_is_forgotten(
    scene: Scene, is_over: bool, starts: int
) -> None:
    scene.hear(announced(10), *([ended(10)] if is_over else []))
    scene.clock.pump([1] * int(KEPT_S + 2))
    assert scene.known_streams.window("show") is None and scene.above.starts == starts


def test_when_many_streams_stay_silent_one_answer_tells_of_all_and_each_is_asked_for_in_turn(scene: Scene) -> None:
    streams = [f"show{number}" for number in range(50)]
    scene.hear(*(attrs.evolve(announced(10), stream=stream) for stream in streams))
    scene.above.answer = []
    scene.bus.asked.clear()
    scene.above.asked.clear()
    late_s, lost_s = LOST_TARGETS * announced(10).target_s, 5
    scene.clock.pump([TICK_S] * round(late_s / TICK_S))
    assert "*" not in scene.above.asked
    scene.clock.pump([TICK_S] * round(lost_s / TICK_S))
    asked = [stream for stream in scene.above.asked if stream != "*"]
    assert asked == scene.bus.asked and set(asked) == set(streams)
    assert len(asked) <= MAX_FETCHES * (late_s + lost_s) / TICK_S
    assert max(map(asked.count, streams)) - min(map(asked.count, streams)) <= 1
    assert 4 <= scene.above.asked.count("*") <= 2 * lost_s


def test_a_broadcast_is_on_air_before_it_is_known_what_was_before_it() -> None:
    scene = Scene(FakeBus(is_slow=True))
    assert not scene.known_streams.is_on_air("show")
    scene.hear(EpochBegan("show", Epoch(EPOCH, 10)))
    assert scene.known_streams.is_on_air("show")
    scene.bus.waiting[0].callback([])
    assert scene.known_streams.is_on_air("show") and scene.told == [EpochBegan("show", Epoch(EPOCH, 10))]
    scene.hear(announced(10, first=10), ended(10, first=10))
    assert not scene.known_streams.is_on_air("show")


def test_of_a_stream_that_is_over_nothing_is_on_air_before_the_rest_is_known() -> None:
    scene = Scene(FakeBus(is_slow=True))
    scene.hear(ended(10))
    assert not scene.known_streams.is_on_air("show")


def test_a_node_is_informed_while_it_hears_the_bus_and_has_read_all_or_the_tier_above_has_told_it(scene: Scene) -> None:
    assert scene.known_streams.is_informed
    scene.bus.has_caught_up = False
    assert not scene.known_streams.is_informed and scene.known_streams.not_ready_reasons() == []
    scene.bus.is_healthy = False
    scene.clock.advance(TICK_S)
    assert not scene.known_streams.is_informed
    scene.above.answer = []
    scene.clock.pump([TICK_S] * 4)
    assert scene.known_streams.is_informed
    scene.above.answer = None
    scene.clock.pump([TICK_S] * round(ANSWER_VALID_S / TICK_S))
    assert not scene.known_streams.is_informed

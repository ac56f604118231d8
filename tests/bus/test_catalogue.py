"""What a node learns of streams: heard, recalled, or asked for above; with a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from livestream.bus.catalogue import INFORMED_S, KEPT_S, Catalogue
from livestream.bus.memory import Listener, Tier
from livestream.metrics import Metrics
from livestream.model import Announcement, SegmentAnnounced, StreamEnded
from livestream.packaging.window import StreamState, Window
from tests.packaging.windows import EPOCH, announced


@define(eq=False)
class FakeBus:
    """Says what the test has it say. What is kept is in ``kept``; with ``is_slow`` it is told when the test likes."""

    is_healthy: bool = True
    is_slow: bool = False
    kept: dict[str, StreamState] = field(factory=dict)
    asked: list[str] = field(factory=list)
    waiting: list[Deferred[StreamState | None]] = field(factory=list)
    listener: Listener | None = None

    def publish(self, tier: Tier, announcement: Announcement, state: StreamState) -> None: ...
    def forget(self, tier: Tier, stream: str) -> None: ...
    def tell(self, channel: str, message: bytes) -> None: ...
    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None: ...

    def listen(self, tier: Tier, listener: Listener) -> None:
        self.listener = listener

    def recall(self, tier: Tier, stream: str) -> Deferred[StreamState | None]:
        self.asked.append(stream)
        if not self.is_slow:
            return succeed(self.kept.get(stream))
        self.waiting.append(Deferred())
        return self.waiting[-1]


@define(eq=False)
class Above:
    """The tier above; ``None`` is one that does not answer."""

    answer: list[StreamState] | None = None
    asked: list[str] = field(factory=list)
    has_cut_off_nodes: bool = False

    def states(self) -> Deferred[Sequence[StreamState]]:
        self.asked.append("*")
        return fail(ConnectionError()) if self.answer is None else succeed(self.answer)

    def state(self, stream: str) -> Deferred[Sequence[StreamState]]:
        self.asked.append(stream)
        if self.answer is None:
            return fail(ConnectionError())
        return succeed([state for state in self.answer if state.stream == stream])


@define(eq=False)
class Scene:
    bus: FakeBus = field(factory=FakeBus)
    above: Above = field(factory=Above)
    clock: Clock = field(factory=Clock)
    told: list[Announcement | None] = field(factory=list)
    catalogue: Catalogue = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(EPOCH / 1000 + 36)
        self.catalogue = Catalogue(self.bus, Tier.INGEST, self.above, 4, self.clock, Metrics())
        self.catalogue.subscribe(lambda _, announcement: self.told.append(announcement))
        self.catalogue.start()

    def hear(self, *announcements: Announcement) -> None:
        for announcement in announcements:
            self.catalogue.announced(announcement)

    @property
    def numbers(self) -> list[int]:
        return [told.segment.msn for told in self.told if isinstance(told, SegmentAnnounced)]


def state(*msns: int, is_ended: bool = False) -> StreamState:
    window = Window("show", 4)
    for msn in msns:
        window.fill(announced(msn))
    if is_ended:
        window.fill(StreamEnded("show", EPOCH, msns[-1]))
    return window.state()


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
    assert scene.numbers == [10, 11, 12]


def test_a_hole_is_filled_from_above_when_nothing_is_kept(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.above.answer = [state(10, 11, 12)]
    scene.hear(announced(12))
    assert scene.numbers == [10, 11, 12]


def test_a_hole_is_filled_from_all_nodes_above_together(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.above.answer = [state(10, 11), state(10, 11, 12)]
    scene.hear(announced(13))
    assert scene.numbers == [10, 11, 12, 13]


def test_the_node_that_announced_a_stream_last_is_known(scene: Scene) -> None:
    assert scene.catalogue.holder("show") == ""
    scene.hear(attrs.evolve(announced(10), node="ingest-1"))
    assert scene.catalogue.holder("show") == "ingest-1"
    scene.hear(attrs.evolve(announced(11, epoch=EPOCH + 1, discontinuity=1), node="ingest-2"))
    assert scene.catalogue.holder("show") == "ingest-2"


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
    assert scene.told[-1] == StreamEnded("show", EPOCH, 11)


def test_without_the_bus_the_tier_above_is_asked_every_second(scene: Scene) -> None:
    scene.bus.is_healthy = False
    for newest in (11, 12, 13):
        scene.above.answer = [state(*range(10, newest + 1))]
        scene.clock.advance(1)
    assert scene.numbers == [10, 11, 12, 13]
    assert scene.above.asked == ["*"] * 3


def test_a_node_says_when_it_does_not_know_what_is_live(scene: Scene) -> None:
    assert scene.catalogue.uninformed() == []
    scene.bus.is_healthy = False
    scene.clock.advance(1)
    assert len(scene.catalogue.uninformed()) == 1
    scene.above.answer = []
    scene.clock.advance(1)
    assert scene.catalogue.uninformed() == []
    scene.above.answer = None
    scene.clock.advance(INFORMED_S + 0.1)
    assert len(scene.catalogue.uninformed()) == 1


def test_a_stream_of_which_nothing_is_heard_is_known_for_a_while_and_then_no_more(scene: Scene) -> None:
    scene.hear(announced(10), StreamEnded("show", EPOCH, 10))
    scene.clock.pump([1] * int(KEPT_S))
    assert scene.catalogue.window("show") is not None
    scene.clock.pump([1, 1])
    assert scene.catalogue.window("show") is None
    assert scene.told[-1] is None and scene.told.count(None) == 1


def test_what_a_process_left_behind_long_ago_is_no_stream(scene: Scene) -> None:
    scene.catalogue.recovered([state(10, is_ended=True)])
    scene.clock.advance(KEPT_S + 60)
    scene.catalogue.recovered([state(10, 11)])
    assert scene.catalogue.windows() == []


def test_an_end_of_a_stream_that_is_not_known_is_nothing(scene: Scene) -> None:
    scene.hear(StreamEnded("show", EPOCH, 10))
    assert scene.catalogue.windows() == [] and scene.told == []


def test_a_subscriber_that_fails_does_not_keep_the_news_from_others(scene: Scene) -> None:
    late: list[object] = []

    def fails(stream: str, announcement: Announcement | None) -> None:
        raise RuntimeError("a fault of ours")

    scene.catalogue.subscribe(fails)
    scene.catalogue.subscribe(lambda _, announcement: late.append(announcement))
    scene.hear(announced(10), announced(11))
    assert late == [announced(10), announced(11)]


def test_nothing_is_left_on_the_clock_when_it_stops(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.clock.advance(1)
    scene.catalogue.stop()
    assert scene.clock.getDelayedCalls() == []


def test_what_is_heard_in_the_wrong_order_waits_for_its_turn(scene: Scene) -> None:
    scene.hear(announced(10), announced(13), announced(12), announced(11))
    assert scene.numbers == [10, 11, 12, 13]


def test_what_nobody_has_is_a_gap_after_a_target_duration(scene: Scene) -> None:
    scene.hear(announced(10), announced(12))
    scene.clock.pump([0.5] * 6)
    assert scene.numbers == [10]
    scene.clock.pump([0.5] * 2)
    assert scene.numbers == [10, 11, 12]
    assert [told.segment.is_gap for told in scene.told if isinstance(told, SegmentAnnounced)] == [False, True, False]


def test_an_older_life_does_not_break_the_silence(scene: Scene) -> None:
    scene.hear(announced(10, epoch=EPOCH + 1))
    scene.bus.asked.clear()
    for msn in range(10, 14):
        scene.clock.advance(1)
        scene.hear(announced(msn))
    assert scene.bus.asked == ["show"]


def test_a_bus_that_came_back_empty_ends_nothing(scene: Scene) -> None:
    scene.hear(announced(10))
    scene.catalogue.recovered([])
    assert scene.catalogue.window("show") is not None
    assert scene.told == [announced(10)]


def test_while_a_node_above_is_cut_off_from_the_bus_all_of_them_are_asked_for_what_is_new(scene: Scene) -> None:
    scene.above.answer = [state(10, 11)]
    scene.clock.pump([0.5] * 4)
    assert scene.above.asked == [] and scene.catalogue.window("show") is None
    scene.above.has_cut_off_nodes = True
    scene.clock.pump([0.5] * 4)
    assert scene.above.asked == ["*"] * 2 and scene.numbers == [10, 11]
    scene.above.has_cut_off_nodes = False
    scene.above.asked.clear()
    scene.clock.pump([0.5] * 4)
    assert "*" not in scene.above.asked

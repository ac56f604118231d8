"""What a node has announced: told once, in order, and readable by the tier below."""

from __future__ import annotations

import pytest
from attrs import define, evolve, field

from livestream.bus.announcements import decode_state, decode_states
from livestream.bus.ledger import Ledger
from livestream.bus.memory import MemoryBus, Tier
from livestream.model import Announcement, SegmentAnnounced, StreamEnded
from livestream.packaging.window import StreamState, Window
from tests.packaging.windows import EPOCH, RUNG, announced


@define(eq=False)
class Listening:
    heard: list[Announcement] = field(factory=list)
    states: list[StreamState] = field(factory=list)

    def announced(self, announcement: Announcement) -> None:
        self.heard.append(announcement)

    def recovered(self, states: list[StreamState]) -> None:
        self.states += states


@define(eq=False)
class Scene:
    bus: MemoryBus = field(factory=MemoryBus)
    listening: Listening = field(factory=Listening)
    told: list[tuple[str, Announcement | None]] = field(factory=list)
    ledger: Ledger = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ledger = Ledger(self.bus, Tier.INGEST, 4)
        self.ledger.subscribe(lambda stream, announcement: self.told.append((stream, announcement)))
        self.bus.listen(Tier.INGEST, self.listening)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_announced_is_told_on_the_bus_and_here(scene: Scene) -> None:
    for msn in (10, 11, 12):
        scene.ledger.announce(announced(msn))
    assert scene.listening.heard == [announced(msn) for msn in (10, 11, 12)]
    assert scene.told == [("show", announcement) for announcement in scene.listening.heard]


def test_whoever_announces_says_who_it_is_in_the_announcement_and_in_the_state(scene: Scene) -> None:
    ledger = Ledger(scene.bus, Tier.INGEST, 4, "ingest-2")
    ledger.announce(evolve(announced(10), node="ingest-1"))
    assert scene.listening.heard == [evolve(announced(10), node="ingest-2")]
    assert scene.bus.recall(Tier.INGEST, "show").result.node == "ingest-2"
    assert decode_states(ledger.every())[0].node == "ingest-2"


def test_what_is_announced_twice_is_told_once(scene: Scene) -> None:
    scene.ledger.announce(announced(10))
    scene.ledger.announce(announced(10))
    assert len(scene.listening.heard) == len(scene.told) == 1


def test_what_was_left_out_is_announced_as_a_gap_before_what_follows(scene: Scene) -> None:
    scene.ledger.announce(announced(10))
    scene.ledger.announce(announced(12))
    heard = scene.listening.heard
    assert [each.segment.msn for each in heard if isinstance(each, SegmentAnnounced)] == [10, 11, 12]
    assert [each.segment.is_gap for each in heard if isinstance(each, SegmentAnnounced)] == [False, True, False]


def test_the_end_is_told_and_a_forgotten_stream_is_nowhere(scene: Scene) -> None:
    scene.ledger.announce(announced(10))
    scene.ledger.announce(StreamEnded("show", EPOCH, 10))
    assert scene.told[-1] == ("show", StreamEnded("show", EPOCH, 10))
    scene.ledger.forget("show")
    scene.ledger.forget("show")
    assert scene.told[2:] == [("show", None)]
    assert scene.ledger.window("show") is None and scene.ledger.one("show") is None
    assert scene.bus.recall(Tier.INGEST, "show").result is None


def test_a_stream_that_another_node_announces_now_is_not_forgotten_on_the_bus_when_it_is_here(scene: Scene) -> None:
    other = Ledger(scene.bus, Tier.INGEST, 4, "ingest-2")
    scene.ledger.announce(announced(10))
    other.announce(announced(11, epoch=EPOCH + 1))
    scene.ledger.release("show")
    scene.ledger.release("never-heard-of")
    assert scene.ledger.window("show") is not None
    scene.ledger.forget("show")
    assert scene.ledger.window("show") is None
    assert scene.bus.recall(Tier.INGEST, "show").result.node == "ingest-2"


def test_a_stream_that_comes_back_from_another_node_has_no_gaps_for_what_was_announced_there(scene: Scene) -> None:
    scene.ledger.announce(announced(10))
    scene.ledger.release("show")
    scene.ledger.announce(announced(13, epoch=EPOCH + 2))
    state = scene.bus.recall(Tier.INGEST, "show").result
    assert [segment.msn for segment in state.renditions[0].segments] == [13]
    scene.ledger.forget("show")
    assert scene.bus.recall(Tier.INGEST, "show").result is None


def test_an_object_is_known_by_its_own_rendition_and_name_only(scene: Scene) -> None:
    scene.ledger.announce(announced(10))
    media = announced(10).segment.media
    assert media is not None
    assert scene.ledger.object_info("show", "source", media.name) == media
    for stream, rendition, name in [
        ("other", "source", media.name),
        ("show", "720p", media.name),
        ("show", "source", "x"),
    ]:
        assert scene.ledger.object_info(stream, rendition, name) is None


def test_the_tier_below_reads_the_same_window(scene: Scene) -> None:
    for msn in range(10, 14):
        scene.ledger.announce(announced(msn))
        scene.ledger.announce(announced(msn, RUNG))
    window = scene.ledger.window("show")
    assert window is not None
    assert decode_states(scene.ledger.every()) == [window.state()]
    assert decode_state(scene.ledger.one("show") or b"") == window.state()


def test_the_tier_below_does_not_list_what_came_before_a_list_began_anew(scene: Scene) -> None:
    scene.ledger.announce(announced(10))
    scene.ledger.announce(StreamEnded("show", EPOCH, 10))
    for msn in (11, 12):
        scene.ledger.announce(announced(msn, epoch=EPOCH + 1, discontinuity=1))
    below = Window("show", 4)
    below.merge(decode_state(scene.ledger.one("show") or b""))
    window = scene.ledger.window("show")
    assert window is not None
    assert [segment.msn for segment in below.listed("source")] == [segment.msn for segment in window.listed("source")]
    assert [segment.msn for segment in window.listed("source")] == [11, 12]


def test_a_latecomer_is_told_what_is_kept(scene: Scene) -> None:
    scene.ledger.announce(announced(10))
    late = Listening()
    scene.bus.listen(Tier.INGEST, late)
    window = scene.ledger.window("show")
    assert window is not None and late.states == [window.state()]

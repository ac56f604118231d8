"""What a node has announced: told once, and readable by the tier below."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, evolve, field

from livestream.bus.announcements import decode_document
from livestream.bus.interface import Tier
from livestream.bus.memory import MemoryBus
from livestream.bus.published import PublishedStreams
from livestream.model.segments import Announcement
from livestream.packaging.window import Window
from tests.packaging.windows import EPOCH, RUNG, announced, ended

NODE = "origin-1"


@define(eq=False)
class Listening:
    heard: list[Announcement] = field(factory=list)
    recalled: list[Announcement] = field(factory=list)

    def announced(self, announcement: Announcement) -> None:
        self.heard.append(announcement)

    def recovered(self, announcements: Sequence[Announcement]) -> None:
        self.recalled += announcements


@define(eq=False)
class Scene:
    bus: MemoryBus = field(factory=lambda: MemoryBus(NODE))
    listening: Listening = field(factory=Listening)
    told: list[tuple[str, Announcement | None]] = field(factory=list)
    published: PublishedStreams = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.published = PublishedStreams(self.bus, Tier.ORIGIN, 4, NODE)
        self.published.subscribe(lambda stream, announcement: self.told.append((stream, announcement)))
        self.bus.listen(Tier.ORIGIN, self.listening)


def ours(announcement: Announcement) -> Announcement:
    return evolve(announcement, node=NODE)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_announced_is_told_on_the_bus_and_here_as_this_nodes(scene: Scene) -> None:
    for msn in (10, 11, 12):
        scene.published.announce(evolve(announced(msn), node="ingest-1"))
    assert scene.listening.heard == [ours(announced(msn)) for msn in (10, 11, 12)]
    assert scene.told == [("show", announcement) for announcement in scene.listening.heard]


def test_what_is_only_shown_is_not_told_on_the_bus(scene: Scene) -> None:
    scene.published.record(announced(10))
    assert scene.listening.heard == [] and scene.told == [("show", ours(announced(10)))]


def test_what_is_announced_twice_is_told_once(scene: Scene) -> None:
    scene.published.announce(announced(10))
    scene.published.announce(announced(10))
    assert len(scene.listening.heard) == len(scene.told) == 1


def test_a_hole_is_left_as_it_is(scene: Scene) -> None:
    scene.published.announce(announced(10))
    scene.published.announce(announced(12))
    assert scene.listening.heard == [ours(announced(10)), ours(announced(12))]


def test_the_end_is_told_and_a_forgotten_stream_is_nowhere(scene: Scene) -> None:
    scene.published.announce(announced(10))
    scene.published.announce(ended(10))
    assert scene.told[-1] == ("show", ours(ended(10)))
    scene.published.remove("show")
    scene.published.remove("show")
    assert scene.told[2:] == [("show", None)]
    assert scene.published.window("show") is None and scene.published.one("show") is None
    assert scene.bus.fetch_state(Tier.ORIGIN, "show").result == []


def test_an_object_is_known_by_its_own_rendition_and_name_only(scene: Scene) -> None:
    scene.published.announce(announced(10))
    media = announced(10).segment.media
    assert media is not None
    assert scene.published.object_info("show", "source", media.name) == media
    for stream, rendition, name in [
        ("other", "source", media.name),
        ("show", "720p", media.name),
        ("show", "source", "x"),
    ]:
        assert scene.published.object_info(stream, rendition, name) is None


def test_the_tier_below_reads_the_same_window(scene: Scene) -> None:
    for msn in range(10, 14):
        scene.published.announce(announced(msn))
        scene.published.announce(announced(msn, RUNG))
    scene.published.announce(announced(14, epoch=EPOCH + 1, first=14, restarts=True, discontinuity=1))
    window, below = scene.published.window("show"), Window("show", 4)
    assert window is not None
    below.apply(decode_document(scene.published.one("show") or b""))
    assert below.announcements() == window.announcements() == decode_document(scene.published.every())
    assert [segment.msn for segment in below.listed("source")] == [14]


def test_a_latecomer_is_told_what_is_kept(scene: Scene) -> None:
    scene.published.announce(announced(10))
    late = Listening()
    scene.bus.listen(Tier.ORIGIN, late)
    assert late.recalled == [ours(announced(10))]


def test_how_far_a_stream_has_come_is_known(scene: Scene) -> None:
    assert scene.published.position("show").msn == 0
    scene.published.record(announced(10))
    assert scene.published.position("show").msn == 10

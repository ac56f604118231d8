"""What a writer offers to a bus that is slow, or away."""

from __future__ import annotations

import weakref
from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livestream.bus.interface import TemporarilyUnavailable
from livestream.ingest.pending_announcements import COMMIT_S, RETRY_S, SUBMIT_S, PendingAnnouncements
from livestream.model.segments import Announcement, Superseded
from tests.packaging.windows import announced


@define(eq=False)
class Bus:
    """Answers when the test says so."""

    asked: list[tuple[Announcement, Deferred[None]]] = field(factory=list)

    def accept(self, announcement: Announcement) -> Deferred[None]:
        self.asked.append((announcement, Deferred()))
        return self.asked[-1][1]

    def answer(self, error: Exception | None = None) -> None:
        asked, self.asked = self.asked, []
        for _, answer in asked:
            answer.callback(None) if error is None else answer.errback(error)


@define(eq=False)
class Scene:
    """``shown`` is what who asks the node is told."""

    clock: Clock = field(factory=Clock)
    bus: Bus = field(factory=Bus)
    shown: list[Announcement] = field(factory=list)
    taken_back: list[int] = field(factory=list)
    offers: PendingAnnouncements = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.offers = PendingAnnouncements(self.bus.accept, self.shown.append, self.clock)

    def add(self, *numbers: int) -> None:
        for number in numbers:
            self.offers.add(announced(number), self.taken_back.append)


def test_a_bus_that_is_away_is_tried_with_the_oldest_and_given_all_when_it_answers() -> None:
    scene = Scene()
    scene.add(1, 2, 3, 4)
    scene.bus.answer(TemporarilyUnavailable())
    for _ in range(8):
        scene.clock.advance(RETRY_S)
        assert [told for told, _ in scene.bus.asked] == [announced(1)]
        scene.bus.answer(TemporarilyUnavailable())
    assert scene.shown == [announced(number) for number in (1, 2, 3, 4)]
    scene.clock.advance(RETRY_S)
    scene.bus.answer()
    assert [told for told, _ in scene.bus.asked] == [announced(number) for number in (2, 3, 4)]
    scene.bus.answer()
    scene.clock.advance(SUBMIT_S)
    assert scene.bus.asked == [] and scene.clock.getDelayedCalls() == []


def test_a_bus_that_knows_a_younger_epoch_is_asked_about_what_was_shown_no_more_often_than_that() -> None:
    scene = Scene()
    scene.add(1, 2)
    scene.clock.advance(COMMIT_S)
    scene.bus.answer(TemporarilyUnavailable())
    scene.clock.advance(RETRY_S)
    for _ in range(4):
        scene.bus.answer(Superseded(9))
        scene.bus.answer(Superseded(9))
        assert scene.bus.asked == []
        scene.clock.advance(RETRY_S)
        assert [told for told, _ in scene.bus.asked] == [announced(1)]
    assert scene.taken_back == []


def test_what_is_offered_for_too_long_is_offered_no_more() -> None:
    scene = Scene()
    scene.add(1, 2)
    for _ in range(int(SUBMIT_S / RETRY_S) + 1):
        scene.bus.answer(TemporarilyUnavailable())
        scene.clock.advance(RETRY_S)
    assert scene.bus.asked == [] and scene.clock.getDelayedCalls() == []


def test_the_bytes_of_what_was_shown_are_not_kept_for_a_bus_that_is_away() -> None:
    scene, segment = Scene(), Bus()
    is_kept = weakref.ref(segment)
    scene.offers.add(announced(1), partial(lambda segment, epoch: None, segment))
    del segment
    assert is_kept() is not None
    scene.clock.advance(COMMIT_S)
    assert is_kept() is None

"""What a node knows of a stream, however and in whatever order it hears of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.model import SegmentAnnounced, StreamEnded
from livestream.packaging.window import Change, Window

from .windows import EPOCH, RUNG, SOURCE, announced


def _window(*announcements: SegmentAnnounced | StreamEnded) -> Window:
    window = Window("show", 6)
    for announcement in announcements:
        assert window.apply(announcement) is Change.NEWS
    return window


def _steady(first: int, last: int) -> list[SegmentAnnounced | StreamEnded]:
    return [announced(msn, info) for msn in range(first, last + 1) for info in (SOURCE, RUNG)]


def _listed(window: Window, rendition: str = "source") -> list[int]:
    return [segment.msn for segment in window.listed(rendition)]


def test_the_newest_six_are_listed_and_seven_more_can_be_fetched() -> None:
    window = _window(*_steady(1, 20))
    assert _listed(window) == [15, 16, 17, 18, 19, 20]
    assert window.object_info("source", f"{EPOCH}-8.m4s") is not None
    assert window.object_info("source", f"{EPOCH}-7.m4s") is None


def test_renditions_are_listed_from_the_most_demanding_once_they_have_media() -> None:
    window = _window(announced(1, RUNG), announced(1, SOURCE))
    assert [info.name for info in window.renditions()] == ["source", "720p"]
    assert _window(announced(1, RUNG, is_gap=True)).renditions() == []


def test_an_announcement_heard_again_changes_nothing() -> None:
    window = _window(*_steady(1, 3))
    before = window.state()
    assert window.apply(announced(2)) is Change.KNOWN
    assert window.state() == before


def test_a_number_that_was_skipped_is_a_hole_and_is_not_listed_past() -> None:
    window = _window(*_steady(1, 3))
    assert window.apply(announced(5)) is Change.HOLE
    assert _listed(window) == [1, 2, 3]


def test_a_state_fills_a_hole_and_tells_what_was_new() -> None:
    behind, ahead = _window(*_steady(1, 3)), _window(*_steady(1, 6))
    news = behind.merge(ahead.state())
    assert {item.segment.msn for item in news if isinstance(item, SegmentAnnounced)} == {4, 5, 6}
    assert behind.state() == ahead.state()
    assert behind.merge(ahead.state()) == []


def test_what_nobody_has_any_more_becomes_a_gap_in_its_time() -> None:
    behind, ahead = _window(announced(1), announced(2)), _window(*(announced(msn) for msn in range(5, 8)))
    behind.merge(ahead.state())
    assert [(s.msn, s.is_gap, s.starts_at_ms - EPOCH) for s in behind.listed("source")][:4] == [
        (2, False, 6000),
        (3, True, 9000),
        (4, True, 12000),
        (5, False, 15000),
    ]


def test_an_older_life_of_the_broadcast_is_not_heard() -> None:
    window = _window(announced(9, epoch=EPOCH + 1))
    assert window.apply(announced(10)) is Change.STALE
    assert window.merge(_window(announced(10)).state()) == []


def test_a_new_life_goes_on_after_the_old_one_with_a_discontinuity() -> None:
    window = _window(announced(1, discontinuity=4), announced(2, discontinuity=4))
    window.apply(announced(3, epoch=EPOCH + 5000, discontinuity=0))
    assert [(s.msn, s.discontinuity) for s in window.listed("source")] == [(1, 4), (2, 4), (3, 5)]


def test_the_end_is_believed_once_the_last_segment_is_here() -> None:
    window = _window(announced(1), announced(2))
    assert window.apply(StreamEnded("show", EPOCH, 3)) is Change.HOLE
    assert not window.is_ended
    window.apply(announced(3))
    assert window.apply(StreamEnded("show", EPOCH, 3)) is Change.NEWS
    assert window.is_ended
    assert window.apply(StreamEnded("show", EPOCH, 3)) is Change.KNOWN


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 12), max_size=30), st.sampled_from([3, 6]))
def test_whatever_was_lost_a_state_makes_two_nodes_agree(heard: list[int], length: int) -> None:
    whole, lossy = Window("show", length), Window("show", length)
    for msn in range(1, 13):
        whole.apply(announced(msn))
    for msn in heard:
        lossy.apply(announced(msn))
    lossy.merge(whole.state())
    assert _listed(lossy) == _listed(whole)[-len(_listed(lossy)) :]
    assert lossy.last_msn == 12

"""What a node knows of a stream, however and in whatever order it hears of it."""

from __future__ import annotations

import attrs
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


def test_the_node_that_has_a_stream_is_the_one_that_announced_its_newest_life() -> None:
    window = _window(attrs.evolve(announced(1), node="a"))
    assert window.state().node == "a"
    window.apply(attrs.evolve(announced(2, epoch=EPOCH + 1, discontinuity=1), node="b"))
    assert window.apply(attrs.evolve(announced(3), node="a")) is Change.STALE
    told = window.told(announced(2, epoch=EPOCH + 1))
    assert window.state().node == "b" and isinstance(told, SegmentAnnounced) and told.node == "b"
    other = _window(attrs.evolve(announced(1), node="a"))
    other.merge(window.state())
    assert other.state() == window.state()


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


def test_a_new_life_with_lower_numbers_goes_on_above_the_old_one_and_tells_the_higher_ones() -> None:
    window = _window(*_steady(10, 12))
    again = announced(3, epoch=EPOCH + 5000)
    assert window.apply(again) is Change.NEWS
    told = window.told(again)
    assert isinstance(told, SegmentAnnounced) and told.segment.msn == 13
    assert window.apply(StreamEnded("show", EPOCH + 5000, 3)) is Change.HOLE  # the other rendition is not there yet
    assert window.apply(announced(3, RUNG, epoch=EPOCH + 5000)) is Change.NEWS
    assert _listed(window) == _listed(window, "720p") == [10, 11, 12, 13]


def test_a_new_life_whose_clock_was_put_back_does_not_step_back_in_time() -> None:
    window = _window(announced(1), announced(2), announced(3, is_gap=True))
    early = attrs.evolve(announced(4, epoch=EPOCH + 5000).segment, starts_at_ms=EPOCH + 3000)
    window.apply(attrs.evolve(announced(4, epoch=EPOCH + 5000), segment=early))
    window.apply(announced(5, epoch=EPOCH + 5000))
    assert [segment.starts_at_ms - EPOCH for segment in window.listed("source")] == [3000, 6000, 9000, 12000, 15000]


def test_a_number_has_one_place_in_all_renditions_whoever_brings_it_first() -> None:
    window = _window(announced(1), announced(1, RUNG), announced(2))
    other = attrs.evolve(announced(2, RUNG).segment, discontinuity=7, starts_at_ms=0, duration_ms=1)
    window.apply(attrs.evolve(announced(2, RUNG), segment=other))
    first, second = window.listed("source")[-1], window.listed("720p")[-1]
    assert attrs.evolve(second, media=first.media) == first


def test_dates_go_on_evenly_where_more_time_is_missing_than_gaps_may_last() -> None:
    window = _window(announced(1))
    late = attrs.evolve(announced(3).segment, starts_at_ms=EPOCH + 60_000)
    window.fill(attrs.evolve(announced(3), segment=late))
    assert [(s.msn, s.starts_at_ms - EPOCH, s.duration_ms) for s in window.listed("source")] == [
        (1, 3000, 3000),
        (2, 6000, 3000),
        (3, 9000, 3000),
    ]


def test_a_rendition_that_falls_a_whole_list_behind_is_not_offered_and_begins_anew_when_it_returns() -> None:
    window = _window(*_steady(1, 3), *(announced(msn) for msn in range(4, 10)))
    assert [info.name for info in window.renditions()] == ["source", "720p"]
    window.apply(announced(10))
    assert [info.name for info in window.renditions()] == ["source"]
    assert window.listed("720p") == []
    assert window.apply(announced(11, RUNG)) is Change.HOLE
    assert [news.segment.msn for news in window.fill(announced(11, RUNG)) if isinstance(news, SegmentAnnounced)] == [11]
    assert _listed(window, "720p") == [11]


def test_a_jump_of_many_discontinuities_begins_the_list_anew() -> None:
    window = _window(announced(1), announced(2), announced(3, discontinuity=16))
    assert _listed(window) == [1, 2, 3]
    window.apply(announced(4, discontinuity=33))
    assert _listed(window) == [4]


def test_nothing_is_added_after_the_end_but_a_new_broadcast_begins_a_list_of_its_own() -> None:
    window = _window(announced(1), announced(2), StreamEnded("show", EPOCH, 2))
    assert window.apply(announced(3)) is Change.KNOWN
    assert window.fill(announced(3)) == []
    assert window.apply(announced(3, epoch=EPOCH + 5000)) is Change.NEWS
    assert (_listed(window), window.is_ended) == ([3], False)
    assert window.object_info("source", f"{EPOCH}-2.m4s") is not None


def test_a_new_life_that_needs_a_longer_target_duration_begins_a_list_of_its_own() -> None:
    window = _window(announced(1), announced(2))
    window.apply(attrs.evolve(announced(3, epoch=EPOCH + 5000), target_s=2))
    assert (_listed(window), window.target_s) == ([1, 2, 3], 3)
    window.apply(attrs.evolve(announced(4, epoch=EPOCH + 9000), target_s=4))
    assert (_listed(window), window.target_s) == ([4], 4)


def test_a_segment_of_the_old_life_is_heard_where_the_new_one_has_not_overtaken_it() -> None:
    window = _window(*_steady(1, 2), announced(3), announced(4, epoch=EPOCH + 5000))
    assert window.apply(announced(3, RUNG)) is Change.NEWS
    assert window.apply(announced(4, RUNG)) is Change.STALE
    assert window.apply(announced(4, RUNG, epoch=EPOCH + 5000)) is Change.NEWS


def test_the_end_of_a_life_that_was_never_heard_is_a_hole_and_ends_it_for_good_when_it_must() -> None:
    window = _window(announced(1))
    ended = StreamEnded("show", EPOCH + 5000, 7)
    assert window.apply(ended) is Change.HOLE
    assert not window.is_ended
    assert window.fill(ended) == [StreamEnded("show", EPOCH + 5000, 1)]
    assert window.is_ended

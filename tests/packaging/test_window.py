"""What a node knows of a stream: a function of what it heard, and not of the order in which that came."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.model.segments import Announcement, Epoch, EpochBegan, SegmentAnnounced, Superseded
from livestream.packaging.window import MAX_PENDING, Window
from tests.packaging.windows import EPOCH, RUNG, SOURCE, announced, ended

LATER = EPOCH + 5000


def _window(*announcements: Announcement, length: int = 6) -> Window:
    window = Window("show", length)
    for announcement in announcements:
        window.apply([announcement])
    return window


def _steady(first: int, last: int) -> list[Announcement]:
    return [announced(msn, info) for msn in range(first, last + 1) for info in (SOURCE, RUNG)]


def _listed(window: Window, rendition: str = "source") -> list[int]:
    return [segment.msn for segment in window.listed(rendition)]


def _named(window: Window, rendition: str = "source") -> dict[int, tuple[object, ...]]:
    return {each.msn: (each.media, each.starts_at_ms, each.discontinuity) for each in window.listed(rendition)}


def test_the_newest_six_are_listed_and_eight_more_can_be_fetched() -> None:
    window = _window(*_steady(1, 20))
    assert _listed(window) == [15, 16, 17, 18, 19, 20]
    assert window.object_info("source", f"{EPOCH}-7.m4s") is not None
    assert window.object_info("source", f"{EPOCH}-6.m4s") is None


def test_a_broadcast_is_on_air_from_its_beginning_to_its_end_whether_anything_is_listed_or_not() -> None:
    window = _window()
    window.promise(EPOCH)
    assert not window.is_on_air
    window.apply([EpochBegan("show", Epoch(EPOCH, 1))])
    assert window.is_on_air and not window.is_live and not window.has_rendition("source")
    window.apply([announced(1)])
    assert window.is_on_air and window.has_rendition("source") and not window.has_rendition("720p")
    window.apply([ended(1)])
    assert not window.is_on_air
    window.apply([EpochBegan("show", Epoch(LATER, 2))])
    assert window.is_on_air


def test_who_comes_when_a_younger_epoch_has_begun_knows_the_target_duration_of_what_is_listed() -> None:
    window = _window(*_steady(1, 6), EpochBegan("show", Epoch(LATER, 7)))
    late = _window(*window.announcements())
    assert late.target_s == window.target_s == 3
    assert _named(late) == _named(window)


def test_renditions_are_listed_from_the_most_demanding_once_they_have_media() -> None:
    window = _window(announced(1, RUNG), announced(1, SOURCE))
    assert [info.name for info in window.renditions()] == ["source", "720p"]
    assert _window(announced(1, RUNG, is_gap=True)).renditions() == []


def test_an_announcement_heard_again_is_no_news() -> None:
    window = _window(*_steady(1, 3))
    before = window.announcements()
    assert window.apply([announced(2)]) == []
    assert window.announcements() == before


def test_what_follows_a_hole_is_news_and_is_listed_when_the_hole_is_filled() -> None:
    window = _window(announced(1))
    assert window.apply([announced(3)]) == [announced(3)]
    assert _listed(window) == [1] and window.is_incomplete
    window.apply([announced(2)])
    assert _listed(window) == [1, 2, 3] and not window.is_incomplete


def test_a_list_begins_with_its_epochs_first_however_late_that_comes() -> None:
    window = Window("show", 6)
    window.apply([announced(6, first=5), announced(7, first=5)])
    assert _listed(window) == [] and window.is_incomplete
    window.apply([announced(5, first=5)])
    assert _listed(window) == [5, 6, 7] and not window.is_incomplete


def test_a_list_begins_behind_its_epochs_first_when_nobody_has_that_or_it_is_long_past() -> None:
    window = Window("show", 6)
    window.apply([announced(6, first=5), announced(7, first=5)])
    assert window.skip_holes() == [announced(6, first=5)]
    window.apply([announced(5, first=5), announced(8, first=5)])
    assert _listed(window) == [6, 7, 8]
    late = Window("show", 3)
    late.apply([announced(12, first=5), announced(13, first=5)])
    assert _listed(late) == [12, 13]


def test_a_list_begins_anew_behind_what_nobody_has() -> None:
    window = _window(announced(1), announced(3), announced(4))
    assert window.skip_holes() == [announced(3)]
    assert _listed(window) == [3, 4]
    window.apply([announced(2)])
    assert _listed(window) == [3, 4]


def test_a_node_that_comes_late_begins_with_the_newest_and_not_with_a_log_of_long_ago() -> None:
    window = Window("show", 6)
    window.apply([*_steady(100, 112), *_steady(900, 905)])
    assert _listed(window) == [900, 901, 902, 903, 904, 905]


def test_a_younger_epoch_owns_its_numbers_and_an_older_one_those_below() -> None:
    young = [announced(msn, epoch=LATER, first=4, discontinuity=1) for msn in (4, 5)]
    window = _window(announced(1), announced(2), *young)
    assert window.apply([announced(4), announced(5)]) == []
    assert window.apply([announced(3)]) == [announced(3)]
    assert [each[0].name for each in _named(window).values()] == [  # type: ignore[attr-defined]
        f"{EPOCH}-1.m4s", f"{EPOCH}-2.m4s", f"{EPOCH}-3.m4s", f"{LATER}-4.m4s", f"{LATER}-5.m4s",
    ]  # fmt: skip


def test_a_younger_epoch_that_restarts_the_list_is_listed_alone_once_it_has_something() -> None:
    window = _window(*_steady(1, 3), EpochBegan("show", Epoch(LATER, 50, True)))
    assert _listed(window) == [1, 2, 3]
    window.apply([announced(50, epoch=LATER, first=50, restarts=True)])
    assert _listed(window) == [50] and _listed(window, "720p") == [1, 2, 3]
    window.apply([announced(50, RUNG, epoch=LATER, first=50, restarts=True)])
    assert _listed(window, "720p") == [50]


def test_a_promise_refuses_higher_numbers_of_older_epochs_until_the_younger_begins() -> None:
    window = _window(announced(1), announced(2))
    assert window.promise(LATER).msn == 2
    assert window.apply([announced(3)]) == [] and window.apply([announced(2, RUNG)]) == [announced(2, RUNG)]
    assert window.refused_writers == [("", LATER)]
    assert window.position().msn == 3
    began = EpochBegan("show", Epoch(LATER, 4))
    assert window.apply([began]) == [announced(3), began]
    assert _listed(window) == [1, 2, 3] and window.refused_writers == []


def test_what_was_refused_stays_out_where_the_younger_epoch_has_its_number() -> None:
    window = _window(announced(1), announced(2))
    window.promise(LATER)
    window.apply([announced(3), announced(3, epoch=LATER, first=3)])
    assert [each[0].name for each in _named(window).values()][-1] == f"{LATER}-3.m4s"  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", [EPOCH, LATER - 1, LATER])
def test_no_promise_is_made_to_an_epoch_that_is_not_younger_than_all(asked: int) -> None:
    window = _window(announced(1))
    window.promise(LATER)
    with pytest.raises(Superseded) as refused:
        window.promise(asked)
    assert refused.value.epoch == LATER


def test_how_far_a_stream_has_come_counts_what_was_begun_refused_and_ended() -> None:
    window = _window(announced(4, discontinuity=2))
    position = window.position()
    assert (position.msn, position.discontinuity, position.ends_at_ms) == (4, 2, EPOCH + 15_000)
    assert (position.target_s, position.is_ended, position.epoch) == (3, False, EPOCH)
    window.apply([EpochBegan("show", Epoch(LATER, 9))])
    assert (window.position().msn, window.position().epoch) == (8, LATER)
    window.apply([ended(11, LATER, 9)])
    assert (window.position().msn, window.position().is_ended) == (11, True)


def test_media_is_preferred_to_a_gap() -> None:
    gap, media = announced(2, is_gap=True), announced(2)
    for order in ([gap, media], [media, gap]):
        window = _window(announced(1), *order)
        assert not any(segment.is_gap for segment in window.listed("source"))


def test_the_node_that_has_a_stream_is_the_one_that_announced_its_youngest_epoch() -> None:
    window = _window(attrs.evolve(announced(1), node="a"))
    window.apply([EpochBegan("show", Epoch(LATER, 2), "b")])
    window.apply([attrs.evolve(announced(1, RUNG), node="a")])
    assert window.node == "b"


def test_a_list_is_over_when_its_last_segment_is_here_or_will_not_come() -> None:
    window = _window(announced(1), announced(1, RUNG), announced(2, RUNG))
    window.apply([ended(2)])
    assert window.is_ended and window.is_incomplete
    assert not window.is_complete("source") and window.is_complete("720p")
    assert window.skip_holes() == [ended(2)]
    assert window.is_complete("source") and not window.is_incomplete


def test_an_end_of_an_older_epoch_ends_nothing() -> None:
    window = _window(announced(1), announced(2, epoch=LATER, first=2))
    assert window.apply([ended(1)]) == [] and not window.is_ended


def test_the_beginning_of_an_epoch_that_has_no_number_any_more_is_no_news() -> None:
    turns = [EpochBegan("show", Epoch(EPOCH, 0)), EpochBegan("show", Epoch(LATER, 10))]
    window = _window(*turns, *(announced(msn, epoch=LATER, first=10) for msn in range(10, 40)))
    before = window.announcements()
    for told in (turns[0], attrs.evolve(turns[0], epoch=Epoch(EPOCH, 0, restarts_list=True))):
        assert window.apply([told]) == []
    assert window.announcements() == before


def test_a_rendition_that_falls_a_whole_list_behind_is_not_offered() -> None:
    window = _window(*_steady(1, 3), *(announced(msn) for msn in range(4, 10)))
    assert [info.name for info in window.renditions()] == ["source", "720p"]
    window.apply([announced(10)])
    assert [info.name for info in window.renditions()] == ["source"]
    assert window.listed("720p") == []


def test_a_jump_of_many_discontinuities_begins_the_list_anew() -> None:
    window = _window(announced(1), announced(2), announced(3, discontinuity=16))
    assert _listed(window) == [1, 2, 3]
    window.apply([announced(4, discontinuity=33)])
    assert _listed(window) == [4]


def test_what_waits_for_a_hole_is_bounded() -> None:
    window = _window(announced(1), *(announced(msn) for msn in range(3, 4 * MAX_PENDING, 2)))
    assert len(window.announcements()) <= MAX_PENDING + 2


def _history() -> list[SegmentAnnounced]:
    """Three writers, the third of whom began a list of its own."""
    first = [announced(msn, info) for msn in range(1, 9) for info in (SOURCE, RUNG)]
    second = [announced(msn, epoch=LATER, first=7, discontinuity=1) for msn in range(7, 12)]
    third = [announced(msn, epoch=LATER + 9, first=30, restarts=True, discontinuity=2) for msn in range(30, 33)]
    return [*first, *second, *third]


@settings(deadline=None, max_examples=100)
@given(st.permutations(_history()), st.sampled_from([3, 6]))
def test_whatever_the_order_two_nodes_that_heard_the_same_list_the_same(
    told: list[SegmentAnnounced], length: int
) -> None:
    one, other = Window("show", length), _window(length=length)
    one.apply(_history())
    for each in told:
        other.apply([each])
    other.skip_holes()
    for name in ("source", "720p"):
        shared = _named(one, name).keys() & _named(other, name).keys()
        assert {msn: _named(one, name)[msn] for msn in shared} == {msn: _named(other, name)[msn] for msn in shared}
    assert _listed(one)[-1] == _listed(other)[-1]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(_history()), max_size=40), st.lists(st.sampled_from(_history()), max_size=40))
def test_whatever_was_lost_what_two_nodes_list_is_the_same_once_they_know_the_same_epochs(
    one: Sequence[SegmentAnnounced], other: Sequence[SegmentAnnounced]
) -> None:
    epochs = [EpochBegan("show", each) for each in (Epoch(EPOCH, 0), Epoch(LATER, 7), Epoch(LATER + 9, 30, True))]
    windows = [_window(*epochs, *told) for told in (one, other)]
    before = [_named(window) for window in windows]
    for msn in before[0].keys() & before[1].keys():
        assert before[0][msn] == before[1][msn]
    windows[0].apply(windows[1].announcements())
    for msn in before[0].keys() & _named(windows[0]).keys():
        assert before[0][msn] == _named(windows[0])[msn]

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve

from livestream.media.flv import aac_config, avc_config
from livestream.model.frames import Frame, Track
from livestream.packaging.cuts import MAX_INTERRUPTIONS, Cut, CutPlanner
from tests.packaging.broadcasts import (
    ASC,
    OTHER_ASC,
    OTHER_RECORD,
    RECORD,
    mixed,
    picture,
    pictures,
    sounds,
    with_b_frames,
)

BOTH, VIDEO, AUDIO = frozenset(Track), frozenset({Track.VIDEO}), frozenset({Track.AUDIO})


def planner(segment_s: int = 3) -> CutPlanner:
    return CutPlanner(segment_s, 100, 5)


def cuts(frames: list[Frame], plan: CutPlanner) -> list[Cut]:
    return [cut for frame in frames for cut in plan.add(frame)]


def times(frames: list[Frame], plan: CutPlanner | None = None) -> list[int]:
    return [cut.pts_ms for cut in cuts(frames, plan or planner())]


@pytest.mark.parametrize(
    ("gop_ms", "segment_s", "expected", "target_s"),
    [
        (1000, 3, [0, 3000, 6000, 9000], 3),
        (2000, 3, [0, 4000, 8000], 4),
        (3000, 3, [0, 3000, 6000, 9000], 3),
        (2920, 3, [0, 2920, 5840, 8760, 11680], 3),
        (3080, 3, [0, 3080, 6160, 9240], 3),
        (5000, 3, [0, 5000, 10000], 5),
        (5120, 3, [0, 5120, 10240], 6),
        (1000, 6, [0, 6000], 6),
    ],
)
def test_a_segment_begins_at_the_first_key_frame_after_its_length(gop_ms, segment_s, expected, target_s):
    plan = planner(segment_s)
    assert times(mixed(pictures(0, 12_000, gop_ms), sounds(0, 12_000)), plan) == expected
    assert plan.target_s == target_s


def test_numbers_rise_by_one_and_wall_clock_times_follow_the_media():
    frames = [evolve(frame, arrived=1000.0) for frame in mixed(pictures(500, 9_500, 3000))]
    assert cuts(frames, planner()) == [
        Cut(100, 500, 5, 1_000_000, True, VIDEO),
        Cut(101, 3500, 5, 1_003_000, True, VIDEO),
        Cut(102, 6500, 5, 1_006_000, True, VIDEO),
    ]


def test_pictures_in_decoding_order_are_cut_where_they_are_shown():
    assert times(mixed(with_b_frames(0, 6, 50))) == [80, 4080, 8080]


def test_key_frames_that_come_later_than_at_first_are_not_waited_for():
    plan = planner()
    found = cuts(mixed(pictures(0, 21_000, [0, 3000, 6000, 15_000, 18_000])), plan)
    assert [(cut.pts_ms, cut.independent) for cut in found] == [
        (0, True), (3000, True), (6000, True), (9480, False), (12960, False), (15000, True), (18000, True),
    ]  # fmt: skip
    assert plan.target_s == 3


def test_a_key_frame_is_taken_early_when_the_next_would_come_too_late():
    assert times(mixed(pictures(0, 9_000, [0, 3000, 5480, 7960]))) == [0, 3000, 5480, 7960]


def test_a_source_that_has_no_key_frames_is_cut_all_the_same():
    plan = planner()
    assert times(mixed(pictures(0, 40_000, [0])), plan) == [0, 12_480, 25_960, 39_440]
    assert plan.target_s == 13


def test_forced_cuts_between_b_frames_are_at_a_picture_that_is_shown_after_all_before():
    frames = mixed(with_b_frames(0, 1, 75), [picture(3000 + 80 + 40 * n, n == 0) for n in range(2)])
    plan = planner()
    cuts(frames, plan)
    newest, late = 3160, with_b_frames(3200, 1, 200)
    for frame in [evolve(frame, is_key=False) for frame in late]:
        for cut in plan.add(frame):
            assert cut.pts_ms == frame.pts_ms > newest and not cut.independent
        newest = max(newest, frame.pts_ms)
    assert plan.current is not None and plan.current.msn == 103


def test_a_hole_in_the_pictures_is_cut_where_nothing_is_shown():
    frames = mixed(pictures(0, 4_000, 1000) + pictures(10_000, 20_000, 1000))
    assert times(frames) == [0, 3000, 6000, 9000, 12000, 15000, 18000]


def test_a_hole_is_not_cut_before_the_end_of_the_picture_before_it():
    assert times(mixed(pictures(0, 6_400, 3000) + pictures(6_600, 6_680, [6_600]) + [picture(10_000)]))[-1] == 9000
    frames = mixed(pictures(0, 3000, 3000) + pictures(3000, 6_360, [3000]) + [picture(6_700)])
    assert times(frames) == [0, 3000, 6360]


def test_a_cut_in_a_hole_never_makes_a_segment_too_long_whatever_the_last_picture_says_of_its_length():
    frames = pictures(0, 3_000, 3000) + pictures(3_000, 6_400, [3000])
    frames += [picture(6_400, dts_ms=6_360), picture(6_440, dts_ms=6_850), picture(12_000)]
    assert times(mixed(frames))[2] == 6_499


def test_an_interruption_cuts_at_the_next_key_frame_with_a_discontinuity():
    plan = planner()
    cuts(mixed(pictures(0, 1_000, 1000)), plan)
    plan.interrupt()
    found = cuts(pictures(1_040, 8_000, [2_000, 5_000]), plan)
    assert [(cut.pts_ms, cut.discontinuity) for cut in found] == [(2000, 6), (5000, 6)]


def test_an_encoder_with_another_configuration_at_each_frame_is_not_cut_at_each():
    frames = []
    for number, frame in enumerate(pictures(0, 30_000, 40)):
        frames += [avc_config((RECORD, OTHER_RECORD)[number % 2]), frame]
    plan = planner()
    found = cuts(frames, plan)
    lengths_ms = [after.pts_ms - before.pts_ms for before, after in pairwise(found)]
    assert lengths_ms[:MAX_INTERRUPTIONS] == [40] * MAX_INTERRUPTIONS
    assert sum(length < 2_900 for length in lengths_ms) <= MAX_INTERRUPTIONS * (30 / (MAX_INTERRUPTIONS * 3) + 1)
    assert len({cut.discontinuity for cut in found}) == len(found)


def test_an_interruption_without_a_key_frame_does_not_make_a_segment_too_long():
    plan = planner()
    cuts(mixed(pictures(0, 4_000, 3000)), plan)
    plan.interrupt()
    found = cuts(pictures(4_000, 9_000, [8_000]), plan)
    assert [(cut.pts_ms, cut.discontinuity, cut.independent) for cut in found] == [(6480, 5, False), (8000, 6, True)]


def test_a_break_lets_the_wall_clock_catch_up_and_never_go_back():
    plan = planner()
    frames = mixed(pictures(0, 1_000, 1000))
    cuts([evolve(frame, arrived=1000.0) for frame in frames], plan)
    plan.interrupt()
    assert plan.add(evolve(picture(1_000, True), arrived=1060.0))[0].starts_at_ms == 1_060_000
    plan.interrupt()
    assert plan.add(evolve(picture(2_000, True), arrived=1060.5))[0].starts_at_ms == 1_061_000


@pytest.mark.parametrize(("config", "key_ms"), [(avc_config(OTHER_RECORD), 2_000), (aac_config(OTHER_ASC), 2_000)])
def test_a_changed_configuration_is_a_discontinuity_and_a_repeated_one_is_not(config, key_ms):
    plan = planner()
    cuts(mixed(pictures(0, 1_000, 1000), sounds(0, 1_000)), plan)
    assert plan.add(avc_config(RECORD)) == plan.add(aac_config(ASC)) == []
    assert cuts(pictures(1_000, 1_040, 1000), plan) == []
    plan.add(config)
    assert cuts([picture(key_ms, True)], plan)[0].discontinuity == 6


def test_a_broadcast_without_pictures_is_cut_by_its_sounds():
    plan = planner()
    found = cuts(mixed(sounds(0, 12_000)), plan)
    assert [cut.pts_ms for cut in found] == [2005, 5013, 8021, 11029]
    assert {cut.tracks for cut in found} == {AUDIO} and plan.target_s == 3


def test_pictures_that_begin_late_join_at_a_key_frame():
    found = cuts(mixed(sounds(0, 12_000), pictures(5_000, 12_000, [6_000, 9_000])), planner())
    assert [(cut.pts_ms, cut.discontinuity, cut.tracks) for cut in found] == [
        (2005, 5, AUDIO), (5013, 5, AUDIO), (6000, 6, BOTH), (9000, 6, BOTH),
    ]  # fmt: skip


def test_pictures_that_stop_leave_a_broadcast_of_sound():
    plan = planner()
    found = cuts(mixed(pictures(0, 4_000, 1000), sounds(0, 16_000)), plan)
    assert [(cut.pts_ms, cut.discontinuity, cut.tracks) for cut in found] == [
        (0, 5, BOTH), (3000, 5, BOTH), (6000, 5, BOTH), (7978, 6, AUDIO), (10986, 6, AUDIO), (13994, 6, AUDIO),
    ]  # fmt: skip


def test_sound_that_begins_late_or_stops_is_a_discontinuity_at_the_next_key_frame():
    found = cuts(mixed(pictures(0, 24_000, 3000), sounds(4_000, 10_000)), planner())
    assert [(cut.pts_ms, cut.discontinuity, cut.tracks) for cut in found] == [
        (0, 5, BOTH), (3000, 6, VIDEO), (6000, 7, BOTH), (9000, 7, BOTH),
        (12000, 8, VIDEO), (15000, 8, VIDEO), (18000, 8, VIDEO), (21000, 8, VIDEO),
    ]  # fmt: skip


def test_sound_that_no_configuration_promised_joins_when_it_comes():
    frames = [
        *mixed(pictures(0, 500, 3000)),
        aac_config(ASC),
        *mixed(pictures(500, 6_500, 500), sounds(500, 6_500))[2:],
    ]
    assert [(cut.pts_ms, cut.tracks) for cut in cuts(frames, planner())] == [(0, VIDEO), (1500, BOTH), (4500, BOTH)]


@pytest.mark.parametrize("frames", [[picture(0, True)], sounds(0, 4_000), mixed(pictures(0, 9_000, []))])
def test_nothing_is_cut_without_a_configuration_and_a_key_frame(frames):
    assert cuts(frames, planner()) == []


def test_a_publisher_that_goes_leaves_gaps_of_the_target_duration_and_its_return_is_a_discontinuity():
    plan = planner()
    frames = [evolve(frame, arrived=1000.0) for frame in mixed(pictures(0, 5_000, 2000), sounds(0, 5_000))]
    cuts(frames, plan)
    assert plan.finish() == 5_000
    assert plan.target_s == 4
    assert plan.gap(60_000) == (Cut(102, 5_000, 5, 1_005_000, True, BOTH), 4000)
    assert plan.gap(4_000) == (Cut(103, 9_000, 5, 1_009_000, True, BOTH), 4000)
    back = [evolve(frame, arrived=1011.0) for frame in mixed(pictures(13_000, 14_000, 2000))]
    assert cuts(back, plan) == [Cut(104, 13_000, 6, 1_013_000, True, VIDEO)]


def test_a_publisher_that_goes_in_the_first_segment_leaves_a_target_duration():
    plan = planner()
    cuts(mixed(pictures(0, 1_000, 1000)), plan)
    assert (plan.finish(), plan.target_s) == (1_000, 3)


def test_a_publisher_that_showed_nothing_leaves_nothing():
    plan = planner()
    cuts(mixed(sounds(0, 1_000)), plan)
    assert plan.finish() is None and plan.target_s is None
    assert cuts(mixed(pictures(0, 1_000, 1000)), plan)[0].discontinuity == 5

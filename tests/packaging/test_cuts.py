from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve

from livestream.media.flv import aac_config, avc_config
from livestream.model.frames import Frame, Track
from livestream.packaging.cuts import MAX_INTERRUPTIONS, Cut, CutPlanner, SourceMode
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
        (500, 3, [0, 3000, 6000, 9000], 3),
        (1480, 3, [0, 2960, 5920, 8880, 11_840], 3),
        (2000, 3, [0, 2000, 4000, 6000, 8000, 10_000], 3),
        (2480, 3, [0, 2480, 4960, 7440, 9920], 3),
        (3000, 3, [0, 3000, 6000, 9000], 3),
        (2920, 3, [0, 2920, 5840, 8760, 11680], 3),
        (3080, 3, [0, 3080, 6160, 9240], 3),
        (5000, 3, [0, 5000, 10000], 5),
        (5120, 3, [0, 5120, 10240], 6),
        (8320, 3, [0, 8320], 9),
        (1000, 6, [0, 6000], 6),
        (4000, 6, [0, 4000, 8000], 6),
        (2000, 1, [0, 2000, 4000, 6000, 8000, 10_000], 2),
    ],
)
def test_a_source_is_cut_at_the_key_frame_nearest_to_the_length_of_a_segment_and_the_earlier_one_of_two(
    gop_ms, segment_s, expected, target_s
):
    plan = planner(segment_s)
    assert times(mixed(pictures(0, 12_000, gop_ms), sounds(0, 12_000)), plan) == expected
    assert plan.target_s == target_s


def test_numbers_rise_by_one_and_wall_clock_times_follow_the_media():
    frames = [evolve(frame, arrived=1000.0) for frame in mixed(pictures(500, 9_500, 3000))]
    assert cuts(frames, planner()) == [
        Cut(100, 500, 500, 5, 1_000_000, VIDEO),
        Cut(101, 3500, 3500, 5, 1_003_000, VIDEO),
        Cut(102, 6500, 6500, 5, 1_006_000, VIDEO),
    ]


def test_pictures_in_decoding_order_are_cut_where_they_are_shown():
    found = cuts(mixed(with_b_frames(0, 6, 50)), planner())
    assert [(cut.pts_ms, cut.dts_ms) for cut in found][:3] == [(80, 0), (2080, 2000), (4080, 4000)]


def test_key_frames_that_come_later_than_at_first_are_not_waited_for():
    plan = planner()
    found = times(mixed(pictures(0, 21_000, [0, 3000, 6000, 15_000, 18_000])), plan)
    assert found == [0, 3000, 6000, 9480, 12960, 15000, 18000]
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
            assert cut.pts_ms == frame.pts_ms > newest
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
    assert [(cut.pts_ms, cut.discontinuity) for cut in found] == [(6480, 5), (8000, 6)]


def test_a_break_lets_the_wall_clock_catch_up_and_never_go_back():
    plan = planner()
    frames = mixed(pictures(0, 1_000, 1000))
    cuts([evolve(frame, arrived=1000.0) for frame in frames], plan)
    plan.interrupt()
    assert plan.add(evolve(picture(1_000, True), arrived=1060.0))[0].starts_at_ms == 1_060_000
    plan.interrupt()
    assert plan.add(evolve(picture(2_000, True), arrived=1060.5))[0].starts_at_ms == 1_061_000


def test_changed_pictures_are_a_discontinuity_at_the_next_key_frame_and_a_repeated_configuration_is_not():
    plan = planner()
    cuts(mixed(pictures(0, 1_000, 1000), sounds(0, 1_000)), plan)
    assert plan.add(avc_config(RECORD)) == plan.add(aac_config(ASC)) == []
    assert cuts(pictures(1_000, 1_040, 1000), plan) == []
    plan.add(avc_config(OTHER_RECORD))
    assert cuts([picture(1_040)], plan) == []
    assert cuts([picture(2_000, True)], plan)[0].discontinuity == 6


def test_changed_sound_is_a_discontinuity_at_once():
    plan = planner()
    cuts(mixed(pictures(0, 1_000, 1000), sounds(0, 1_000)), plan)
    plan.add(aac_config(OTHER_ASC))
    assert [(cut.pts_ms, cut.discontinuity) for cut in cuts([picture(1_040)], plan)] == [(1040, 6)]


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


def test_pictures_that_stop_are_followed_by_cuts_at_the_sound_without_a_discontinuity():
    plan = planner()
    found = cuts(mixed(pictures(0, 4_000, 1000), sounds(0, 16_000)), plan)
    assert [(cut.discontinuity, cut.tracks) for cut in found] == [(5, BOTH)] * len(found)
    assert [cut.pts_ms // 100 for cut in found] == [0, 30, 60, 90, 120, 150]
    assert plan.activity.silent == VIDEO


def test_sound_that_stops_or_never_comes_is_no_discontinuity_and_no_track_less():
    plan = planner()
    found = cuts(mixed(pictures(0, 24_000, 3000), sounds(4_000, 10_000)), plan)
    assert [(cut.pts_ms, cut.discontinuity, cut.tracks) for cut in found] == [
        (ms, 5, BOTH) for ms in range(0, 24_000, 3_000)
    ]
    assert plan.activity.silent == AUDIO


@pytest.mark.parametrize(
    ("behind_ms", "step_ms", "b_frames"), [(0, 40, 0), (2_500, 40, 0), (6_000, 40, 0), (0, 1_000, 3), (0, 2_000, 0)]
)
def test_sound_that_arrives_is_not_silent_however_late_and_however_rare_the_pictures(behind_ms, step_ms, b_frames):
    shown = [
        evolve(frame, cts_ms=(b_frames + 1) * step_ms if b_frames else 0)
        for frame in pictures(0, 40_000, 4000, step_ms)
    ]
    sent = [(frame.dts_ms, frame) for frame in shown]
    sent += [(frame.dts_ms + behind_ms, frame) for frame in sounds(0, 40_000 - behind_ms)]
    plan = planner()
    cuts([avc_config(RECORD), aac_config(ASC)], plan)
    for _, frame in sorted(sent, key=lambda each: each[0]):
        plan.add(frame)
        assert not plan.activity.silent or frame.dts_ms <= behind_ms


def test_sound_that_no_configuration_promised_belongs_to_the_first_segment_and_is_a_discontinuity_later():
    frames = [*mixed(pictures(0, 500, 3000)), aac_config(ASC)]
    frames += mixed(pictures(500, 6_500, 500), sounds(500, 6_500))[2:]
    found = cuts(frames, planner())
    assert [(cut.pts_ms, cut.tracks, cut.discontinuity) for cut in found] == [
        (0, VIDEO, 5), (2500, BOTH, 5), (5500, BOTH, 5),
    ]  # fmt: skip
    later = [*mixed(pictures(0, 4_000, 1000)), aac_config(ASC)]
    later += mixed(pictures(4_000, 8_000, 1000), sounds(4_000, 8_000))[2:]
    assert [(cut.tracks, cut.discontinuity) for cut in cuts(later, planner())] == [(VIDEO, 5), (VIDEO, 5), (BOTH, 6)]


@pytest.mark.parametrize("frames", [[picture(0, True)], sounds(0, 4_000), mixed(pictures(0, 9_000, []))])
def test_nothing_is_cut_without_a_configuration_and_a_key_frame(frames):
    assert cuts(frames, planner()) == []


def test_a_publisher_that_goes_leaves_segments_without_media_and_its_return_is_a_discontinuity():
    plan = planner()
    frames = [evolve(frame, arrived=1000.0) for frame in mixed(pictures(0, 5_000, 2000), sounds(0, 5_000))]
    cuts(frames, plan)
    assert plan.finish() == 5_000
    assert plan.target_s == 3
    assert plan.absence(3_000) == Cut(103, 5_000, 5_000, 5, 1_005_000, BOTH, 3_000)
    assert plan.absence(3_000) == Cut(104, 8_000, 8_000, 5, 1_008_000, BOTH, 3_000)
    back = [evolve(frame, arrived=1011.0) for frame in mixed(pictures(11_100, 12_000, 2000))]
    assert cuts(back, plan) == [Cut(105, 11_100, 11_100, 6, 1_011_000, BOTH)]


@pytest.mark.parametrize(
    ("back_ms", "absence"),
    [
        (5_100, []),
        (5_300, [(5_000, 300)]),
        (8_300, [(5_000, 3_300)]),
        (12_000, [(5_000, 3_000), (8_000, 3_000), (11_000, 1_000)]),
    ],
)
def test_the_rest_of_an_absence_is_a_segment_before_the_first_one_of_the_publisher_that_returns(back_ms, absence):
    plan = planner()
    cuts(mixed(pictures(0, 5_000, 2000), sounds(0, 5_000)), plan)
    plan.finish()
    *before, first = cuts(mixed(pictures(back_ms, back_ms + 1_000, 2000)), plan)
    assert [(cut.pts_ms, cut.absence_ms) for cut in before] == absence
    assert first.msn == 103 + len(absence) and first.discontinuity == 6


def test_a_publisher_that_goes_in_the_first_segment_leaves_a_target_duration():
    plan = planner()
    cuts(mixed(pictures(0, 1_000, 1000)), plan)
    assert (plan.finish(), plan.target_s) == (1_000, 3)


def test_a_publisher_that_showed_nothing_leaves_nothing():
    plan = planner()
    cuts(mixed(sounds(0, 1_000)), plan)
    assert plan.finish() is None and plan.target_s is None
    assert cuts(mixed(pictures(0, 1_000, 1000)), plan)[0].discontinuity == 5


# What the source is in HLS.


def proposal(frames: list[Frame], segment_s: int = 3) -> tuple[SourceMode | None, int]:
    """What the key frames suggest, and after how long."""
    plan = CutPlanner(segment_s, 100, 5, None)
    for frame in frames:
        plan.add(frame)
        if plan.proposal is not None:
            return plan.proposal, frame.pts_ms
    return None, 0


@pytest.mark.parametrize(
    ("keys", "segment_s", "expected"),
    [
        (1_000, 3, (SourceMode.PASS, 2_000)),
        (2_000, 3, (SourceMode.PASS, 2_000)),
        (2_480, 3, (SourceMode.PASS, 2_480)),
        (4_000, 3, (SourceMode.PASS, 4_000)),
        (4_200, 3, (SourceMode.ENCODE, 4_200)),
        (8_320, 3, (SourceMode.ENCODE, 4_520)),
        ([0, 400], 3, (SourceMode.ENCODE, 4_520)),
        ([0], 3, (SourceMode.ENCODE, 4_520)),
        ([0, 400, 3_000], 3, (SourceMode.PASS, 3_000)),
        (1_000, 1, (SourceMode.PASS, 1_000)),
    ],
)
def test_a_source_is_passed_if_its_key_frames_allow_segments_of_about_their_length(keys, segment_s, expected):
    assert proposal(mixed(pictures(0, 10_000, keys), sounds(0, 10_000)), segment_s) == expected


def test_key_frames_that_refer_to_others_are_none_to_cut_at():
    open_gop = [
        evolve(frame, body=as_open_gop(frame.body)) if frame.dts_ms else frame for frame in pictures(0, 6_000, 1000)
    ]
    assert proposal(mixed(open_gop)) == (SourceMode.ENCODE, 4_520)


def as_open_gop(body: bytes) -> bytes:
    """The frame with its pictures in another kind of NAL unit."""
    return body[:9] + b"\x41" + body[10:]


def test_a_broadcast_of_sound_is_passed():
    assert proposal(mixed(sounds(0, 6_000)))[0] is SourceMode.PASS


@pytest.mark.parametrize("frames", [pictures(0, 20_000, [0]), with_b_frames(-80, 1, 500), pictures(0, 20_000, [0], 33)])
def test_an_encoded_source_is_cut_at_exact_times_however_late_that_was_decided(frames):
    plan = CutPlanner(3, 100, 5, None)
    found = []
    for frame in mixed(frames, sounds(0, 20_000)):
        found += plan.add(frame)
        if plan.proposal is not None:
            found += plan.settle(plan.proposal)
    assert [cut.pts_ms for cut in found] == [0, 3000, 6000, 9000, 12000, 15000, 18000]
    assert plan.target_s == 3


def test_a_passed_source_is_cut_at_once_where_the_key_frame_that_decides_is_due():
    plan = CutPlanner(3, 100, 5, None)
    for frame in mixed(pictures(0, 2_040, 2000)):
        plan.add(frame)
        if plan.proposal is not None:
            assert [cut.pts_ms for cut in plan.settle(plan.proposal)] == [2_000]
            return
    raise AssertionError("nothing was proposed")


def test_a_short_try_leaves_nothing():
    plan = CutPlanner(3, 100, 5, None)
    assert len(cuts(mixed(pictures(0, 80, 2000)), plan)) == 1
    plan.forget()
    assert plan.finish() is None
    assert [(cut.msn, cut.discontinuity) for cut in cuts(mixed(pictures(1_000, 1_080, 2000)), plan)] == [(100, 5)]


def test_a_jump_in_an_encoded_source_is_a_discontinuity_at_the_next_key_frame_and_the_times_go_on_from_there():
    plan = CutPlanner(3, 100, 5, SourceMode.ENCODE)
    cuts(mixed(pictures(0, 4_000, [0])), plan)
    plan.interrupt()
    found = cuts(pictures(4_000, 12_000, [5_000]), plan)
    assert [(cut.pts_ms, cut.discontinuity) for cut in found] == [(5_000, 6), (8_000, 6), (11_000, 6)]

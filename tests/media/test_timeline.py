from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.timeline import AFTER_JUMP_MS, BACK_MS, JUMP_MS, START_MS, WRAP, Timeline
from livestream.model.frames import Track

VIDEO, AUDIO = Track.VIDEO, Track.AUDIO


def place(line: Timeline, *stamps: tuple[Track, int]) -> list[int]:
    """Where timestamps come to lie, from the start of the line on; a jump is an error."""
    placed = [line.place(track, stamp % WRAP) for track, stamp in stamps]
    assert not any(place.is_jump for place in placed)
    return [place.dts_ms - START_MS for place in placed]


def test_a_line_begins_with_the_first_timestamp_and_keeps_the_distance_of_the_tracks():
    stamps = [(VIDEO, 700_000), (AUDIO, 699_900), (VIDEO, 700_040), (AUDIO, 699_921)]
    assert place(Timeline(), *stamps) == [0, -100, 40, -79]


@pytest.mark.parametrize("wrap", [1 << 24, 1 << 31, 1 << 32, 3 << 32])
def test_timestamps_that_cross_a_power_of_two_go_on_evenly(wrap: int):
    stamps = [(track, wrap - 1000 + step * 40) for step in range(50) for track in (VIDEO, AUDIO)]
    assert place(Timeline(), *stamps) == [step * 40 for step in range(50) for _ in range(2)]


def test_a_line_rises_past_32_bits():
    line = Timeline(WRAP - 1000)
    placed = [line.place(VIDEO, step * 40).dts_ms for step in range(100)]
    assert placed == [WRAP - 1000 + step * 40 for step in range(100)]
    assert line.newest_ms == placed[-1]


@pytest.mark.parametrize("jump", [JUMP_MS, -BACK_MS - 50, 1 << 30, -(1 << 30), 1 << 31, -50_000])
def test_a_jump_is_told_once_and_the_other_track_follows_it(jump: int):
    line = Timeline()
    place(line, (VIDEO, 100_000), (AUDIO, 100_010))
    video = line.place(VIDEO, (100_040 + jump) % WRAP)
    audio = line.place(AUDIO, (100_050 + jump) % WRAP)
    assert (video.is_jump, audio.is_jump) == (True, False)
    assert video.dts_ms - START_MS == 10 + AFTER_JUMP_MS
    assert audio.dts_ms - video.dts_ms == 10


def test_a_reset_to_zero_is_a_jump():
    line = Timeline()
    place(line, (VIDEO, 500_000), (AUDIO, 500_000))
    assert line.place(AUDIO, 0).is_jump
    assert not line.place(VIDEO, 15).is_jump
    assert line.newest_ms == START_MS + AFTER_JUMP_MS + 15


def test_a_track_whose_jump_is_just_small_enough_to_be_a_pause_still_follows_the_other():
    line = Timeline()
    place(line, (VIDEO, 0), (AUDIO, 30))
    video, audio = line.place(VIDEO, JUMP_MS + 10), line.place(AUDIO, JUMP_MS + 15)
    assert video.is_jump and not audio.is_jump
    assert audio.dts_ms - video.dts_ms == 5


def test_a_pause_of_the_encoder_is_no_jump():
    assert place(Timeline(), (VIDEO, 0), (AUDIO, 0), (VIDEO, JUMP_MS), (AUDIO, 9_990)) == [0, 0, JUMP_MS, 9_990]


def test_a_track_never_goes_back_and_jitter_passes():
    assert place(Timeline(), (VIDEO, 2000), (VIDEO, 2100), (VIDEO, 1500), (VIDEO, 2090), (VIDEO, 2140)) == [
        0, 100, 100, 100, 140,
    ]  # fmt: skip


def test_audio_that_lags_by_seconds_is_no_jump():
    stamps = [(VIDEO, 5_000), (AUDIO, 2_000), (VIDEO, 5_040), (AUDIO, 2_021), (VIDEO, 5_080)]
    assert place(Timeline(), *stamps) == [0, -3_000, 40, -2_979, 80]


def test_tracks_that_count_from_different_clocks_are_brought_together():
    stamps = [(VIDEO, 1_000_000_000), (AUDIO, 0), (VIDEO, 1_000_000_040), (AUDIO, 21), (VIDEO, 1_000_000_080)]
    assert place(Timeline(), *stamps) == [0, 0, 40, 21, 80]


def test_a_new_publisher_goes_on_where_it_is_told():
    line = Timeline()
    place(line, (VIDEO, 0), (AUDIO, 0), (VIDEO, 4_000))
    line.resume(START_MS + 20_000)
    assert place(line, (AUDIO, 77), (VIDEO, 80)) == [20_000, 20_003]


@given(st.lists(st.tuples(st.sampled_from(Track), st.integers(0, WRAP - 1)), max_size=60), st.integers(0, 59))
@settings(max_examples=100, deadline=None)
def test_whatever_comes_no_track_goes_back_or_below_zero_and_no_step_is_a_leap(stamps, resumed):
    line, newest = Timeline(), START_MS
    before: dict[Track, int] = {}
    for index, (track, stamp) in enumerate(stamps):
        if index == resumed:
            line.resume(newest + 5_000)
        placed = line.place(track, stamp).dts_ms
        assert 0 <= before.get(track, 0) <= placed <= newest + JUMP_MS + 5_000
        before[track] = placed
        newest = max(newest, placed)
        assert line.newest_ms >= newest

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from livestream.packaging.rates import FrameRateMeter, RateMeter, nominal_frame_rate

NTSC = 30_000 / 1001


def meter(*segments: tuple[int, int]) -> RateMeter:
    """A meter that has seen segments of (bytes, milliseconds)."""
    made = RateMeter()
    for size_bytes, duration_ms in segments:
        made.add(size_bytes, duration_ms)
    return made


def test_the_peak_is_of_one_segment_and_the_average_of_all():
    made = meter((300_000, 3000), (900_000, 3000))
    assert (made.peak, made.average) == (2_400_000, 1_600_000)


def test_short_segments_count_together_with_their_neighbours():
    made = meter((900_000, 3000), (500_000, 200), (300_000, 3000), (50_000, 300), (50_000, 300), (50_000, 300))
    assert made.peak == (900_000 + 500_000) * 8000 // 3200


def test_what_is_far_shorter_than_a_target_duration_is_no_peak():
    made = meter((100_000, 500), (1_000, 500), (1_000, 500))
    assert made.peak == 102_000 * 8000 // 1500


def test_a_segment_that_is_longer_than_any_set_counts_alone():
    assert meter((300_000, 3000), (3_000_000, 8000), (300_000, 3000)).peak == 3_000_000


def test_a_rate_is_never_that_of_less_than_a_second():
    made = meter((200_000, 60))
    assert (made.peak, made.average) == (1_600_000, 1_600_000)


def test_a_peak_is_forgotten_after_a_minute():
    made = meter((3_000_000, 3000), *[(300_000, 3000)] * 19)
    assert made.peak == 8_000_000
    made.add(300_000, 3000)
    assert (made.peak, made.average) == (800_000, 800_000)


@pytest.mark.parametrize("ms", [60, 3000])
def test_a_publisher_is_forgotten_as_soon_as_there_is_a_second_of_the_next(ms):
    made = meter((1_500_000, ms))
    made.reset()
    before = made.average
    assert before == 12_000_000 * 1000 // max(ms, 1000)
    made.add(10_000, 900)
    assert made.average > 3_000_000
    made.add(2_500, 100)
    assert (made.peak, made.average) == (100_000, 100_000)


def test_publishers_that_come_and_go_are_not_remembered_for_ever():
    made = RateMeter()
    for _ in range(5_000):
        made.add(100, 1)
        made.reset()
    assert len(made._earlier) <= 1_024


RATES = [23.976, 24, 25, 29.97, 30, 47.952, 48, 50, 59.94, 60, 100, 119.88, 120, 1, 5, 7.5, 10, 12.5, 15, 20, 75, 90]


@pytest.mark.parametrize("fps", RATES)
def test_a_rate_in_use_is_nominal(fps):
    assert nominal_frame_rate(fps) == nominal_frame_rate(fps * 1.0001) == pytest.approx(fps, abs=0.0005)


@pytest.mark.parametrize(
    ("fps", "nominal"), [(29.917, 30), (30.2, 30), (24.9, 25), (24.4, 24.5), (0.5, 0.5), (1.02, 1), (14.93, 15)]
)
def test_a_rate_near_it_is_meant_to_be_it(fps, nominal):
    assert nominal_frame_rate(fps) == nominal


def test_a_rate_is_told_from_its_ntsc_counterpart_only_if_it_was_measured_exactly_enough():
    assert nominal_frame_rate(NTSC, 0.0002) == 29.97
    assert nominal_frame_rate(NTSC, 0.002) == 30


def times(fps: float, seconds: float, start_ms: int = 0) -> list[int]:
    """Times as RTMP carries them."""
    return [start_ms + int(index * 1000 / fps) for index in range(int(fps * seconds))]


def fed(frame_times: list[int], measured: FrameRateMeter | None = None) -> FrameRateMeter:
    """A meter that is read as the segments of three seconds are closed."""
    measured = measured or FrameRateMeter()
    due_ms = frame_times[0] + 3000
    for ms in frame_times:
        if ms >= due_ms:
            due_ms += 3000
            assert measured.rate >= 0
        measured.add(ms)
    return measured


@pytest.mark.parametrize("fps", [24 / 1.001, 24, 25, NTSC, 30, 50, 60 / 1.001, 60, 120 / 1.001, 120, 1, 5, 10, 12.5])
def test_three_seconds_of_times_in_milliseconds_tell_the_frame_rate(fps):
    assert fed(times(fps, 3.5 if fps < 2 else 3)).rate == pytest.approx(fps, rel=0.0001)


def jittered(times_ms: list[int], most_ms: int, seed: int = 1) -> list[int]:
    dice = random.Random(seed)
    return [ms + dice.randint(0, most_ms) for ms in times_ms]


def lossy(times_ms: list[int], share: float, seed: int = 1) -> list[int]:
    dice = random.Random(seed)
    return [ms for ms in times_ms if dice.random() > share]


def presented(times_ms: list[int]) -> list[int]:
    """Times of presentation, in the order of decoding."""
    return [each for at in range(0, len(times_ms) - 3, 4) for each in [times_ms[at + n] for n in (0, 3, 1, 2)]]


@pytest.mark.parametrize("fps", [25, NTSC, 30, 60])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda ms: lossy(ms, 0.05),
        lambda ms: jittered(ms, 6),
        lambda ms: sorted([*ms, *ms[::50]]),
        presented,
        lambda ms: ms[:200] + [each + 4000 for each in ms[200:]],
    ],
    ids=["lost", "late", "doubled", "presented", "interrupted"],
)
def test_times_that_are_not_regular_tell_it_too(fps, spoil):
    assert fed(spoil(times(fps, 20))).rate == pytest.approx(fps, rel=0.0001)


def test_it_does_not_change_while_pictures_are_lost_or_come_late():
    measured = FrameRateMeter()
    rates = set()
    for ms in lossy(jittered(times(NTSC, 120), 8), 0.03):
        measured.add(ms)
        if ms > 6000:
            rates.add(measured.rate)
    assert rates == {29.97}


def test_a_rate_that_varies_does_not_change_all_the_time():
    dice, measured, rates, ms = random.Random(1), FrameRateMeter(), [], 0
    for _ in range(6_000):
        ms += dice.choice((33, 33, 41, 50, 66))
        measured.add(ms)
        rates.append(measured.rate)
    assert sum(before != after for before, after in pairwise(rates[100:])) <= 2


def test_another_rate_is_believed_once_it_is_confirmed():
    measured = fed(times(60, 20))
    rates = []
    for ms in times(30, 40, 20_000):
        measured.add(ms)
        rates.append(measured.rate)
    assert rates[0] == 60 and rates[-1] == 30
    assert len({*rates}) == 2


def test_the_rate_of_another_publisher_holds_from_its_first_second():
    measured = fed(times(60, 20))
    measured.reset()
    assert measured.rate == 60
    assert fed(times(25, 0.9, 30_000), measured).rate == 60
    assert fed(times(25, 1, 30_880), measured).rate == 25


def test_it_is_not_told_before_there_is_a_second():
    assert FrameRateMeter().rate == 0
    assert fed(times(30, 0.9)).rate == 0


def test_what_was_not_measured_yet_is_when_the_publisher_leaves():
    measured = FrameRateMeter()
    for ms in times(30, 2):
        measured.add(ms)
    measured.reset()
    assert measured.rate == 30


def test_the_bitstream_helps_where_the_times_agree_and_not_where_they_do_not():
    late = jittered(times(NTSC, 2), 12)
    assert fed(late).rate == 30
    assert fed(late, FrameRateMeter(hint=NTSC)).rate == 29.97
    assert fed(times(25, 20), FrameRateMeter(hint=500.0)).rate == 25
    assert fed(times(30, 20), FrameRateMeter(hint=NTSC)).rate == 30


@pytest.mark.parametrize("seed", range(20))
def test_any_times_give_some_rate(seed):
    dice = random.Random(seed)
    ms = [dice.choice((0, 10, 1000, 100_000)) * dice.randint(0, 50) for _ in range(dice.randint(2, 40))]
    assert 0 <= fed(ms).rate <= 1000

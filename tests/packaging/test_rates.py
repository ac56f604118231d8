from __future__ import annotations

from livestream.packaging.rates import RateMeter


def test_the_peak_is_of_one_segment_and_the_average_of_all():
    meter = RateMeter()
    meter.add(300_000, 75, 3000)
    meter.add(900_000, 75, 3000)
    assert (meter.peak, meter.average, meter.frame_rate) == (2_400_000, 1_600_000, 25.0)


def test_a_short_segment_says_nothing_of_the_peak_unless_there_is_no_other():
    meter = RateMeter()
    meter.add(100_000, 5, 200)
    assert meter.peak == 4_000_000
    meter.add(900_000, 75, 3000)
    meter.add(500_000, 5, 200)
    assert meter.peak == 4_000_000

"""The rates of rungs, beside those of their source."""

from __future__ import annotations

import pytest

from livestream.transcode.ladder import MIN_LIMITED_KBPS, ladder_for, limited, source_rung


@pytest.mark.parametrize("source_kbps", [60, 200, 1_000, 6_000, 20_000])
def test_no_rung_has_the_rate_of_its_source_or_more(source_kbps):
    rungs = [limited(rung, source_kbps, 1080) for rung in (source_rung(1080), *ladder_for(1080, (720, 480, 360)))]
    rates = [rung.video_kbps for rung in rungs]
    assert rates == sorted(rates, reverse=True) and rates[-1] >= MIN_LIMITED_KBPS and rates[0] < source_kbps
    usual = [rung.video_kbps for rung in ladder_for(1080, (720, 480, 360))]
    assert all(rate <= most for rate, most in zip(rates[1:], usual, strict=True))


def test_a_source_of_an_unusual_rate_is_encoded_at_about_its_own():
    assert limited(source_rung(1080), 6_000, 1080).video_kbps == 5_700
    assert limited(source_rung(1080), 100_000, 1080).video_kbps == 3 * 4_500

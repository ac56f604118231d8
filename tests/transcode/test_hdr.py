"""The table by which high dynamic range is shown without."""

from itertools import pairwise

import pytest

from livestream.transcode.hdr import BT2020_PRIMARIES, HLG, P3_PRIMARIES, PQ, SRGB_PRIMARIES, sdr_table

LEVELS = 9


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("primaries", [BT2020_PRIMARIES, P3_PRIMARIES, SRGB_PRIMARIES])
def test_grey_stays_grey_and_more_light_is_never_darker(transfer, primaries) -> None:
    table = list(sdr_table(transfer, primaries, LEVELS))
    greys = [table[level * (LEVELS**2 + LEVELS + 1)] for level in range(LEVELS)]
    assert all(max(grey) - min(grey) < 0.001 for grey in greys)
    assert all(darker[1] <= lighter[1] for darker, lighter in pairwise(greys))
    assert greys[0] == (0, 0, 0)
    assert greys[-1] == pytest.approx((1, 1, 1), abs=0.001)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_every_colour_can_be_shown_and_red_changes_fastest(transfer) -> None:
    table = list(sdr_table(transfer, BT2020_PRIMARIES, LEVELS))
    assert len(table) == LEVELS**3
    assert all(0 <= part <= 1 for entry in table for part in entry)
    half = LEVELS // 2
    for step, brightest in ((1, 0), (LEVELS, 1), (LEVELS**2, 2)):
        entry = table[half * step]
        assert entry[brightest] == max(entry) > 0.3


def test_colours_that_both_have_stay() -> None:
    table = list(sdr_table(PQ, SRGB_PRIMARIES, LEVELS))
    assert table[LEVELS // 2][1:] == (0, 0)

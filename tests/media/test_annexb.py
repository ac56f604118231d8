from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.media.annexb import nal_units, repair_units, to_length_prefixed
from livestream.media.errors import MediaError

UNITS = st.lists(st.binary(min_size=1, max_size=9).map(lambda unit: unit.replace(b"\0", b"\1")), max_size=5)


def prefixed(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@given(UNITS, st.sampled_from([b"\0\0\1", b"\0\0\0\1", b"\0\0\0\0\1"]))
def test_units_are_found_between_start_codes_of_any_length(units, start_code):
    data = b"".join(start_code + unit for unit in units)
    assert list(nal_units(data)) == units
    assert to_length_prefixed(data) == prefixed(*units)


def test_a_start_code_in_front_of_nothing_is_no_unit():
    assert list(nal_units(b"\0\0\1\0\0\1a\0\0\1")) == [b"a"]
    assert list(nal_units(b"abc")) == []


@given(UNITS)
def test_units_behind_their_lengths_are_left_as_they_are(units):
    assert repair_units(prefixed(*units)) is None


@pytest.mark.parametrize(
    ("data", "sound"),
    [
        (prefixed(b"ab", b"c") + b"\0\0\0\x09d", prefixed(b"ab", b"c")),
        (prefixed(b"ab") + b"\0\0", prefixed(b"ab")),
        (prefixed(b"ab", b"", b"c"), prefixed(b"ab", b"c")),
        (prefixed(b""), b""),
        (b"\xff\xff\xff\xffabc", b""),
        (b"\0\0\0\1\x65abc\0\0\1\x41d", prefixed(b"\x65abc", b"\x41d")),
        (b"\0\0\1\x65abc", prefixed(b"\x65abc")),
    ],
)
def test_what_is_not_sound_is_left_out_and_start_codes_become_lengths(data, sound):
    assert repair_units(data) == sound


def test_a_unit_of_one_byte_is_no_start_code():
    assert repair_units(prefixed(b"\x09", b"abcd")) is None


@pytest.mark.parametrize("unit", [b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\x09", b"\x00\x00\x01\x09"])
def test_a_frame_of_units_that_nobody_cuts_so_small_is_refused_and_one_of_many_is_not(unit):
    for size in (100_000, 8 << 20):
        with pytest.raises(MediaError, match="NAL units"):
            repair_units(unit * (size // len(unit)))
    slices = b"".join(len(part).to_bytes(4, "big") + part for part in [b"\x65" * 100] * 5_000)
    assert repair_units(slices) is None


@pytest.mark.parametrize(
    ("unit", "most", "rest"),
    [
        (b"\x00\x00\x00\x02\x65\x88", 70, b"\x00\x00\xff\xff" + bytes(8000)),
        (b"\x00\x00\x01\xff", 69, bytes(230)),
    ],
    ids=["cut short", "trailing zeros"],
)
def test_what_is_mended_is_sound_to_whoever_reads_it_next(unit, most, rest):
    mended = repair_units(unit * most + rest)
    assert mended and repair_units(mended) is None
    with pytest.raises(MediaError, match="NAL units"):
        repair_units(unit * (most + 1) + rest)

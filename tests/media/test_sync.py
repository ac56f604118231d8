"""Which key frames a decoder can begin with."""

from __future__ import annotations

import pytest

from livestream.media.flv import avc_frame
from livestream.media.sync import is_sync
from livestream.model.frames import Codec, Frame
from tests.media.encoded import broadcast, frames


def units(*kinds: int) -> bytes:
    return b"".join(b"\x00\x00\x00\x04" + bytes([kind]) + b"abc" for kind in kinds)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([0x65], True),
        ([0x67, 0x68, 0x06, 0x65], True),
        ([0x67, 0x68, 0x06, 0x41], False),
        ([0x06, 0x61, 0x65], False),
        ([0x67], True),
        ([6] * 40 + [0x41], True),
    ],
)
def test_an_idr_picture_is_a_sync_sample_and_a_recovery_point_is_not(kinds, expected):
    assert is_sync(avc_frame(0, 0, True, units(*kinds))) is expected
    assert not is_sync(avc_frame(0, 0, False, units(*kinds)))


@pytest.mark.parametrize(
    ("kind", "expected"), [(19, True), (20, True), (21, True), (16, True), (1, False), (24, False)]
)
def test_any_random_access_picture_of_hevc_is_a_sync_sample(kind, expected):
    body = units(32 << 1, 33 << 1, 34 << 1, kind << 1)
    assert is_sync(Frame(Codec.HEVC, 0, body, 0, is_key=True)) is expected


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x00\x00\x05", b"\xff\xff\xff\xffe"])
def test_a_frame_that_is_cut_short_is_looked_at_no_further(body):
    assert is_sync(Frame(Codec.H264, 0, body, 0, is_key=True)) in (True, False)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_the_key_frames_of_encoders_are_sync_samples(codec):
    keys = [frame for frame in frames(broadcast(codec, None)) if frame.is_key and not frame.is_config]
    assert keys and all(map(is_sync, keys))

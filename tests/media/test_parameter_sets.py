"""Parameter sets among the pictures, of real encoders and of those who mean harm."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.errors import MediaError, OversizedPicture
from livestream.media.flv import avc_frame
from livestream.media.parameter_sets import MAX_IN_FRAME, MAX_KEPT, ParameterSets
from livestream.model.frames import Codec, Frame
from tests.media.encoded import broadcast, frames
from tests.media.parameter_sets import av1_header, h264_sps, hevc_sps, prefixed

SLICE, HEVC_SLICE, AV1_FRAME = b"\x65key", b"\x26\1key", b"\x32\3key"
SMALL, BOMB = (320, 180), (8192, 8192)
HONEST, HEVC_HONEST = h264_sps(*SMALL), hevc_sps(*SMALL, SMALL)
BEFORE = [
    (Codec.H264, prefixed(b"\x09\x10", h264_sps(*BOMB, shown=SMALL), SLICE)),
    (Codec.HEVC, prefixed(b"\x46\1\x10", hevc_sps(*BOMB, SMALL), HEVC_SLICE)),
    (Codec.AV1, b"\x12\0" + av1_header(*BOMB) + AV1_FRAME),
]
AFTER = [
    (Codec.H264, prefixed(SLICE, h264_sps(*BOMB, shown=SMALL))),
    (Codec.HEVC, prefixed(HEVC_SLICE, hevc_sps(*BOMB, SMALL))),
    (Codec.AV1, b"\x12\0" + AV1_FRAME + av1_header(*BOMB)),
]


def frame(codec: Codec, data: bytes, is_key: bool = True) -> Frame:
    return Frame(codec, 0, b"\x17\1\0\0\0" + data, 5, is_key=is_key)


@pytest.mark.parametrize(("codec", "data"), BEFORE, ids=["H.264", "HEVC", "AV1"])
def test_a_size_that_is_announced_among_the_pictures_is_bounded_too(codec: Codec, data: bytes) -> None:
    with pytest.raises(OversizedPicture, match="8192x8192"):
        ParameterSets().before_slices(frame(codec, data))


@pytest.mark.parametrize(("codec", "data"), AFTER, ids=["H.264", "HEVC", "AV1"])
def test_what_is_announced_behind_a_picture_is_found_where_everything_is_looked_at(codec: Codec, data: bytes) -> None:
    assert ParameterSets().before_slices(frame(codec, data)) is None
    with pytest.raises(OversizedPicture, match="8192x8192"):
        ParameterSets().anywhere(frame(codec, data, is_key=False))


def test_vp9_announces_a_size_in_each_key_frame() -> None:
    key, other = frames(broadcast("libvpx-vp9", None, size=(226, 130), seconds=0.4))[1:3]
    found = ParameterSets().before_slices(key)
    assert found is not None and (found.coded_width, found.coded_height) == (226, 130)
    assert ParameterSets().anywhere(other) is None
    large = bytearray(key.body)
    large[key.data_offset + 4 : key.data_offset + 8] = b"\xff" * 4
    with pytest.raises(OversizedPicture):
        ParameterSets().before_slices(evolve(key, body=bytes(large)))


@pytest.mark.parametrize("video", ["libx264", "libsvtav1"])
def test_what_an_encoder_repeats_is_what_its_record_says(video: str) -> None:
    config, key, other = frames(broadcast(video, None, size=(226, 130), seconds=0.4))[:3]
    parsed = parse_config(config)
    assert isinstance(parsed, VideoConfig)
    if video == "libx264":
        sps = parsed.record[8 : 8 + int.from_bytes(parsed.record[6:8], "big")]
        key = avc_frame(0, 0, True, prefixed(sps) + bytes(key.data))
    sets = ParameterSets()
    assert sets.before_slices(key) == sets.anywhere(key) == parsed.pictures
    assert sets.anywhere(other) is None


def test_several_parameter_sets_count_together() -> None:
    found = ParameterSets().before_slices(frame(Codec.H264, prefixed(HONEST, h264_sps(640, 360, references=3), SLICE)))
    assert found is not None
    assert (found.width, found.coded_width, found.coded_height, found.references) == (320, 640, 368, 3)


def test_an_enhancement_layer_of_hevc_is_not_decoded_and_does_not_count() -> None:
    layer = b"\x42\x09" + hevc_sps(*BOMB, SMALL)[2:]
    assert ParameterSets().anywhere(frame(Codec.HEVC, prefixed(layer, HEVC_SLICE))) is None


@pytest.mark.parametrize("codec", [Codec.H264, Codec.HEVC, Codec.AV1])
def test_a_frame_has_so_many_parameter_sets_at_most(codec: Codec) -> None:
    several = {
        Codec.H264: prefixed(*[HONEST] * (MAX_IN_FRAME + 1)),
        Codec.HEVC: prefixed(*[HEVC_HONEST] * (MAX_IN_FRAME + 1)),
        Codec.AV1: av1_header(*SMALL) * (MAX_IN_FRAME + 1),
    }
    with pytest.raises(MediaError, match=f"more than {MAX_IN_FRAME}"):
        ParameterSets().before_slices(frame(codec, several[codec]))


def test_room_for_pictures_that_lie_and_that_stand_is_no_more_than_for_the_larger() -> None:
    both = prefixed(h264_sps(4096, 2304), h264_sps(2304, 4096), SLICE)
    found = ParameterSets().before_slices(frame(Codec.H264, both))
    assert found is not None and found.coded_pixels == 4096 * 2304


def test_a_frame_of_millions_of_empty_obus_is_not_walked_through() -> None:
    with pytest.raises(MediaError, match="OBUs"):
        ParameterSets().before_slices(frame(Codec.AV1, b"\x12\0" * (4 << 20)))


def test_many_different_ones_in_turn_are_read_and_not_kept() -> None:
    sets = ParameterSets()
    for height in range(16, 2304, 16):
        found = sets.before_slices(frame(Codec.H264, prefixed(h264_sps(320, height), SLICE)))
        assert found is not None and found.height == height
    assert len(sets.known) <= MAX_KEPT


@given(st.sampled_from([Codec.H264, Codec.HEVC, Codec.AV1, Codec.VP9]), st.binary(max_size=80), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_walked_through_or_an_error(codec: Codec, noise: bytes, before: bool) -> None:
    genuine = {Codec.H264: prefixed(HONEST), Codec.HEVC: prefixed(HEVC_HONEST), Codec.AV1: av1_header(*SMALL)}
    for data in (noise, genuine.get(codec, b"") + noise, noise + genuine.get(codec, b"")):
        for look in (ParameterSets().before_slices, ParameterSets().anywhere):
            try:
                found = look(frame(codec, data))
            except MediaError:
                continue
            assert found is None or max(found.coded_width, found.coded_height) <= 4096

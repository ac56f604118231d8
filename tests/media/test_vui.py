"""What bitstreams say of shape, colour and rate, as real encoders write it, and what is left of nonsense."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import cache
from typing import Any

import av
import pytest
from attrs import evolve
from av.video.reformatter import ColorRange
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.bits import BitReader
from livestream.media.codecs import VideoConfig, parse_config, sized
from livestream.media.errors import MediaError
from livestream.media.pictures import PictureFormat, av1_format, avc_format, hevc_format, vp9_format
from livestream.media.vui import UNTOLD, Colour, Vui, avc_vui, hevc_vui
from livestream.model.frames import Codec, Frame
from tests.media.encoded import frames
from tests.media.parameter_sets import avc_record, h264_sps

PQ = (9, 16, 9)
HLG = (9, 18, 9)
BT709 = (1, 1, 1)
ENCODERS = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:pools=none:frame-threads=1"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


@cache
def pictures(
    codec: str,
    *,
    aspect: tuple[int, int] = (1, 1),
    colour: tuple[int, int, int] = (2, 2, 2),
    full: bool = False,
    rate: Fraction = Fraction(25),
    depth: int = 8,
    options: tuple[tuple[str, str], ...] = (),
) -> PictureFormat:
    """The format that is read of a short broadcast of 352x288."""
    with io.BytesIO() as file:
        with av.open(file, "w", format="flv") as container:
            track: Any = container.add_stream(codec, rate=rate, options=ENCODERS[codec] | dict(options))
            track.width, track.height = 352, 288
            track.pix_fmt = "yuv420p" if depth == 8 else "yuv420p10le"
            context = track.codec_context
            context.sample_aspect_ratio = Fraction(*aspect)
            context.color_primaries, context.color_trc, context.colorspace = colour
            context.color_range = ColorRange.JPEG if full else ColorRange.MPEG
            for index in range(2):
                frame = av.VideoFrame(352, 288, track.pix_fmt)
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                frame.pts, frame.time_base = index, 1 / rate
                frame.color_range = context.color_range
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
        found = frames(file.getvalue())
    config = parse_config(found[0])
    assert isinstance(config, VideoConfig)
    return sized(config, next(frame for frame in found if frame.is_key and not frame.is_config)).pictures


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize(("aspect", "width"), [((1, 1), 352), ((16, 11), 512), ((12, 11), 384), ((37, 40), 326)])
def test_the_shape_of_a_sample_is_read_from_what_an_encoder_wrote(codec, aspect, width):
    found = pictures(codec, aspect=aspect)
    assert (found.sample_aspect, found.shown_width, found.width, found.height) == (aspect, width, 352, 288)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("colour", "video_range"), [(BT709, "SDR"), (PQ, "PQ"), (HLG, "HLG")])
def test_colours_are_read_from_what_an_encoder_wrote(codec, full, colour, video_range):
    found = pictures(codec, colour=colour, full=full, depth=8 if codec == "libx264" else 10).colour
    assert found == evolve(Colour(*colour), is_full_range=full)
    assert found.video_range == video_range


@pytest.mark.parametrize("full", [False, True])
def test_vp9_says_its_matrix_and_range_in_its_key_frames(full):
    assert pictures("libvpx-vp9", colour=BT709, full=full).colour.is_full_range is full
    key = bytes.fromhex("8249834240") if full is False else bytes.fromhex("8249834250")
    found = vp9_format(key + b"\x07\xf0\x04\x70" + bytes(8))
    assert found is not None and found.colour == Colour(2, 2, 1, full)


def test_a_vp9_record_tells_colours_that_the_pictures_cannot():
    record = bytes([1, 0, 0, 0, 2, 31, 0xA2, 9, 16, 9, 0, 0])
    config = parse_config(Frame(Codec.VP9, 0, record, 0, is_config=True))
    assert isinstance(config, VideoConfig) and config.colour == Colour(*PQ)
    head = bits(f"10 01 0010 {0x498342:024b} 0 101 0 {351:016b} {287:016b}").data
    found = sized(config, Frame(Codec.VP9, 0, head + bytes(20), 0, is_key=True))
    assert (found.width, found.height, found.colour) == (352, 288, Colour(*PQ))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30_000, 1001)])
def test_a_frame_rate_is_read_from_what_an_encoder_wrote(codec, rate):
    assert pictures(codec, rate=rate).frame_rate == pytest.approx(float(rate))


def test_interlaced_pictures_are_told_from_progressive_ones():
    assert not pictures("libx264").may_be_interlaced
    assert pictures("libx264", options=(("x264-params", "tff=1"), ("flags", "+ildct+ilme"))).may_be_interlaced
    assert not pictures("libx265").may_be_interlaced
    x265 = "log-level=none:pools=none:frame-threads=1:interlace=tff"
    assert pictures("libx265", options=(("x265-params", x265),)).may_be_interlaced


# What makes no sense


def bits(text: str) -> BitReader:
    digits = text.replace(" ", "")
    digits += "0" * (-len(digits) % 8)
    return BitReader(int(digits, 2).to_bytes(len(digits) // 8, "big"))


def aspect_bits(width: int, height: int) -> str:
    return f"1 1 11111111 {width:016b} {height:016b} 0 0 0 0"


@pytest.mark.parametrize(
    ("width", "height", "read"),
    [(16, 11, (16, 11)), (0, 1, (1, 1)), (1, 0, (1, 1)), (1, 1000, (1, 1)), (1000, 1, (1, 1)), (4, 1, (4, 1))],
)
def test_a_sample_of_a_shape_that_cannot_be_is_square(width, height, read):
    assert avc_vui(bits(aspect_bits(width, height)), 1).sample_aspect == read


def test_reserved_code_points_tell_nothing():
    assert avc_vui(bits("1 1 01100011 0 1 101 0 1 00000011 11111111 11111111 0 0"), 1) == Vui()


def test_pictures_of_half_the_colours_are_no_rgb():
    signal = "1 0 0 1 101 1 1 00000001 00001101 00000000 0 0"
    assert avc_vui(bits(signal), 1).colour == Colour(1, 13, 2, True)
    assert avc_vui(bits(signal), 3).colour == Colour(1, 13, 0, True)


@pytest.mark.parametrize(("ticks", "scale"), [(0, 50), (1, 0), (1, 180_000), (4_000_000_000, 1)])
def test_the_rate_of_a_clock_is_none_of_pictures(ticks, scale):
    assert avc_vui(bits(f"1 0 0 0 0 1 {ticks:032b} {scale:032b} 1"), 1).frame_rate == 0


def test_a_set_that_is_cut_short_behind_its_size_has_the_defaults():
    plain = h264_sps(352, 288)
    stop = plain[-1] & -plain[-1]
    assert 1 < stop < 128 and not plain[-1] & stop << 1
    with_vui = plain[:-1] + bytes([plain[-1] | stop << 1])
    for cut in (plain, with_vui):
        config = parse_config(Frame(Codec.H264, 0, avc_record(cut), 0, is_config=True))
        assert isinstance(config, VideoConfig)
        assert config.pictures == PictureFormat(352, 288, 352, 288, references=1)


@given(st.binary(max_size=120), st.sampled_from([1, 3]), st.integers(4, 16))
@settings(max_examples=300, deadline=None)
def test_any_bits_are_read_or_an_error(data, chroma, order_bits):
    for parse in (lambda: avc_vui(BitReader(data), chroma), lambda: hevc_vui(BitReader(data), chroma, order_bits)):
        try:
            vui = parse()
        except MediaError:
            continue
        across, down = vui.sample_aspect
        assert 0 < across <= 4 * down <= 16 * across
        assert vui.frame_rate == 0 or 0.1 <= vui.frame_rate <= 300
        assert vui.colour == UNTOLD or vui.colour.video_range in ("SDR", "PQ", "HLG")


@pytest.mark.parametrize("parse", [avc_format, hevc_format, av1_format])
def test_a_set_of_ones_and_one_of_zeros_end(parse):
    for data in (b"\x67" + b"\xff" * 2000, b"\x67" + bytes(2000), b"\x0a\xff" + b"\xff" * 2000):
        try:
            assert parse(data).shown_width >= 0
        except (MediaError, IndexError):
            continue

from __future__ import annotations

import io
from fractions import Fraction
from struct import pack, unpack
from typing import Any

import av
import pytest
from attrs import evolve
from av.video.reformatter import ColorRange
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.codecs import AudioConfig, parse_config
from livestream.media.flv import aac_config, avc_config
from livestream.media.vui import Colour
from livestream.model.frames import Codec
from livestream.packaging.fmp4 import AUDIO_TRACK, NO_SYNC, SYNC, VIDEO_TRACK, TrackRun, init_segment, media_segment
from tests.packaging.broadcasts import ASC, RECORD
from tests.packaging.mp4 import Read, boxes, content, kinds, samples

VIDEO: Any = parse_config(avc_config(RECORD))
AUDIO: Any = parse_config(aac_config(ASC))


def test_a_header_has_the_boxes_of_a_fragmented_file_in_order():
    inner = ["mdia", "mdhd", "hdlr", "minf", "{}mhd", "dinf", "stbl", "stsd", "stts", "stsc", "stsz", "stco"]
    tracks = [kind.format(letter) for letter in "vs" for kind in ("trak", "tkhd", *inner)]
    expected = ["ftyp", "moov", "mvhd", *tracks, "mvex", "trex", "trex"]
    assert kinds(init_segment(VIDEO, AUDIO)) == expected


@pytest.mark.parametrize(("video", "audio"), [(VIDEO, AUDIO), (VIDEO, None), (None, AUDIO)])
def test_a_header_says_what_is_in_the_file(video, audio):
    with av.open(io.BytesIO(init_segment(video, audio))) as container:
        found: dict[str, Any] = {stream.type: stream.codec_context for stream in container.streams}
    assert set(found) == {kind for kind, config in (("video", video), ("audio", audio)) if config is not None}
    if video is not None:
        assert (found["video"].width, found["video"].height) == (160, 96)
        assert bytes(found["video"].extradata) == RECORD
    if audio is not None:
        assert (found["audio"].sample_rate, found["audio"].layout.nb_channels) == (48000, 2)
        assert bytes(found["audio"].extradata) == ASC


def with_format(**fields: Any) -> Any:
    return evolve(VIDEO, pictures=evolve(VIDEO.pictures, **fields))


def test_samples_that_are_not_square_are_shown_in_their_shape():
    header = init_segment(with_format(width=352, height=288, sample_aspect=(16, 11)), None)
    assert unpack(">II", content(header, b"tkhd")[76:84]) == (512 << 16, 288 << 16)
    with av.open(io.BytesIO(header)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.width, stream.codec_context.height) == (352, 288)
        assert stream.sample_aspect_ratio == Fraction(16, 11)


@pytest.mark.parametrize("colour", [Colour(9, 16, 9), Colour(1, 1, 1, True), Colour(is_full_range=True)])
def test_a_header_has_the_colour_that_the_pictures_tell(colour):
    header = init_segment(with_format(colour=colour), None)
    points = (colour.primaries, colour.transfer, colour.matrix, colour.is_full_range << 7)
    assert b"colrnclx" + pack(">HHHB", *points) in header
    with av.open(io.BytesIO(header)) as container:
        read: Any = container.streams.video[0].codec_context
        assert (read.color_primaries, read.color_trc, read.colorspace) == points[:3]
        assert (read.color_range == ColorRange.JPEG) == colour.is_full_range


def test_a_header_of_square_samples_and_untold_colours_says_nothing_of_them():
    header = init_segment(VIDEO, None)
    assert b"pasp" not in header and b"colr" not in header


def test_a_rate_that_a_sample_entry_cannot_hold_is_in_the_media_header():
    config = parse_config(aac_config(bytes.fromhex("1010")))
    assert isinstance(config, AudioConfig) and config.sample_rate == 96000
    header = init_segment(None, config)
    assert unpack(">I", content(header, b"mdhd")[12:16]) == (96000,)
    with av.open(io.BytesIO(header)) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 96000


def test_a_long_audio_configuration_has_its_length_in_more_than_seven_bits():
    record = ASC + bytes(200)
    with av.open(io.BytesIO(init_segment(None, AudioConfig(Codec.AAC, record, "mp4a.40.2", 48000, 2, 1024)))) as file:
        assert bytes(file.streams.audio[0].codec_context.extradata) == record


ROWS = st.lists(
    st.tuples(
        st.binary(max_size=20),
        st.integers(0, 2**32 - 1),
        st.sampled_from([SYNC, NO_SYNC]),
        st.integers(-(2**31), 2**31 - 1),
    ),
    min_size=1,
    max_size=8,
)


@given(ROWS, ROWS, st.integers(0, 2**63), st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_a_segment_says_of_each_sample_what_it_was_told(first, second, base, sequence):
    runs = [
        TrackRun(VIDEO_TRACK, base, *zip(*first, strict=True)),
        TrackRun(AUDIO_TRACK, base // 2, *zip(*second, strict=True)),
    ]
    data = media_segment(sequence, runs)
    assert [kind for kind in kinds(data) if kind != "traf"] == [
        "styp",
        "moof",
        "mfhd",
        *["tfhd", "tfdt", "trun"] * 2,
        "mdat",
    ]
    assert unpack(">I", content(data, b"mfhd")[4:]) == (sequence % 2**32,)
    found = samples(data)
    for run, rows in zip(runs, (first, second), strict=True):
        dts, expected = run.base, []
        for sample, duration, flags, offset in rows:
            expected.append(Read(dts, duration, offset, flags == SYNC, sample))
            dts += duration
        assert found[run.track] == expected


def test_boxes_cover_a_segment_to_its_last_byte():
    data = media_segment(1, [TrackRun(AUDIO_TRACK, 0, [memoryview(b"abc")], [1024], [SYNC])])
    assert max(end for _, _, end in boxes(data)) == len(data)

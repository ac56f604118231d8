from __future__ import annotations

import io
from typing import Any

import av
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.codecs import AudioConfig, VideoConfig, parse_config, samples_in, sized
from livestream.media.errors import MediaError, OversizedPicture, UnsupportedCodec
from livestream.media.flv import aac_config, avc_config
from livestream.media.pictures import PictureFormat
from livestream.model.frames import Codec, Frame, Track
from tests.media.encoded import broadcast, frames
from tests.media.parameter_sets import av1_header, avc_record, h264_sps, hevc_record, hevc_sps

ENCODERS = {"libx264": "aac", "libx265": None, "libsvtav1": None, "libvpx-vp9": "libopus"}


def config(codec: Codec, record: bytes) -> Any:
    return parse_config(Frame(codec, 0, record, 0, is_config=True))


def encoded(video: str | None, audio: str | None = None, **options) -> dict[Track, Any]:
    found = frames(broadcast(video, audio, seconds=0.4, **options))
    return {frame.track: parse_config(frame) for frame in found if frame.is_config}


def records() -> list[tuple[Codec, bytes]]:
    return [
        (frame.codec, bytes(frame.data))
        for video, audio in ENCODERS.items()
        for frame in frames(broadcast(video, audio, seconds=0.4))
        if frame.is_config
    ]


@pytest.mark.parametrize(
    ("video", "name"), [("libx264", "avc1.42c0"), ("libx265", "hvc1.1.6.L"), ("libsvtav1", "av01.0.00M.08")]
)
@pytest.mark.parametrize("size", [(160, 96), (226, 130)])
def test_a_size_and_a_name_are_read_from_what_an_encoder_wrote(video, name, size):
    found = encoded(video, size=size)[Track.VIDEO]
    assert isinstance(found, VideoConfig)
    assert (found.width, found.height) == size
    assert found.codec_string.startswith(name)


def test_vp9_says_its_size_in_its_key_frames():
    found = encoded("libvpx-vp9", size=(226, 130))[Track.VIDEO]
    key, other = frames(broadcast("libvpx-vp9", None, size=(226, 130), seconds=0.4))[1:3]
    assert isinstance(found, VideoConfig) and found.codec_string == "vp09.00.10.08"
    assert sized(found, other) == found
    assert (sized(found, key).width, sized(found, key).height) == (226, 130)
    assert sized(found, key) == evolve(found, pictures=PictureFormat(226, 130, 226, 130))
    with pytest.raises(MediaError):
        sized(found, evolve(key, body=key.body[:5] + bytes(30)))


@pytest.mark.parametrize(
    "record",
    ["0100000004 1f 82", "0100000000 75 82", "0100000000 1f 42"],
    ids=["profile 4", "level 11.7", "4 bits"],
)
def test_a_vp9_record_that_cannot_be_named_is_refused(record):
    with pytest.raises(MediaError):
        config(Codec.VP9, bytes.fromhex(record) + bytes(5))


def avc_1080() -> bytes:
    first = frames(broadcast("libx264", None, seconds=0.04, size=(1920, 1080), preset="superfast"))[0]
    return bytes(first.data)


def test_a_height_that_is_cropped_is_the_one_that_is_shown():
    found = config(Codec.H264, avc_1080())
    assert isinstance(found, VideoConfig)
    assert (found.width, found.height, found.codec_string) == (1920, 1080, "avc1.640028")
    assert _avc_of(1920, 1080, fields=2) == (1920, 1080)


def test_ffmpeg_reads_the_same_sizes():
    for video in ENCODERS:
        with av.open(io.BytesIO(broadcast(video, None, seconds=0.4, size=(226, 130)))) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == (226, 130)


@pytest.mark.parametrize(
    ("record", "name", "rate", "channels", "samples"),
    [
        ("1190", "mp4a.40.2", 48000, 2, 1024),
        ("1210", "mp4a.40.2", 44100, 2, 1024),
        ("1388", "mp4a.40.2", 22050, 1, 1024),
        ("119056e500", "mp4a.40.2", 48000, 2, 1024),
        ("2b920800", "mp4a.40.5", 22050, 2, 1024),
        ("eb098800", "mp4a.40.29", 24000, 1, 1024),
        ("1194", "mp4a.40.2", 48000, 2, 960),
        ("17805dc010", "mp4a.40.2", 48000, 2, 1024),
    ],
)
def test_an_audio_specific_config_is_read(record, name, rate, channels, samples):
    found = parse_config(aac_config(bytes.fromhex(record)))
    assert found == AudioConfig(Codec.AAC, bytes.fromhex(record), name, rate, channels, samples)


@pytest.mark.parametrize(
    "record", ["11", "1680", "1700", "1780000010", "1180", "11f8", "f8e0", "8988"],
    ids=["short", "rate 13", "rate 14", "rate 0 spelt out", "no channels", "channels 15", "type 39", "type 17"],
)  # fmt: skip
def test_an_audio_specific_config_that_cannot_be_served_is_an_error_of_the_audio_alone(record):
    with pytest.raises(MediaError) as error:
        parse_config(aac_config(bytes.fromhex(record)))
    assert not isinstance(error.value, UnsupportedCodec)


@pytest.mark.parametrize("size", [(4098, 16), (4096, 2306), (16384, 16384), (2400, 2400)])
def test_a_picture_too_large_to_decode_is_refused(size):
    assert _avc_of(64, 4096) == (64, 4096)
    with pytest.raises(OversizedPicture, match=f"{size[0]}x{size[1]}"):
        _avc_of(*size)


BOMB, SMALL = (8192, 8192), (320, 180)
AVC_BOMB = h264_sps(*BOMB, shown=SMALL)
HEVC_BOMB = hevc_sps(*BOMB, SMALL)


@pytest.mark.parametrize(
    ("codec", "record"),
    [
        (Codec.H264, avc_record(AVC_BOMB)),
        (Codec.H264, avc_record(h264_sps(*SMALL), AVC_BOMB)),
        (Codec.H264, avc_record(h264_sps(*SMALL), pps=AVC_BOMB)),
        (Codec.HEVC, hevc_record(HEVC_BOMB)),
        (Codec.HEVC, hevc_record(hevc_sps(*SMALL, SMALL), HEVC_BOMB)),
    ],
    ids=["H.264", "its second set", "among its picture sets", "HEVC", "its second set in HEVC"],
)
def test_a_picture_that_is_cropped_counts_as_it_is_coded(codec, record):
    with pytest.raises(OversizedPicture, match="320x180, coded as 8192x8192, cannot be served; 4096x2304 at most"):
        config(codec, record)


def test_av1_counts_by_its_largest_picture():
    assert config(Codec.AV1, b"\x81\0\0\0" + av1_header(4096, 2304)).width == 4096
    with pytest.raises(OversizedPicture, match="a picture of 8192x8192 cannot be served"):
        config(Codec.AV1, b"\x81\0\0\0" + av1_header(8192, 8192))


@pytest.mark.parametrize("video", ["libx264", "libx265"])
def test_what_a_decoder_makes_room_for_is_read_from_what_an_encoder_wrote(video):
    pictures = encoded(video, size=(226, 130))[Track.VIDEO].pictures
    assert (pictures.width, pictures.height, pictures.depth, pictures.chroma) == (226, 130, 8, 1)
    assert (pictures.coded_width, pictures.coded_height) == (240, 144)
    assert 1 <= pictures.references <= 4


def test_a_record_of_several_parameter_sets_has_room_for_each_and_shows_the_first():
    pictures = config(Codec.H264, avc_record(h264_sps(640, 360), h264_sps(480, 720, references=5))).pictures
    assert pictures == PictureFormat(640, 360, 480, 720, references=5)


@pytest.mark.parametrize(
    ("codec", "record", "words"),
    [
        (Codec.H264, avc_record(h264_sps(*SMALL, references=17)), "17 reference frames"),
        (Codec.H264, avc_record(h264_sps(*SMALL, depth=14)), "14 bits"),
        (Codec.HEVC, hevc_record(hevc_sps(*SMALL, SMALL, references=17)), "17 reference frames"),
        (Codec.HEVC, hevc_record(hevc_sps(*SMALL, SMALL, depth=16)), "16 bits"),
    ],
)
def test_more_reference_frames_or_bits_than_are_decoded_are_refused(codec, record, words):
    with pytest.raises(OversizedPicture, match=words):
        config(codec, record)


def test_as_many_reference_frames_and_bits_as_decoders_know_are_served():
    assert config(Codec.H264, avc_record(h264_sps(*SMALL, references=16, depth=10))).pictures.depth == 10
    assert config(Codec.HEVC, hevc_record(hevc_sps(*SMALL, SMALL, references=16, depth=12))).pictures.references == 16


def test_a_record_of_more_parameter_sets_than_have_numbers_is_an_error():
    with pytest.raises(MediaError, match="more than 32"):
        config(Codec.HEVC, hevc_record(*[hevc_sps(*SMALL, SMALL)] * 33))


def test_a_crop_larger_than_the_picture_is_refused():
    with pytest.raises(MediaError):
        _avc_of(0, 16)


def _avc_of(width: int, height: int, fields: int = 1) -> tuple[int, int]:
    """Read a record that claims a size, in frames or in fields; what is over a multiple of 16 is cropped."""
    found = config(Codec.H264, avc_record(h264_sps(width, height, fields=fields)))
    assert isinstance(found, VideoConfig)
    return found.width + width % 2, found.height


@pytest.mark.parametrize(
    "change",
    [(0, b"\2"), (4, b"\xfd"), (5, b"\xe0"), (5, b"\xff"), (6, b"\xff\xff"), (8, b"\x68"), (-10, b"\1"), (-11, b"\0")],
)
def test_an_avc_configuration_that_does_not_make_sense_is_an_error(change):
    at, new = change
    record = bytearray(avc_1080())
    record[at : at + len(new)] = new
    with pytest.raises(MediaError):
        parse_config(avc_config(bytes(record)))


def test_a_configuration_cut_short_at_any_byte_is_an_error_or_says_less():
    for codec, record in records():
        whole = config(codec, record)
        for end in range(1, len(record)):
            try:
                assert evolve(config(codec, record[:end]), record=record).codec is whole.codec
            except MediaError:
                continue
            assert end > 1


@given(st.sampled_from(Codec), st.integers(0, 7), st.binary(max_size=64), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_any_configuration_is_read_or_an_error(codec, which, noise, at):
    found = records()
    genuine = found[which % len(found)][1]
    for record in (noise, genuine[:at] + noise, genuine[:at] + noise + genuine[at + len(noise) :]):
        try:
            read = config(codec, record)
        except MediaError:
            continue
        assert not isinstance(read, VideoConfig) or max(read.width, read.height) <= 4096
        assert not isinstance(read, AudioConfig) or 7350 <= read.sample_rate <= 96000


@pytest.mark.parametrize(
    ("packet", "samples"),
    [("78", 960), ("f8", 960), ("e0", 120), ("08", 960), ("18", 2880), ("60", 480), ("f9", 1920), ("fb03", 2880),
     ("ff", 960), ("1b3f", 5760)],
)  # fmt: skip
def test_an_opus_packet_says_how_long_it_is(packet, samples):
    opus = config(Codec.OPUS, b"OpusHead\1\2" + bytes(8) + b"\0")
    assert isinstance(opus, AudioConfig)
    assert samples_in(opus, memoryview(bytes.fromhex(packet))) == samples
    aac = parse_config(aac_config(b"\x11\x90"))
    assert isinstance(aac, AudioConfig) and samples_in(aac, memoryview(b"\x21")) == 1024


@pytest.mark.parametrize("change", [(0, b"X"), (8, b"\x10"), (9, b"\0"), (9, b"\3"), (18, b"\1")])
def test_an_opus_header_that_does_not_make_sense_is_an_error(change):
    head = bytearray(b"OpusHead\1\2" + bytes(8) + b"\0")
    head[change[0]] = change[1][0]
    with pytest.raises(MediaError):
        config(Codec.OPUS, bytes(head))

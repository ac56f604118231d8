from __future__ import annotations

import io

import av
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livestream.media import flv
from livestream.media.errors import MediaError, UnsupportedCodec
from livestream.media.left_out import NotServed, Reason
from livestream.model.frames import Codec, Frame, Track
from tests.media.encoded import broadcast, frames, tags

NAL = b"\0\0\0\3abc"
"""A sound NAL unit behind its length."""


def enhanced(kind: int, packet: int, rest: bytes) -> bytes:
    return bytes([0x80 | kind << 4 | packet]) + rest


def summary(frame: Frame | None) -> tuple[Codec, int, bool, bool, bytes]:
    assert frame is not None
    return frame.codec, frame.cts_ms, frame.is_key, frame.is_config, bytes(frame.data)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x17\0\0\0\0record", (Codec.H264, 0, True, True, b"record")),
        (b"\x17\1\0\0\x50" + NAL, (Codec.H264, 80, True, False, NAL)),
        (b"\x27\1\xff\xff\xd8" + NAL, (Codec.H264, -40, False, False, NAL)),
        (b"\x1c\1\0\0\0" + NAL, (Codec.HEVC, 0, True, False, NAL)),
        (enhanced(1, 0, b"hvc1record"), (Codec.HEVC, 0, True, True, b"record")),
        (enhanced(2, 1, b"hvc1\0\0\x28" + NAL), (Codec.HEVC, 40, False, False, NAL)),
        (enhanced(2, 3, b"hvc1" + NAL), (Codec.HEVC, 0, False, False, NAL)),
        (enhanced(1, 1, b"avc1\0\0\x28" + NAL), (Codec.H264, 40, True, False, NAL)),
        (enhanced(1, 1, b"av01units"), (Codec.AV1, 0, True, False, b"units")),
        (enhanced(2, 1, b"vp09units"), (Codec.VP9, 0, False, False, b"units")),
        (enhanced(1, 7, b"\2abc\1av01units"), (Codec.AV1, 0, True, False, b"units")),
        (enhanced(1, 7, b"\xff\1\x00" + bytes(257) + b"\3av01units"), (Codec.AV1, 0, True, False, b"units")),
        (enhanced(1, 6, b"\1av01\0units"), (Codec.AV1, 0, True, False, b"units")),
        (enhanced(1, 6, b"\x11av01\1\0\0\1x\0\0\0\5unitsand more"), (Codec.AV1, 0, True, False, b"units")),
        (enhanced(1, 6, b"\x21vp08\1\0\0\1xav01\0\0\0\5units"), (Codec.AV1, 0, True, False, b"units")),
    ],
)
def test_a_video_body_is_read_whatever_its_layout(body, expected):
    assert summary(flv.parse_video(7, body)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xaf\0record", (Codec.AAC, 0, True, True, b"record")),
        (b"\xaf\1data", (Codec.AAC, 0, True, False, b"data")),
        (b"\x90Opusrecord", (Codec.OPUS, 0, True, True, b"record")),
        (b"\x91Opusdata", (Codec.OPUS, 0, True, False, b"data")),
        (b"\x91mp4adata", (Codec.AAC, 0, True, False, b"data")),
        (b"\x95\1mp4a\0data", (Codec.AAC, 0, True, False, b"data")),
        (b"\x97\0a\1mp4adata", (Codec.AAC, 0, True, False, b"data")),
    ],
)
def test_an_audio_body_is_read_whatever_its_layout(body, expected):
    assert summary(flv.parse_audio(7, body)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"\x17\2\0\0\0",
        b"\x57\0",
        enhanced(1, 2, b"hvc1"),
        enhanced(1, 4, b"hvc1metadata"),
        enhanced(5, 1, b"\1"),
        enhanced(1, 9, b"whatever comes next"),
    ],
)
def test_a_video_body_without_media_for_us_is_passed_over(body):
    assert flv.parse_video(0, body) is None


@pytest.mark.parametrize("body", [b"\xaf\2", b"\xaf\1", b"\x92Opus", b"\x94\1\2"])
def test_an_audio_body_without_media_for_us_is_passed_over(body):
    assert flv.parse_audio(0, body) is None


@pytest.mark.parametrize(
    ("parse", "body", "track"),
    [
        (flv.parse_video, enhanced(1, 6, b"\1av01\1units of another track"), 1),
        (flv.parse_video, enhanced(1, 6, b"\x11xxxx\2\0\0\1x"), 2),
        (flv.parse_audio, b"\x95\1mp4a\5data", 5),
    ],
)
def test_another_track_than_the_first_is_named_as_not_served(parse, body, track):
    with pytest.raises(NotServed, match=f"track {track} ") as error:
        parse(0, body)
    assert error.value.reason is Reason.FURTHER_TRACK


def test_a_further_track_beside_the_first_is_found():
    both = enhanced(1, 6, b"\x11av01\0\0\0\1a\3\0\0\1b")
    assert (flv.further_track(both), flv.further_track(enhanced(1, 6, b"\1av01\0units"))) == (3, None)
    assert both[0] in flv.MULTITRACK_HEADS[Track.VIDEO] and b"\xaf"[0] not in flv.MULTITRACK_HEADS[Track.AUDIO]
    assert flv.further_track(enhanced(1, 7, b"\0x\1av01units")) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x17",
        b"\x17\1\0\0",
        b"\x17\1\0\0\0",
        b"\x17\1\0\0\0\0\0\0\0",
        b"\x17\1\0\0\0\xff\xff\xff\xffabc",
        enhanced(1, 1, b"hvc1\0\0"),
        enhanced(1, 1, b"av01"),
        enhanced(1, 7, b"\xff"),
        enhanced(1, 6, b"\x11av01\0\0\0\x99units"),
        enhanced(1, 6, b"\6av01\0units"),
    ],
)
def test_a_video_body_that_is_cut_short_is_refused(body):
    with pytest.raises(MediaError) as error:
        flv.parse_video(0, body)
    assert not isinstance(error.value, UnsupportedCodec)


@pytest.mark.parametrize("body", [b"", b"\xaf", b"\x91Opus", b"\x97"])
def test_an_audio_body_that_is_cut_short_is_refused(body):
    with pytest.raises(MediaError) as error:
        flv.parse_audio(0, body)
    assert not isinstance(error.value, UnsupportedCodec)


@pytest.mark.parametrize(
    ("parse", "body", "words"),
    [
        (flv.parse_video, b"\x12data", "Sorenson H.263"),
        (flv.parse_video, b"\x18data", "id 8"),
        (flv.parse_video, enhanced(1, 0, b"vp08"), "'vp08'"),
        (flv.parse_video, enhanced(1, 0, b"Opus"), "use H.264, HEVC, AV1 or VP9"),
        (flv.parse_audio, b"\x2fdata", "MP3"),
        (flv.parse_audio, b"\xdfdata", "id 13"),
        (flv.parse_audio, b"\x90ac-3", "'ac-3'"),
        (flv.parse_audio, b"\x91\xff\xfe\0\1", "use AAC or Opus"),
    ],
)
def test_what_cannot_be_served_is_refused_in_the_broadcasters_words(parse, body, words):
    with pytest.raises(UnsupportedCodec, match=words):
        parse(0, body)


@pytest.mark.parametrize("told", [8_388_607, -8_388_608])
def test_a_composition_time_is_held_to_what_an_encoder_can_mean(told):
    frame = flv.parse_video(0, b"\x27\1" + told.to_bytes(3, "big", signed=True) + NAL)
    assert frame is not None and frame.cts_ms in (flv.MIN_COMPOSITION_MS, flv.MAX_COMPOSITION_MS)


def test_start_codes_where_lengths_belong_are_mended_and_the_body_with_them():
    frame = flv.parse_video(0, b"\x17\1\0\0\0" + b"\0\0\0\1\x65key")
    assert frame is not None and frame.body == b"\x17\1\0\0\0" + b"\0\0\0\4\x65key"


@given(st.integers(0, 255), st.binary(max_size=40))
@example(0xF7, b"\0\0\7" * 12)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_frame_or_nothing_or_an_error(first, rest):
    for parse in (flv.parse_video, flv.parse_audio):
        try:
            frame = parse(0, bytes([first]) + rest)
        except MediaError:
            continue
        assert frame is None or len(frame.data) > 0


@given(st.integers(0, 2**33), st.integers(-3000, 3000), st.booleans())
@settings(max_examples=50, deadline=None)
def test_what_is_built_is_what_is_read(dts_ms, cts_ms, is_key):
    for built in (flv.avc_frame(dts_ms, cts_ms, is_key, NAL), flv.avc_config(NAL, dts_ms)):
        assert flv.parse_video(dts_ms, built.body) == built
    for built in (flv.aac_frame(dts_ms, NAL), flv.aac_config(NAL, dts_ms)):
        assert flv.parse_audio(dts_ms, built.body) == built


@pytest.mark.parametrize("timestamp_ms", [0, (1 << 24) - 1, 1 << 24, (1 << 32) - 1])
def test_a_tag_is_as_the_file_format_has_it(timestamp_ms):
    tag = flv.tag(flv.VIDEO, timestamp_ms + (1 << 32), b"body")
    assert (tag[0], tag[1:4], tag[8:11], tag[11:15]) == (9, b"\0\0\4", b"\0\0\0", b"body")
    assert int.from_bytes(tag[4:7], "big") | tag[7] << 24 == timestamp_ms
    assert int.from_bytes(tag[15:], "big") == len(tag) - 4


def test_what_an_encoder_muxed_is_read_and_written_again_to_the_byte():
    file = broadcast(b_frames=2)
    written = [flv.file_header(True, True)]
    for frame, tag in zip(frames(file), [tag for tag in tags(file) if tag.frame() is not None], strict=True):
        written.append(flv.tag(tag.type_id, frame.dts_ms, frame.body))
    with av.open(io.BytesIO(b"".join(written)), "r") as again, av.open(io.BytesIO(file), "r") as first:
        packets = [[(p.dts, p.pts, p.is_keyframe, bytes(p)) for p in c.demux() if p.size] for c in (again, first)]
    assert packets[0] == packets[1]
    assert len(packets[0]) == sum(not frame.is_config for frame in frames(file))

"""Configurations that are incomplete, missing, in another form, or only within the pictures."""

from __future__ import annotations

import pytest

from livestream.media.codecs import AudioConfig, VideoConfig, parse_config, with_standard_layout
from livestream.media.errors import MediaError
from livestream.media.flv import AUDIO as AUDIO_TAG
from livestream.media.flv import VIDEO as VIDEO_TAG
from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.media.left_out import Reason
from livestream.media.source_reader import SourceReader
from livestream.model.frames import Codec, Frame, Track
from tests.media.encoded import Tag, broadcast, decode, tags
from tests.media.parameter_sets import avc_record, h264_sps, prefixed
from tests.packaging.broadcasts import ASC, RECORD

SMALL, LARGE, PPS = h264_sps(320, 180), h264_sps(640, 360), b"\x68\xce\x3c\x80"
KEY = b"\x65\x88\x84\x00"


def read(reader: SourceReader, messages: list[Tag]) -> list[Frame]:
    return [f for each in messages for f in reader.read(each.type_id, each.timestamp_ms, each.body, 0.0)]


def video(*frames: Frame) -> list[Tag]:
    return [Tag(VIDEO_TAG, 40 * number, frame.body) for number, frame in enumerate(frames)]


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    configs = [parse_config(frame) for frame in frames if frame.is_config]
    return [(config.width, config.height) for config in configs if isinstance(config, VideoConfig)]


def key(*units: bytes) -> Frame:
    return avc_frame(0, 0, True, prefixed(*units, KEY))


def test_another_size_in_the_pictures_makes_a_configuration_and_a_repetition_does_not():
    reader = SourceReader()
    frames = read(reader, video(avc_config(avc_record(SMALL)), key(SMALL, PPS), key(LARGE, PPS), key(LARGE, PPS)))
    assert sizes(frames) == [(320, 180), (640, 360)]
    assert [frame.is_config for frame in frames] == [True, False, True, False, False]
    assert bytes(frames[2].data) == avc_record(LARGE, pps=PPS)


def test_a_header_that_is_repeated_does_not_change_what_the_pictures_say():
    """Some encoders send their first one before each key frame, whatever has become of the pictures."""
    header = avc_config(avc_record(SMALL))
    messages = [header, key(SMALL, PPS), *[header, key(LARGE, PPS)] * 4]
    assert sizes(read(SourceReader(), video(*messages)))[-1] == (640, 360)
    configs = [frame for frame in read(SourceReader(), video(*messages)) if frame.is_config]
    assert [bytes(frame.data) for frame in configs][-1] == avc_record(LARGE, pps=PPS)
    assert sizes(configs).count((640, 360)) == 1


def test_a_header_that_is_repeated_before_pictures_without_their_own_is_meant():
    header, plain = avc_config(avc_record(SMALL)), avc_frame(0, 0, True, prefixed(KEY))
    frames = read(SourceReader(), video(header, key(SMALL, PPS), key(LARGE, PPS), header, plain, header, plain))
    assert list(dict.fromkeys(sizes(frames))) == [(320, 180), (640, 360)] and sizes(frames)[-1] == (320, 180)
    assert [frame.is_config for frame in frames[:6]] == [True, False, True, False, True, False]


@pytest.mark.parametrize(
    "vui",
    [
        "1" + "1" + "00000010" + "0" * 7,
        "1" + "0" + "0" + "1" + "101" + "0" + "1" + "00001001" + "00010000" + "00001001" + "0" * 6,
    ],
)
def test_another_shape_or_colour_of_the_samples_makes_a_configuration(vui):
    """A sample aspect of 12:11; BT.2020 with PQ."""
    other = h264_sps(320, 180, vui=vui)
    frames = read(
        SourceReader(), video(avc_config(avc_record(SMALL)), key(SMALL, PPS), key(other, PPS), key(other, PPS))
    )
    assert [frame.is_config for frame in frames] == [True, False, True, False, False]


@pytest.mark.parametrize("record", [avc_record(SMALL)[:-7] + b"\x00", b"\x01\x42\xc0\x1e\xff\xe0\x00", None])
def test_a_record_without_parameter_sets_and_a_missing_one_are_made_from_a_key_frame(record):
    reader = SourceReader()
    begins = [] if record is None else [avc_config(record)]
    frames = read(reader, video(*begins, avc_frame(0, 0, False, prefixed(KEY)), key(SMALL, PPS), key(SMALL, PPS)))
    assert [frame.is_config for frame in frames] == [True, False, False]
    assert bytes(frames[0].data) == avc_record(SMALL, pps=PPS)
    assert not reader.left_out


def test_frames_whose_configuration_never_comes_are_left_out_and_that_is_noted_once():
    reader = SourceReader()
    for second in range(9):
        body = avc_frame(0, 0, True, prefixed(KEY)).body
        assert not reader.read(VIDEO_TAG, 1_000 * second, body, 1_700_000_000.0 + second)
    assert [each.reason for each in reader.left_out] == [Reason.NO_CONFIGURATION]


@pytest.mark.parametrize("nal_bytes", [1, 2])
def test_short_nal_lengths_become_lengths_of_four_bytes(nal_bytes):
    record = avc_record(SMALL)
    short = record[:4] + bytes([0xFC | nal_bytes - 1]) + record[5:]
    units = b"".join(len(unit).to_bytes(nal_bytes, "big") + unit for unit in (SMALL, KEY))
    frames = read(SourceReader(), video(avc_config(short), avc_frame(0, 0, True, units)))
    assert bytes(frames[0].data) == record
    assert bytes(frames[1].data) == prefixed(SMALL, KEY)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_broadcast_without_its_sequence_header_plays_all_the_same(codec):
    """The parameter sets are put into the key frames instead."""
    messages = list(tags(broadcast(codec, None)))
    config = next(frame for each in messages if (frame := each.frame()) is not None and frame.is_config)
    units = prefixed(*_record_units(config))
    moved = []
    for each in messages:
        frame = each.frame()
        if frame is not None and not frame.is_config and frame.is_key:
            moved.append(Tag(9, each.timestamp_ms, each.body[: frame.data_offset] + units + bytes(frame.data)))
        elif frame is not None and not frame.is_config:
            moved.append(each)
    frames = read(SourceReader(), moved)
    assert frames[0].is_config and sum(frame.is_config for frame in frames) == 1
    parsed, expected = parse_config(frames[0]), parse_config(config)
    assert isinstance(parsed, VideoConfig) and isinstance(expected, VideoConfig)
    assert (parsed.width, parsed.height, parsed.codec_string) == (
        expected.width, expected.height, expected.codec_string,
    )  # fmt: skip


def _record_units(config: Frame) -> list[bytes]:
    record, units = bytes(config.data), []
    if config.codec is Codec.H264:
        at = 5
        for mask in (31, 255):
            count, at = record[at] & mask, at + 1
            for _ in range(count):
                size, at = int.from_bytes(record[at : at + 2], "big"), at + 2
                units.append(record[at : at + size])
                at += size
        return units
    at = 23
    for _ in range(record[22]):
        count, at = int.from_bytes(record[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size, at = int.from_bytes(record[at : at + 2], "big"), at + 2
            units.append(record[at : at + size])
            at += size
    return [unit for unit in units if unit[0] >> 1 & 63 in (32, 33, 34)]


VP9_CONFIG = Frame(Codec.VP9, 0, b"\x90vp09" + bytes([1, 0, 0, 0, 0, 31, 0x82, 2, 2, 2, 0, 0]), 5, is_key=True)


def vp9(width: int, height: int) -> Frame:
    size = (width - 1) << 20 | (height - 1) << 4
    head = b"\x82\x49\x83\x42" + (1 << 36 | size).to_bytes(5, "big")
    return Frame(Codec.VP9, 0, b"\x91vp09" + head + bytes(20), 5, is_key=True)


@pytest.mark.parametrize("stray", [False, True])
def test_another_size_of_vp9_is_told(stray):
    """Also at a key frame with a timestamp that is wrong, which comes out with the next one."""
    reader = SourceReader()
    messages = video(VP9_CONFIG, *[vp9(320, 180)] * 5, *[vp9(640, 360)] * 5)
    if stray:
        messages[6] = Tag(VIDEO_TAG, 90_000, messages[6].body)
    frames = read(reader, messages)
    assert len(frames) == 11 and frames[6] is reader.changed_at


# Enhanced RTMP.


def test_avc1_and_mp4a_of_enhanced_rtmp_become_legacy_tags():
    record, data = avc_record(SMALL), prefixed(KEY)
    messages = [
        Tag(9, 0, b"\x90avc1" + record),
        Tag(9, 0, b"\x91avc1" + b"\x00\x00\x50" + data),
        Tag(9, 40, b"\xa3avc1" + data),
        Tag(8, 0, b"\x90mp4a" + ASC),
        Tag(8, 0, b"\x91mp4a" + b"\x21\x10"),
    ]
    legacy = [avc_config(record), avc_frame(0, 80, True, data), avc_frame(0, 0, False, data), aac_config(ASC)]
    frames = read(SourceReader(), messages)
    assert [frame.body for frame in frames] == [each.body for each in [*legacy, aac_frame(0, b"\x21\x10")]]
    assert [frame.data for frame in frames] == [each.data for each in [*legacy, aac_frame(0, b"\x21\x10")]]


@pytest.mark.parametrize(("tag", "body"), [(9, b"\x96\x01avc1\x01rest"), (8, b"\x95\x01mp4a\x01rest")])
def test_a_further_track_is_left_out_and_noted(tag, body):
    reader = SourceReader()
    assert read(reader, [Tag(tag, 0, body)] * 3) == []
    track = Track.VIDEO if tag == 9 else Track.AUDIO
    assert {(found.track, found.reason) for found in reader.left_out} == {(track, Reason.FURTHER_TRACK)}


# Sound.


def adts(*frames: bytes, channels: int = 2) -> bytes:
    """AAC-LC at 48 kHz."""
    out = b""
    for data in frames:
        size = len(data) + 7
        out += bytes([0xFF, 0xF1, 0x4C | channels >> 2, (channels & 3) << 6 | size >> 11, size >> 3 & 255])
        out += bytes([(size & 7) << 5 | 0x1F, 0xFC]) + data
    return out


@pytest.mark.parametrize("with_config", [True, False])
def test_adts_is_unwrapped(with_config):
    messages = [Tag(AUDIO_TAG, 0, aac_config(b"\x11\x90").body)] if with_config else []
    messages += [Tag(AUDIO_TAG, 40 * n, b"\xaf\x01" + adts(b"\x21\x10", b"\x21\x11\x12")) for n in range(3)]
    frames = read(SourceReader(), messages)
    assert bytes(frames[0].data) == b"\x11\x90" and frames[0].is_config
    assert [bytes(frame.data) for frame in frames[1:]] == [b"\x21\x10", b"\x21\x11\x12"] * 3
    assert [frame.dts_ms - frames[1].dts_ms for frame in frames[1:]] == [0, 21, 40, 61, 80, 101]


@pytest.mark.parametrize(
    "data", [adts(b"abc") + b"\xff\xf1", adts(b"abc" * 9)[:20], adts(b"abc") + b"junk", adts(*[b"a"] * 20)]
)
def test_malformed_adts_is_refused(data):
    with pytest.raises(MediaError):
        read(SourceReader(), [Tag(AUDIO_TAG, 0, b"\xaf\x01" + data)])


def program(front: str, side: str, back: str, lfe: int) -> bytes:
    """An AudioSpecificConfig of AAC-LC at 48 kHz with a program config element."""
    bits = f"{2:05b}{3:04b}{0:04b}000" + f"{0:04b}{1:02b}{3:04b}"
    bits += "".join(f"{len(part):04b}" for part in (front, side, back)) + f"{lfe:02b}{0:03b}{0:04b}000"
    for tag, element in enumerate(front + side + back):
        bits += f"{element == 'c':b}{tag:04b}"
    bits += "".join(f"{tag:04b}" for tag in range(lfe))
    bits += "0" * (-len(bits) % 8) + "00000000"
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize(
    ("layout", "channels"),
    [(("sc", "c", "", 1), 6), (("sc", "", "c", 1), 6), (("c", "", "", 0), 2), (("s", "", "", 0), 1),
     (("sc", "c", "c", 1), 8), (("sc", "", "s", 0), 4)],
)  # fmt: skip
def test_channels_of_a_program_config_element_get_the_configuration_that_players_know(layout, channels):
    (frame,) = read(SourceReader(), [Tag(AUDIO_TAG, 0, aac_config(program(*layout)).body)])
    config = parse_config(frame)
    assert isinstance(config, AudioConfig) and config.channels == channels and len(config.record) == 2


@pytest.mark.parametrize("layout", [("c", "", "", 1), ("sc", "c", "s", 1)])
def test_channels_that_no_player_knows_are_left_out_and_noted(layout):
    reader = SourceReader()
    assert read(reader, [Tag(AUDIO_TAG, 0, aac_config(program(*layout)).body)]) == []
    assert read(reader, [Tag(AUDIO_TAG, 0, aac_frame(0, b"\x21").body)]) == []
    assert [each.reason for each in reader.left_out] == [Reason.CHANNEL_LAYOUT]


@pytest.mark.parametrize("record", [program("sc", "c", "", 1)[:4], b"\x11\x80", b"\x11"])
def test_a_program_config_element_that_is_cut_short_is_refused(record):
    with pytest.raises(MediaError):
        with_standard_layout(record)


def test_one_bad_tag_is_left_out_and_what_follows_is_not():
    reader = SourceReader()
    good = [
        Tag(AUDIO_TAG, 0, aac_config(ASC).body),
        *(Tag(AUDIO_TAG, 21 * n, aac_frame(0, b"\x21").body) for n in range(9)),
    ]
    frames = read(reader, [*good[:4], Tag(AUDIO_TAG, 70, b"\xff\x00\x00"), *good[4:]])
    assert len(frames) == len(good)
    video_frames = read(reader, [*video(avc_config(RECORD)), Tag(VIDEO_TAG, 0, b"\x22\x00\x00")])
    assert len(video_frames) == 1


def test_real_broadcasts_are_read_as_they_were_encoded():
    for codec, sound in (("libx264", "aac"), ("libx265", "aac"), ("libsvtav1", "libopus"), ("libvpx-vp9", "libopus")):
        file = broadcast(codec, sound, b_frames=2 if codec == "libx264" else 0)
        frames = read(SourceReader(), [each for each in tags(file) if each.type_id in (8, 9)])
        assert len([f for f in frames if f.track is Track.VIDEO and not f.is_config]) == len(decode(file).pictures)
        assert sum(frame.is_config for frame in frames) == 2


# Hostile input.


@pytest.mark.parametrize(
    "body",
    [
        b"\x96\x11avc1" + b"\x01\x00\x00\x00" * 1_000_000,
        b"\x95\x11mp4a" + b"\x01\x00\x00\x00" * 1_000_000,
        b"\x97" + b"\x00\x00\x07" * 1_300_000,
        b"\x17\x00\x00\x00\x00" + bytes(100_000),
    ],
    ids=["tracks of video", "tracks of audio", "modifiers", "record"],
)
def test_a_message_of_very_many_parts_is_refused_early(body):
    tag = AUDIO_TAG if body[0] == 0x95 else VIDEO_TAG
    with pytest.raises(MediaError, match=r"more than|bytes"):
        read(SourceReader(), [Tag(tag, 0, body)])


@pytest.mark.parametrize("size", [1_000_000, 40])
def test_empty_units_with_short_lengths_are_refused(size):
    record = avc_record(SMALL)
    short = record[:4] + b"\xfc" + record[5:]
    reader = SourceReader()
    read(reader, video(avc_config(short)))
    with pytest.raises(MediaError):
        read(reader, video(avc_frame(0, 0, False, bytes(size))))


@pytest.mark.parametrize("bad", [b"\x02" + avc_record(SMALL)[1:], avc_record(SMALL)[:6]])
def test_a_bad_configuration_does_not_end_a_track_that_has_a_good_one(bad):
    reader = SourceReader()
    frames = read(reader, video(avc_config(avc_record(SMALL)), key(), avc_config(bad), key(), key()))
    assert len([frame for frame in frames if not frame.is_config]) == 3
    sounds = [aac_config(ASC), aac_frame(0, b"\x21"), aac_config(b"\x11"), aac_frame(0, b"\x21")]
    assert len(read(reader, [Tag(AUDIO_TAG, 21 * n, each.body) for n, each in enumerate(sounds)])) == 3


def test_a_change_in_adts_headers_is_a_configuration():
    messages = [Tag(AUDIO_TAG, 40 * n, b"\xaf\x01" + adts(b"\x21", channels=2 if n < 3 else 1)) for n in range(6)]
    frames = read(SourceReader(), messages)
    assert [bytes(frame.data) for frame in frames if frame.is_config] == [b"\x11\x90", b"\x11\x88"]


def test_adts_of_an_unknown_layout_is_left_out_and_noted():
    reader = SourceReader()
    assert read(reader, [Tag(AUDIO_TAG, 0, b"\xaf\x01" + adts(b"\x21", channels=0))] * 2) == []
    assert {each.reason for each in reader.left_out} == {Reason.CHANNEL_LAYOUT}

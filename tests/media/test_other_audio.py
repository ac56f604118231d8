"""Audio that has to be converted: what a reader makes of its messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.media.errors import MediaError
from livestream.media.flv import MAX_RECORD_BYTES, aac_config, avc_config
from livestream.media.left_out import Reason
from livestream.media.other_audio import OtherAudio, other_audio, parse_other_audio
from livestream.media.source_reader import CONFIRMING, SourceReader
from livestream.model.frames import AUDIO, VIDEO, Codec, Frame
from tests.media.test_left_out import MP3, PICTURE, SOUND, UNKNOWN, Publisher
from tests.packaging.broadcasts import ASC, RECORD

A_LAW = b"\x72\xd5\xd5"
SURROUND_ASC = bytes.fromhex("118004c844002000c40d4c61766336322e32382e31303256e500")
"""That of libavcodec for 5.1(side): no channel configuration, and elements that none has."""


@pytest.fixture
def publisher() -> Publisher:
    return Publisher(SourceReader(converts_audio=True))


def converted(frames: list[Frame]) -> list[OtherAudio | bytes]:
    """What the frames describe, and the data of those that are no configuration."""
    assert all(frame.codec is Codec.OTHER_AUDIO for frame in frames)
    return [parse_other_audio(frame) if frame.is_config else bytes(frame.data) for frame in frames]


@pytest.mark.parametrize(
    ("body", "audio"),
    [
        (MP3, OtherAudio("mp3", 44_100, 2)),
        (b"\xe2\xff\xfb", OtherAudio("mp3", 8_000, 1)),
        (A_LAW, OtherAudio("pcm_alaw", 8_000, 1)),
        (b"\x82\xd5\xd5", OtherAudio("pcm_mulaw", 8_000, 1)),
        (b"\x3f\x00\x00", OtherAudio("pcm_s16le", 44_100, 2)),
        (b"\x04\x80\x80", OtherAudio("pcm_u8", 11_025, 1)),
        (b"\x1a\x00\x00", OtherAudio("adpcm_swf", 22_050, 1)),
        (b"\x42\x00\x00", OtherAudio("nellymoser", 16_000, 1)),
        (b"\x52\x00\x00", OtherAudio("nellymoser", 8_000, 1)),
        (b"\x6a\x00\x00", OtherAudio("nellymoser", 22_050, 1)),
        (b"\xb2\x00\x00", OtherAudio("speex", 16_000, 1)),
        (b"\x91ac-3\x0b\x77", OtherAudio("ac3")),
        (b"\x91ec-3\x0b\x77", OtherAudio("eac3")),
        (b"\x91.mp3\xff\xfb", OtherAudio("mp3")),
    ],
)
def test_every_format_is_described_before_its_first_frame(publisher: Publisher, body: bytes, audio: OtherAudio) -> None:
    data = body[5:] if body[0] == 0x91 else body[1:]
    assert converted(publisher.send(AUDIO, body, body)) == [audio, data, data]
    assert publisher.reasons == []


def test_a_sequence_header_belongs_to_the_description(publisher: Publisher) -> None:
    header, frame = b"\x90fLaCfLaCinfo", b"\x91fLaC\xff\xf8"
    audio = OtherAudio("flac", record=b"fLaCinfo")
    assert converted(publisher.send(AUDIO, header, frame, header, frame)) == [audio, b"\xff\xf8", b"\xff\xf8"]


def test_a_sequence_header_has_a_limit(publisher: Publisher) -> None:
    assert publisher.send(AUDIO, b"\x90fLaC" + bytes(MAX_RECORD_BYTES)) == []


def test_a_format_that_changes_is_described_again(publisher: Publisher) -> None:
    described = [each for each in converted(publisher.send(AUDIO, MP3, A_LAW, MP3)) if isinstance(each, OtherAudio)]
    assert [each.name for each in described] == ["mp3", "pcm_alaw", "mp3"]


def test_aac_with_channels_that_players_do_not_know_is_converted(publisher: Publisher) -> None:
    frames = publisher.send(AUDIO, aac_config(SURROUND_ASC).body, SOUND)
    assert converted(frames) == [OtherAudio("aac", record=SURROUND_ASC), b"\x21\x00"]


def test_a_configuration_that_can_be_carried_is_the_end_of_the_conversion(publisher: Publisher) -> None:
    publisher.send(AUDIO, aac_config(SURROUND_ASC).body, SOUND)
    frames = publisher.send(AUDIO, aac_config(ASC).body, SOUND)
    assert [frame.codec for frame in frames] == [Codec.AAC, Codec.AAC]


def test_single_messages_among_others_are_left_out(publisher: Publisher) -> None:
    frames = publisher.send(AUDIO, aac_config(ASC).body, SOUND, *[MP3, SOUND] * 3 * CONFIRMING)
    assert all(frame.codec is Codec.AAC for frame in frames) and len(frames) == 2 + 3 * CONFIRMING
    assert set(publisher.reasons) == {(AUDIO, Reason.CODEC)}
    publisher.reader.left_out.clear()
    frames = publisher.send(AUDIO, *[MP3] * CONFIRMING)
    assert converted(frames) == [OtherAudio("mp3", 44_100, 2), MP3[1:]]
    publisher.reader.left_out.clear()
    assert converted(publisher.send(AUDIO, SOUND, UNKNOWN, MP3)) == [MP3[1:]]
    assert publisher.reasons == [(AUDIO, Reason.CODEC)] * 2


ADTS = b"\xaf\x01" + bytes.fromhex("fff14c80013ffc21000000")[:9] + b""


def test_aac_with_its_own_headers_ends_the_conversion_and_single_others_do_not(publisher: Publisher) -> None:
    publisher.send(AUDIO, MP3)
    frames = publisher.send(AUDIO, ADTS, *[ADTS, MP3] * 2 * CONFIRMING)
    assert {frame.codec for frame in frames} == {Codec.AAC} and [frame.is_config for frame in frames].count(True) == 1
    assert len(frames) == 2 + 2 * CONFIRMING


def test_its_times_are_those_of_the_timeline(publisher: Publisher) -> None:
    frames = publisher.send(VIDEO, avc_config(RECORD).body, PICTURE)
    frames += publisher.send(AUDIO, MP3, MP3)
    assert [frame.dts_ms - frames[1].dts_ms for frame in frames if not frame.is_config] == [0, 40, 80]


def test_nothing_is_converted_where_nobody_does_it() -> None:
    publisher = Publisher()
    publisher.send(VIDEO, avc_config(RECORD).body, PICTURE)
    assert publisher.send(AUDIO, MP3, A_LAW, aac_config(SURROUND_ASC).body, SOUND) == []
    assert {reason for _, reason in publisher.reasons} == {Reason.CODEC, Reason.CHANNEL_LAYOUT}


@given(st.binary(max_size=40))
def test_any_tag_is_of_a_known_format_or_not(body: bytes) -> None:
    found = other_audio(body)
    if found is not None:
        assert parse_other_audio(found[0].config()) == found[0]


@pytest.mark.parametrize("body", [b"", b"\x03\x00", b"\x01\x00\x00\x00\x00\x00\xff"])
def test_a_malformed_description_is_an_error(body: bytes) -> None:
    with pytest.raises(MediaError):
        parse_other_audio(Frame(Codec.OTHER_AUDIO, 0, body, 0, is_config=True))

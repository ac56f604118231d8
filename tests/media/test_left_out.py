"""What a reader of a publisher's messages leaves out, and says why."""

from __future__ import annotations

import pytest
from attrs import define, field

from livestream.media.errors import OversizedPicture, UnsupportedCodec
from livestream.media.flv import AUDIO as AUDIO_TAG
from livestream.media.flv import VIDEO as VIDEO_TAG
from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.media.left_out import LeftOut, LeftOutList, Reason
from livestream.media.source_reader import CONFIGURED_WITHIN_S, CONFIRMING, SourceReader
from livestream.model.frames import AUDIO, VIDEO, Frame, Track
from tests.media.parameter_sets import avc_record, h264_sps
from tests.packaging.broadcasts import ASC, RECORD

PICTURE = avc_frame(0, 0, True, b"\x00\x00\x00\x04\x65\x88\x00\x00").body
SOUND = aac_frame(0, b"\x21\x00").body
MP3, UNKNOWN = b"\x2f\xff\xfb", b"\xff\x00\x00"
SECOND_TRACK = b"\x96\x01avc1\x01rest"
BOTH_TRACKS = b"\x96\x11avc1\x00\x00\x00\x09" + bytes(3) + b"\x00\x00\x00\x02\x65\x88" + b"\x01\x00\x00\x01x"


@define(eq=False)
class Publisher:
    """Sends a message every 40 ms."""

    reader: SourceReader = field(factory=SourceReader)
    time_ms: int = 0

    def send(self, track: Track, *bodies: bytes) -> list[Frame]:
        frames: list[Frame] = []
        for body in bodies:
            self.time_ms += 40
            tag = VIDEO_TAG if track is VIDEO else AUDIO_TAG
            frames += self.reader.read(tag, self.time_ms, body, self.time_ms / 1000)
        return frames

    @property
    def reasons(self) -> list[tuple[Track, Reason]]:
        return [(item.track, item.reason) for item in self.reader.left_out]


def test_one_message_of_an_unknown_codec_is_left_out_and_the_rest_is_read() -> None:
    for first in (aac_config(ASC).body, UNKNOWN):
        publisher = Publisher()
        frames = publisher.send(AUDIO, first, UNKNOWN, aac_config(ASC).body, SOUND, UNKNOWN, SOUND)
        assert len([frame for frame in frames if not frame.is_config]) == 2
        assert set(publisher.reasons) == {(AUDIO, Reason.CODEC)}


def test_a_track_that_was_served_once_is_left_out_when_it_changes_its_codec() -> None:
    publisher = Publisher()
    publisher.send(AUDIO, aac_config(ASC).body, *[MP3] * 100)
    assert publisher.reasons == [(AUDIO, Reason.CODEC)] * 100


def test_a_track_of_nothing_but_an_unsupported_codec_is_refused() -> None:
    publisher = Publisher()
    publisher.send(AUDIO, *[MP3] * (CONFIRMING - 1))
    with pytest.raises(UnsupportedCodec, match="MP3"):
        publisher.send(AUDIO, MP3)


def test_a_picture_that_is_too_large_is_refused_at_once() -> None:
    publisher = Publisher()
    publisher.send(VIDEO, avc_config(RECORD).body, PICTURE)
    with pytest.raises(OversizedPicture):
        publisher.send(VIDEO, avc_config(avc_record(h264_sps(8192, 8192))).body)


@pytest.mark.parametrize(
    "record",
    [RECORD[:-7] + b"\x00", RECORD[:4] + b"\xfd" + RECORD[5:], RECORD[:9]],
    ids=["without a PPS", "lengths of two bytes", "cut short"],
)
def test_a_configuration_that_cannot_be_used_is_named_and_its_pictures_are_not(record: bytes) -> None:
    publisher = Publisher()
    assert publisher.send(VIDEO, avc_config(record).body, *[PICTURE] * 200) == []
    assert publisher.reasons == [(VIDEO, Reason.CONFIGURATION)]
    assert publisher.reader.left_out[0].text.startswith("its configuration cannot be used: ")


def test_media_without_a_sequence_header_is_named_once_it_is_certain() -> None:
    publisher = Publisher()
    waits = int(CONFIGURED_WITHIN_S * 25)
    publisher.send(VIDEO, *[PICTURE] * waits)
    assert publisher.reasons == []
    publisher.send(VIDEO, *[PICTURE] * 100)
    assert publisher.reasons == [(VIDEO, Reason.NO_CONFIGURATION)]


def test_a_sequence_header_may_be_late_but_each_publisher_has_to_send_its_own() -> None:
    publisher = Publisher()
    assert len(publisher.send(VIDEO, PICTURE, avc_config(RECORD).body, *[PICTURE] * 200)) == 201
    assert publisher.reasons == []
    publisher.reader.restart()
    publisher.reader.resume(10_000)
    publisher.send(VIDEO, *[PICTURE] * 200)
    assert publisher.reasons == [(VIDEO, Reason.NO_CONFIGURATION)]


@pytest.mark.parametrize("body", [SECOND_TRACK, BOTH_TRACKS])
def test_a_further_track_is_named_alone_or_beside_the_first(body: bytes) -> None:
    publisher = Publisher()
    publisher.send(VIDEO, avc_config(RECORD).body, body)
    assert publisher.reasons == [(VIDEO, Reason.FURTHER_TRACK)]
    assert publisher.reader.left_out[0].text.startswith("track 1 of the multitrack stream is not served")


def test_a_packet_that_is_cut_short_behind_its_first_track_is_read() -> None:
    publisher = Publisher()
    body = b"\x96\x10" + b"avc1" + b"\x00" + (len(RECORD)).to_bytes(3, "big") + RECORD + b"\x01\x00\x00\x99x"
    (frame,) = publisher.send(VIDEO, body)
    assert frame.is_config and publisher.reasons == []


def test_a_list_has_the_first_of_each_track_and_reason() -> None:
    found = LeftOutList()
    first, again, other = (
        LeftOut(track, Reason.CODEC, text) for track, text in ((AUDIO, "a"), (AUDIO, "b"), (VIDEO, "c"))
    )
    assert [found.add(item) for item in (first, again, other, first)] == [True, False, True, False]
    assert found.items == [first, other]
    found.clear()
    assert found.items == [] and found.add(again)

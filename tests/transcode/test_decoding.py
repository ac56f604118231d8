"""A decoder by itself: what libavcodec would find and the parameter sets did not tell."""

import pytest
from attrs import evolve
from av.error import FFmpegError

from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.errors import OversizedPicture
from livestream.media.flv import avc_frame
from livestream.media.pictures import PictureFormat
from livestream.model.frames import Frame
from livestream.transcode.decoding import VideoDecoder
from tests.media.encoded import broadcast, frames
from tests.transcode.sources import bomb, pictures, with_sets_in_band


def vp9(size: tuple[int, int]) -> list[Frame]:
    return frames(broadcast("libvpx-vp9", None, seconds=0.4, size=size))


def test_room_is_granted_before_a_decoder_is_opened_and_again_for_what_is_larger() -> None:
    granted: list[PictureFormat] = []
    config, *small = pictures(seconds=1, fps=5)
    large_config, large_key, *_ = pictures(seconds=1, fps=5, size=(640, 480))
    decoder = VideoDecoder(config, granted.append)
    for frame in (small[0], large_key, with_sets_in_band(large_config, large_key), with_sets_in_band(config, small[0])):
        decoder.decode(frame)
    assert [(each.coded_width, each.coded_height) for each in granted] == [(320, 240), (640, 480)]


def test_a_picture_that_is_larger_than_its_frame_said_is_not_decoded() -> None:
    config, key, *_ = vp9((226, 130))
    decoder = VideoDecoder(config, lambda _: None)
    assert len(decoder.decode(key)) == 1
    with pytest.raises(FFmpegError):
        decoder.decode(evolve(vp9((640, 480))[1], is_key=False))
    with pytest.raises(FFmpegError):
        decoder.decode(key)
    assert [(each.width, each.height) for each in decoder.decode(key)] == [(226, 130)]


def test_libavcodec_is_asked_what_it_has_found_and_its_decoder_given_up_if_that_is_too_much() -> None:
    """A configuration record in the place of a picture is one to libavcodec, and has no units to walk through."""
    config, *honest = pictures(seconds=2, b_frames=0)
    bomb_config, bomb_key, *_ = bomb()
    hidden = bytearray(bomb_config.data)
    hidden[2] = 0
    decoder = VideoDecoder(config, lambda _: None)
    assert decoder.decode(honest[0])
    with pytest.raises(OversizedPicture, match="4352x4352, which was not announced"):
        for data in (bytes(hidden), bytes(bomb_key.data)):
            decoder.decode(avc_frame(honest[1].dts_ms, 0, False, data))
    assert decoder.decode(honest[1]) == []
    second = honest[25:]
    assert second[0].is_key
    assert [each.pts for frame in second for each in decoder.decode(frame)] == [frame.pts_ms for frame in second]


def test_vp9_has_no_decoder_before_its_first_key_frame() -> None:
    config, key, other = vp9((226, 130))[:3]
    decoder = VideoDecoder(config, lambda _: None)
    assert decoder.decode(other) == []
    assert decoder.context is None
    assert len(decoder.decode(key)) == 1


def test_a_record_says_of_what_is_encoded_what_a_decoder_finds() -> None:
    config, key, *_ = pictures(seconds=1, fps=5, size=(322, 182))
    parsed = parse_config(config)
    assert isinstance(parsed, VideoConfig)
    decoder = VideoDecoder(config, lambda _: None)
    decoder.decode(key)
    decoder.flush()
    assert decoder.context is not None
    found = (decoder.context.coded_width, decoder.context.coded_height)
    assert found == (parsed.pictures.coded_width, parsed.pictures.coded_height)
    assert (decoder.context.width, decoder.context.height) == (parsed.width, parsed.height) == (322, 182)

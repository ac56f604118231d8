"""Key frames that are repeated: what decoders make of them, and what they say."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from typing import Any, cast

import av
import pytest
from attrs import evolve
from av.logging import Capture
from hypothesis import given
from hypothesis import strategies as st

from livestream.media.annexb import units_of
from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.flv import avc_config, avc_frame
from livestream.media.standalone import standalone
from livestream.media.sync import is_sync
from livestream.model.frames import Codec, Frame
from tests.media.encoded import frames
from tests.packaging.broadcasts import RECORD

OPEN_GOP = "keyint=20:min-keyint=20:scenecut=0:bframes=3:open-gop=1"


def encoded(options: str, **more: str) -> tuple[VideoConfig, list[Frame]]:
    """Three seconds of a changing picture, in decoding order, with length prefixes; and their configuration."""
    with io.BytesIO() as file:
        with av.open(file, "w", format="flv") as container:
            stream: Any = container.add_stream("libx264", rate=20)
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            stream.codec_context.options = {"preset": "veryfast", "x264-params": options, **more}
            for number in range(60):
                frame = av.VideoFrame(160, 96, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes((number * 5 + at) % 256 for at in range(plane.buffer_size)))
                frame.pts, frame.time_base = number, Fraction(1, 20)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        config, *own = frames(file.getvalue())
    return cast(VideoConfig, parse_config(config)), [frame for frame in own if not frame.is_config]


def pictures(config: VideoConfig, shown: Sequence[Frame]) -> tuple[list[str], list[str]]:
    """The digests of the decoded pictures, and what the decoder says."""
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.extradata, decoder.thread_count = config.record, 1
    with Capture() as said:
        decoded = [picture for frame in shown for picture in decoder.decode(av.Packet(bytes(frame.data)))]
        decoded += decoder.decode(None)
    return [sha256(b"".join(map(bytes, each.planes))).hexdigest() for each in decoded], [words for _, _, words in said]


@pytest.fixture(autouse=True)
def _talkative() -> Any:
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    yield
    av.logging.set_level(before)


def test_a_key_frame_of_an_open_gop_is_the_same_picture_and_may_come_again() -> None:
    config, own = encoded(OPEN_GOP)
    at, key = [(at, frame) for at, frame in enumerate(own) if frame.is_key][2]
    repeated = standalone(key, config)
    assert repeated is not key and is_sync(repeated)
    assert pictures(config, [repeated])[0] == pictures(config, [key])[0]
    shown, said = pictures(config, [*own[:at], *[repeated] * 3])
    assert len(shown) == at + 3 and said == []
    _, before = pictures(config, [*own[:at], *[key] * 3])
    assert before != []


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ("keyint=20:scenecut=0:open-gop=1:bframes=3:slices=4", {}),
        ("keyint=20:scenecut=0:open-gop=1:bframes=3:no-deblock=1", {}),
        ("keyint=20:scenecut=0:open-gop=1:bframes=3:deblock=2,-2:tff=1", {}),
        ("keyint=20:scenecut=0:open-gop=1:bframes=3:ref=5:b-pyramid=normal:weightp=2", {"profile": "main"}),
    ],
)
def test_the_slices_of_all_settings_are_read(options: str, more: dict[str, str]) -> None:
    config, own = encoded(options, **more)
    key = [frame for frame in own if frame.is_key][1]
    repeated = standalone(key, config)
    assert repeated is not key
    assert pictures(config, [repeated]) == (pictures(config, [key])[0], [])


@pytest.mark.parametrize("options", ["keyint=20:scenecut=0:open-gop=1:bframes=3:no-cabac=1", "keyint=20:scenecut=0"])
def test_what_is_or_cannot_be_one_stays_as_it_is(options: str) -> None:
    config, own = encoded(options)
    key = [frame for frame in own if frame.is_key][1]
    assert standalone(key, config) is key


def test_a_slice_of_zeros_costs_no_time() -> None:
    config, own = encoded(OPEN_GOP)
    key = [frame for frame in own if frame.is_key][1]
    (*others, unit) = units_of(key.body, key.data_offset)
    zeros = unit + b"\x00\x00\x03" * 1_000 + b"\x01"
    data = b"".join(len(each).to_bytes(4, "big") + each for each in (*others, zeros))
    frame = evolve(key, body=key.body[: key.data_offset] + data)
    assert standalone(frame, config) is frame


@given(st.binary(max_size=200))
def test_anything_else_stays_as_it_is(data: bytes) -> None:
    config = cast(VideoConfig, parse_config(avc_config(RECORD)))
    for frame in (avc_frame(0, 0, True, data), Frame(Codec.HEVC, 0, data, 0, is_key=True)):
        assert standalone(frame, config).codec is frame.codec
        assert standalone(evolve(frame, body=frame.body + data), config).data_offset == frame.data_offset

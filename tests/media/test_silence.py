"""Frames of silence are decoded, by themselves and between others."""

from __future__ import annotations

from array import array
from fractions import Fraction

import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.packet import Packet

from livestream.media.codecs import AudioConfig, parse_config
from livestream.media.flv import aac_config
from livestream.media.silence import silent_frame
from livestream.model.frames import Codec, Frame

LAYOUTS = ["mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"]
MULTISTREAM = b"OpusHead\x01\x06" + bytes(8) + b"\x01\x04\x02\x00\x04\x01\x02\x03\x05"


def channels(frame: AudioFrame) -> list[AudioPlane]:
    """Its planes; PyAV counts one too many where there are eight."""
    return [frame.planes[index] for index in range(frame.layout.nb_channels)]


def aac(layout: str, rate: int) -> tuple[AudioConfig, list[bytes]]:
    """The configuration of an encoder, and some frames of noise."""
    encoder = AudioCodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
    encoder.time_base = Fraction(1, rate)
    encoder.flags |= 0x400000
    encoder.open()
    loud, packets = array("f", (0.5 if n % 7 else -0.5 for n in range(1024))).tobytes(), []
    for index in range(6):
        frame = AudioFrame("fltp", layout, 1024)
        for plane in channels(frame):
            plane.update(loud)
        frame.sample_rate, frame.pts, frame.time_base = rate, index * 1024, Fraction(1, rate)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    config = parse_config(aac_config(bytes(encoder.extradata or b"")))
    assert isinstance(config, AudioConfig)
    return config, packets


def peaks(decoder: AudioCodecContext, packets: list[bytes]) -> list[float]:
    """The loudest sample of each frame."""
    frames = [frame for packet in packets for frame in decoder.decode(Packet(packet))]
    return [max(abs(value) for plane in channels(frame) for value in array("f", bytes(plane))) for frame in frames]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000])
def test_silence_of_every_channel_layout_is_decoded_to_zeros_between_loud_frames(layout, rate):
    config, loud = aac(layout, rate)
    silence = silent_frame(config)
    assert silence is not None and silence.samples == 1024
    decoder = AudioCodecContext.create("aac", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.extradata = config.record
    found = peaks(decoder, [*loud[2:], *[bytes(silence.frame.data)] * 4, *loud[2:4]])
    assert len(found) == len(loud[2:]) + 6
    assert min(found[1 : len(loud[2:])]) > 0.1 and found[-5:-2] == [0.0] * 3 and found[-1] > 0.1


@pytest.mark.parametrize("head", [b"OpusHead\x01\x01" + bytes(9), b"OpusHead\x01\x02" + bytes(9), MULTISTREAM])
def test_silence_of_opus_is_decoded_to_zeros(head):
    config = parse_config(Frame(Codec.OPUS, 0, head, 0, is_key=True, is_config=True))
    assert isinstance(config, AudioConfig)
    silence = silent_frame(config)
    assert silence is not None and silence.samples == 960
    decoder = AudioCodecContext.create("opus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.extradata = head
    frames = [frame for _ in range(3) for frame in decoder.decode(Packet(bytes(silence.frame.data)))]
    assert {frame.samples for frame in frames[1:]} == {960}
    assert {frame.layout.nb_channels for frame in frames} == {head[9]}
    assert not any(any(bytes(plane)) for frame in frames for plane in channels(frame))

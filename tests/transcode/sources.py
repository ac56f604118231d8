"""Sources for the tests: real pictures and sounds, in the frames of a broadcast."""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import Any

import av
from av.codec.context import Flags

from livestream.media.annexb import to_length_prefixed
from livestream.media.flv import avc_config, avc_frame
from livestream.model.frames import Codec, Frame
from livestream.transcode.avc_record import avc_record
from tests.media.parameter_sets import prefixed


def pictures(
    seconds: int = 4,
    fps: int = 25,
    size: tuple[int, int] = (320, 240),
    b_frames: int = 2,
    crop: tuple[int, int] = (0, 0),
) -> list[Frame]:
    """An H.264 track with a key frame a second; the configuration is first. ``crop`` is cut off of its size."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 1000), Fraction(fps)
    encoder.flags |= Flags.global_header
    options = f"keyint={fps}:min-keyint={fps}:scenecut=0:bframes={b_frames}:b-adapt=0:open-gop=0"
    if any(crop):
        options += f":crop-rect=0,0,{crop[0]},{crop[1]}"
    encoder.options = {"preset": "ultrafast", "x264-params": options}
    encoder.open()
    frames = [avc_config(avc_record(bytes(encoder.extradata)))]
    packets = []
    for number in range(seconds * fps):
        picture = av.VideoFrame(*size, "yuv420p")
        for plane, shade in zip(picture.planes, (16 + number * 5 % 200, 128, 128), strict=True):
            plane.update(bytes([shade]) * plane.buffer_size)
        picture.pts, picture.time_base = number * 1000 // fps, Fraction(1, 1000)
        packets += encoder.encode(picture)
    for packet in packets + encoder.encode(None):
        dts_ms = packet.dts + 100
        data = to_length_prefixed(bytes(packet))
        frames.append(avc_frame(dts_ms, packet.pts + 100 - dts_ms, packet.is_keyframe, data))
    return frames


def encoded(
    source: Iterable[av.VideoFrame], x264: str, *, fps: int = 25, told_fps: int = 25, from_ms: int = 0
) -> list[Frame]:
    """An H.264 track of the pictures, with x264's parameters; the bitstream tells ``told_fps``."""
    encoder, frames = None, []
    for number, picture in enumerate(source):
        if encoder is None:
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, picture.format.name
            encoder.time_base, encoder.framerate = Fraction(1, 1000), Fraction(told_fps)
            encoder.flags |= Flags.global_header
            encoder.options = {"preset": "ultrafast", "x264-params": x264}
            encoder.open()
            frames.append(avc_config(avc_record(bytes(encoder.extradata))))
        picture.pts, picture.time_base = from_ms + number * 1000 // fps, Fraction(1, 1000)
        frames += map(_avc_frame, encoder.encode(picture))
    return frames + list(map(_avc_frame, encoder.encode(None)))


def _avc_frame(packet: Any) -> Frame:
    return avc_frame(packet.dts, packet.pts - packet.dts, packet.is_keyframe, to_length_prefixed(bytes(packet)))


@cache
def bomb() -> tuple[Frame, ...]:
    """Pictures that are coded as 4352x4352 and shown as 320x240, some kilobytes each; the configuration is first."""
    return tuple(pictures(seconds=2, fps=1, size=(4352, 4352), b_frames=0, crop=(4032, 4112)))


def with_sets_in_band(config: Frame, key: Frame) -> Frame:
    """A key frame that begins with the parameter sets of its configuration record."""
    record = bytes(config.data)
    sps_end = 8 + int.from_bytes(record[6:8], "big")
    pps_end = sps_end + 3 + int.from_bytes(record[sps_end + 1 : sps_end + 3], "big")
    return avc_frame(
        key.dts_ms, key.cts_ms, True, prefixed(record[8:sps_end], record[sps_end + 3 : pps_end]) + key.data
    )


def opus(seconds: int = 1) -> list[Frame]:
    """An Opus track; the configuration is first."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "flt"
    encoder.time_base = Fraction(1, 48_000)
    encoder.open()
    head = b"\x90Opus"
    frames = [Frame(Codec.OPUS, 0, head + bytes(encoder.extradata), 5, is_key=True, is_config=True)]
    for number in range(seconds * 50):
        sound = av.AudioFrame("flt", "stereo", 960)
        sound.planes[0].update(bytes(sound.planes[0].buffer_size))
        sound.sample_rate, sound.pts, sound.time_base = 48_000, number * 960, Fraction(1, 48_000)
        for packet in encoder.encode(sound):
            frames.append(Frame(Codec.OPUS, 100 + number * 20, b"\x91Opus" + bytes(packet), 5, is_key=True))
    return frames


def decoded(frames: list[Frame]) -> list[tuple[int, bool, int]]:
    """The time, whether it is a key frame, and the height of each picture of a rung."""
    return [(picture.pts, picture.key_frame, picture.height) for picture in shown(frames)]


def shown(frames: list[Frame]) -> list[av.VideoFrame]:
    """The pictures of a rung."""
    seen: list[av.VideoFrame] = []
    decoder = None
    for frame in frames:
        if frame.is_config:
            seen += [] if decoder is None else decoder.decode(None)
            decoder = av.CodecContext.create("h264", "r")
            decoder.extradata = bytes(frame.data)
            continue
        packet = av.Packet(bytes(frame.data))
        packet.pts = packet.dts = frame.pts_ms
        seen += decoder.decode(packet)
    return seen + decoder.decode(None)

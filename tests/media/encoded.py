"""Small broadcasts, really encoded, as an encoder sends them: FLV tags, legacy or Enhanced RTMP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
from attrs import frozen

from livestream.media import flv
from livestream.model.frames import Frame

_VIDEO_OPTIONS = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:pools=none:frame-threads=1"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


@frozen
class Tag:
    """One FLV tag."""

    type_id: int
    timestamp_ms: int
    body: bytes

    def frame(self) -> Frame | None:
        """What our own parser reads from it."""
        if self.type_id == flv.VIDEO:
            return flv.parse_video(self.timestamp_ms, self.body)
        return flv.parse_audio(self.timestamp_ms, self.body) if self.type_id == flv.AUDIO else None


@cache
def broadcast(
    video: str | None = "libx264",
    audio: str | None = "aac",
    *,
    seconds: float = 4,
    rate: int = 25,
    gop: int = 50,
    b_frames: int = 0,
    size: tuple[int, int] = (160, 96),
    preset: str | None = None,
) -> bytes:
    """An FLV file of a changing picture and silence."""
    with io.BytesIO() as file:
        with av.open(file, "w", format="flv") as container:
            container.flags |= 0x200  # flush each packet, as a live encoder does
            streams: list[tuple[Any, Iterator[Any]]] = []
            if video is not None:
                track: Any = container.add_stream(video, rate=rate, options=dict(_VIDEO_OPTIONS[video]))
                if preset is not None:
                    track.codec_context.options = {"preset": preset}
                track.width, track.height = size
                track.pix_fmt, track.gop_size, track.max_b_frames = "yuv420p", gop, b_frames
                streams.append((track, _pictures(size, rate, int(seconds * rate))))
            if audio is not None:
                track = container.add_stream(audio, rate=48000, layout="stereo")
                streams.append((track, _sounds(track, seconds)))
            _mux(container, streams)
        return file.getvalue()


def _mux(container, streams) -> None:
    pending = []
    for stream, frames in streams:
        for frame in frames:
            pending.extend(stream.encode(frame))
        pending.extend(stream.encode(None))
    for packet in sorted(pending, key=lambda packet: packet.dts * packet.time_base):
        container.mux(packet)


def _pictures(size: tuple[int, int], rate: int, count: int) -> Iterator[av.VideoFrame]:
    for index in range(count):
        frame = av.VideoFrame(*size, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([16 + index * 3 % 200]) * plane.buffer_size)
        frame.pts, frame.time_base = index, Fraction(1, rate)
        yield frame


def _sounds(stream, seconds: float) -> Iterator[av.AudioFrame]:
    samples = stream.codec_context.frame_size or 960
    layout = stream.codec_context.format.name
    for index in range(int(seconds * 48000) // samples):
        frame = av.AudioFrame(layout, "stereo", samples)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = 48000, index * samples, Fraction(1, 48000)
        yield frame


def tags(file: bytes) -> Iterator[Tag]:
    """The tags of an FLV file."""
    at = 13
    while at < len(file):
        size = int.from_bytes(file[at + 1 : at + 4], "big")
        time = int.from_bytes(file[at + 4 : at + 7], "big") | file[at + 7] << 24
        yield Tag(file[at], time, file[at + 11 : at + 11 + size])
        at += size + 15


def frames(file: bytes) -> list[Frame]:
    """The frames of an FLV file, as our own parser reads them."""
    return [frame for tag in tags(file) if (frame := tag.frame()) is not None]


@frozen
class Decoded:
    """What a decoder makes of a file: when each picture is shown, in ms, and where each sound begins, in samples."""

    pictures: list[float]
    sounds: list[int]
    first_is_key: bool


def decode(data: bytes) -> Decoded:
    """
    Decode a whole file.

    :raises av.error.FFmpegError: something in it cannot be decoded.
    """
    pictures, sounds, keys = [], [], []
    with av.open(io.BytesIO(data), "r") as container:
        for stream in container.streams.video:
            stream.codec_context.options = {"err_detect": "explode"}
        for packet in container.demux():
            if packet.stream.type == "video" and packet.size:
                keys.append(packet.is_keyframe)
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    pictures.append(round(float(frame.pts * frame.time_base) * 1000, 2))
                elif isinstance(frame, av.AudioFrame):
                    sounds.append(round(float(frame.pts * frame.time_base) * frame.sample_rate))
    return Decoded(pictures, sounds, bool(keys) and keys[0])

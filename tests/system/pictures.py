"""A broadcast whose every picture carries its number, and the reading of those numbers from what was delivered."""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
from attrs import frozen

from tests.system.processes import FFMPEG

BITS = 12


def publisher(
    url: str,
    seconds: float,
    *,
    size: str = "640x360",
    rate: int = 25,
    gop_s: float = 2,
    first: int = 0,
    codec: Sequence[str] = ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "800k"),
    audio: Sequence[str] = ("-c:a", "aac", "-b:a", "64k"),
    options: Sequence[str] = (),
) -> list[str]:
    """
    The command line of an ffmpeg that publishes ``seconds`` of a test picture and a tone, in real time.

    The number of each picture, from ``first``, is drawn as twelve black or white fields across its top sixth.
    """
    width, height = map(int, size.split("x"))
    bits = f"geq=lum='255*mod(floor((N+{first})/pow(2,X)),2)':cb=128:cr=128"
    picture = (
        f"testsrc2=size={size}:rate={rate}[card];"
        f"color=size={BITS}x2:rate={rate},format=yuv444p,{bits},"
        f"scale={width}:{height // 6 // 2 * 2}:flags=neighbor,format=yuv420p[number];"
        "[card][number]overlay=shortest=1,format=yuv420p[out0]"
    )
    tone = ["-f", "lavfi", "-re", "-i", "sine=frequency=440:sample_rate=48000"] if audio else []
    return [
        *(FFMPEG, "-hide_banner", "-loglevel", "warning", "-nostdin"),
        *("-f", "lavfi", "-re", "-i", picture, *tone, "-t", str(seconds)),
        *(*codec, "-g", str(int(rate * gop_s)), "-keyint_min", str(int(rate * gop_s)), "-sc_threshold", "0"),
        *(audio or ("-an",)),
        *(*options, "-f", "flv", url),
    ]


def number(picture: av.VideoFrame) -> int:
    """The number that is drawn in a picture."""
    plane = picture.planes[0]
    row = picture.height // 12 * plane.line_size
    luma = memoryview(plane)
    step = picture.width / BITS
    return sum(1 << bit for bit in range(BITS) if luma[row + int((bit + 0.5) * step)] > 128)


@frozen
class Delivered:
    """What came out of the decoder: the numbers of the pictures, and the steps between sounds, in samples."""

    pictures: list[int]
    picture_times: list[float]
    sounds: int
    odd_steps: list[int]
    last_sound: float

    def whole(self, count: int) -> bool:
        """Whether each of so many pictures is there once, and after them nothing but the last key frame again."""
        again = self.pictures[count:]
        return self.pictures[:count] == list(range(count)) and len(set(again)) <= 1 and max(again, default=0) < count


def decode(data: bytes) -> Delivered:
    """
    Decode a whole file: an init segment and the media segments after it, or an FLV.

    :raises av.error.FFmpegError: a packet could not be decoded.
    """
    pictures, times, sounds, odd = [], [], 0, list[int]()
    expected = None
    last_sound = 0.0
    with av.open(io.BytesIO(data), "r") as container:
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                pictures.append(number(frame))
                times.append(float(frame.time))
                continue
            start = round(frame.time * frame.sample_rate)
            if expected is not None and start != expected:
                odd.append(start - expected)
            expected = start + frame.samples
            last_sound = float(frame.time)
            sounds += 1
    return Delivered(pictures, times, sounds, odd, last_sound)

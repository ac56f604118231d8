"""
The child that encodes a slate: a PNG or JPEG on its standard input, its configuration and key frame on the other.

    python -m livestream.transcode.slate WIDTH HEIGHT SAMPLE_WIDTH SAMPLE_HEIGHT
"""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from io import BytesIO

import av
from av.codec.context import Flags
from av.error import FFmpegError
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from livestream.media.annexb import to_length_prefixed
from livestream.media.flv import avc_config, avc_frame
from livestream.media.slate import SlateShape, picture_type
from livestream.transcode.avc_record import avc_record
from livestream.transcode.commands import Produced, encode
from livestream.transcode.decoding import MILLISECONDS
from livestream.transcode.memory import MAX_BYTES
from livestream.transcode.sandbox import be_nice, confine, die_with

NAME = "slate"
MAX_PIXELS = 64 << 20
_BT709 = 1
_LIMITED = 1


def decode(data: bytes) -> VideoFrame:
    """
    Decode a PNG or JPEG.

    :raises ValueError: it is neither, or damaged, or too large.
    """
    kind = picture_type(data)
    if kind is None:
        raise ValueError("it is neither a PNG nor a JPEG")
    try:
        with av.open(BytesIO(data), "r", format=f"{kind}_pipe") as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise ValueError(f"it has more than {MAX_PIXELS >> 20} million pixels")
            picture = next(container.decode(stream), None)
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"it cannot be decoded: {error}") from error
    if picture is None:
        raise ValueError("it has no picture")
    return picture


def fitted(picture: VideoFrame, shape: SlateShape) -> VideoFrame:
    """The picture on black, as large as it fits into ``shape`` without a change of its own."""
    across, down = shape.sample_aspect
    scale = min(shape.width * across / down / picture.width, shape.height / picture.height)
    width = min(max(round(picture.width * scale * down / across / 2), 1) * 2, shape.width)
    height = min(max(round(picture.height * scale / 2), 1) * 2, shape.height)
    graph = Graph()
    graph.threads = 1
    black = graph.add("color", f"black:size={shape.width}x{shape.height}")
    source = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format, time_base=MILLISECONDS)
    scaled = graph.add("scale", f"{width}:{height}:flags=lanczos")
    alpha = graph.add("format", "gbrap")
    over = graph.add("overlay", "(W-w)/2:(H-h)/2:format=gbrp")
    matrix = graph.add("scale", "out_color_matrix=bt709:out_range=tv")
    plain = graph.add("format", "yuv420p")
    sink = graph.add("buffersink")
    black.link_to(over)
    graph.link_nodes(source, scaled, alpha)
    alpha.link_to(over, 0, 1)
    graph.link_nodes(over, matrix, plain, sink)
    graph.configure()
    picture.pts, picture.time_base = 0, MILLISECONDS
    graph.vpush(picture)
    graph.vpush(None)
    return graph.vpull()


def encoded(picture: VideoFrame, shape: SlateShape) -> tuple[Produced, Produced]:
    """Encode a picture that has the size of ``shape``: a configuration and a key frame."""
    encoder = VideoCodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = shape.width, shape.height, "yuv420p"
    encoder.sample_aspect_ratio = Fraction(*shape.sample_aspect)
    encoder.time_base, encoder.framerate = MILLISECONDS, Fraction(30)
    encoder.color_primaries = encoder.color_trc = encoder.colorspace = _BT709
    encoder.color_range = _LIMITED
    encoder.thread_count = 1
    encoder.flags |= Flags.global_header
    encoder.options = {"preset": "medium", "tune": "stillimage", "crf": "20"}
    encoder.open()
    record = avc_record(bytes(encoder.extradata or b""))
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    data = b"".join(to_length_prefixed(bytes(packet)) for packet in packets)
    return Produced(NAME, avc_config(record, 0)), Produced(NAME, avc_frame(0, 0, True, data))


def main() -> None:
    """Confine this process, and encode what comes on the standard input."""
    die_with(os.getppid())
    be_nice()
    width, height, across, down = map(int, sys.argv[1:])
    shape = SlateShape(width, height, (across, down))
    data = sys.stdin.buffer.read()
    confine(MAX_BYTES, MAX_BYTES)
    try:
        picture = fitted(decode(data), shape)
    except ValueError as error:
        sys.exit(str(error))
    for produced in encoded(picture, shape):
        sys.stdout.buffer.write(encode(produced))


if __name__ == "__main__":
    main()

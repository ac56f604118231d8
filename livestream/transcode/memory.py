"""
How much address space a transcoding child needs for a source and a ladder.

What a decoder takes depends on what a stranger's parameter sets say; a child that needs more than honest pictures of
that format take is given no more. The figures are measured, with libavcodec 62 and x264, and have half as much again.
"""

from __future__ import annotations

from collections.abc import Sequence

from livestream.media.pictures import PictureFormat
from livestream.transcode.ladder import Rung

MIB = 1 << 20
MOST_BYTES = 4096 * MIB
"""Whatever is decoded and made: 4096x2304 in 4:4:4 and 12 bits, with 16 reference frames, stays below."""
PROGRAM_BYTES = 320 * MIB
"""Python and the libraries, most of which is never touched, and the largest messages on the pipe."""
THREAD_BYTES = 80 * MIB
"""A stack, and what malloc reserves for a thread."""
MARGIN = 1.5

_TABLES = 1
"""What a decoder keeps of a picture beside its samples, in bytes per pixel: vectors, and rows that are aligned."""
_ENCODER = 8
"""What x264 keeps of a picture, in bytes per pixel: it has each four times, shifted by half a pixel."""
_ENCODER_PICTURES = {"ultrafast": 1, "superfast": 1, "veryfast": 1, "faster": 2, "fast": 2, "medium": 3, "slow": 5,
                     "slower": 8, "veryslow": 16, "placebo": 24}  # fmt: skip
"""By preset: its reference frames. The motion search of ``placebo`` has tables of its own."""


def needed_bytes(pictures: PictureFormat | None, rungs: Sequence[Rung], preset: str) -> int:
    """For pictures of this format, or for audio alone if there are none, made into ``rungs`` by ``preset`` of x264."""
    needed = PROGRAM_BYTES + THREAD_BYTES * len(rungs)
    if pictures is not None:
        shorter = max(min(pictures.coded_width, pictures.coded_height), 1)
        made = sum(pictures.coded_pixels * rung.height**2 // shorter**2 for rung in rungs)
        kept = _ENCODER_PICTURES.get(preset, max(_ENCODER_PICTURES.values())) + 4
        needed += _decoder_bytes(pictures) + made * _ENCODER * kept
    return min(int(needed * MARGIN), MOST_BYTES)


def _decoder_bytes(pictures: PictureFormat) -> int:
    """A decoder has the reference frames, as many that wait to be shown, and some in use."""
    samples = {0: 1.0, 1: 1.5, 2: 2.0}.get(pictures.chroma, 3.0)
    per_pixel = samples * (1 if pictures.depth <= 8 else 2) + _TABLES
    return int(pictures.coded_pixels * per_pixel * (2 * pictures.references + 4))

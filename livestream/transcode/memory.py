"""
How much address space a transcoding child needs for a source and a ladder.

A decoder's memory depends on untrusted parameter sets, so a child gets no more than regular media of that format needs.
The figures were measured with libavcodec 62 and x264, and have a margin of a half.
"""

from __future__ import annotations

from collections.abc import Sequence

from livestream.media.pictures import PictureFormat
from livestream.transcode.ladder import Rung

MIB = 1 << 20
MAX_BYTES = 4096 * MIB
"""Enough for anything that is accepted: 4096x2304 in 4:4:4 and 12 bits, with 16 reference frames, needs less."""
PROGRAM_BYTES = 320 * MIB
"""Python and the libraries, most of which is never touched, and the largest records on the pipe."""
THREAD_BYTES = 80 * MIB
"""A stack, and what malloc reserves for a thread."""
MARGIN = 1.5

_TABLES = 1
"""A decoder's memory for a picture beside its samples, in bytes per pixel: motion vectors and row alignment."""
_FILTERS = 24
"""Memory for filtering a picture, in bytes per pixel: RGB in floating point twice, or four pictures with fields."""
_ENCODER = 8
"""x264's memory for a picture, in bytes per pixel: it keeps four copies, shifted by half a pixel."""
_ENCODER_PICTURES = {"ultrafast": 1, "superfast": 1, "veryfast": 1, "faster": 2, "fast": 2, "medium": 3, "slow": 5,
                     "slower": 8, "veryslow": 16, "placebo": 24}  # fmt: skip
"""Reference frames by preset. For ``placebo``, this includes the tables of its motion search."""


def needed_bytes(pictures: PictureFormat | None, rungs: Sequence[Rung], preset: str) -> int:
    """The memory to encode pictures of this format, or audio alone without, as ``rungs`` with x264's ``preset``."""
    needed = PROGRAM_BYTES + THREAD_BYTES * len(rungs)
    if pictures is not None:
        shorter = max(min(pictures.coded_width, pictures.coded_height), 1)
        made = sum(pictures.coded_pixels * rung.height**2 // shorter**2 for rung in rungs)
        kept = _ENCODER_PICTURES.get(preset, max(_ENCODER_PICTURES.values())) + 4
        needed += _decoder_bytes(pictures) + pictures.coded_pixels * _FILTERS + made * _ENCODER * kept
    return min(int(needed * MARGIN), MAX_BYTES)


def _decoder_bytes(pictures: PictureFormat) -> int:
    """A decoder keeps the reference frames, as many pictures waiting for output, and some in use."""
    samples = {0: 1.0, 1: 1.5, 2: 2.0}.get(pictures.chroma, 3.0)
    per_pixel = samples * (1 if pictures.depth <= 8 else 2) + _TABLES
    return int(pictures.coded_pixels * per_pixel * (2 * pictures.references + 4))

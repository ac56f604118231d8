"""What is packaged of a long and troubled broadcast, byte for byte: what is done to be faster must not change it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from random import Random

import pytest
from attrs import evolve

from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.model.frames import Codec, Frame, Track
from livestream.model.names import SOURCE
from livestream.packaging.segmenter import Packaged, PackagedInit, PackagedSegment
from tests.packaging.broadcasts import (
    ASC,
    OTHER_ASC,
    OTHER_RECORD,
    RECORD,
    Ingest,
    mixed,
    pictures,
    sounds,
    with_b_frames,
)

RUNG = "360p"
OPUS_HEAD = b"OpusHead\1\2\x38\x01" + (44100).to_bytes(4, "little") + bytes(3)
VP9_RECORD = bytes([1, 0, 0, 0, 0, 31, 0x82, 2, 2, 2, 0, 0])


def digest(item: Packaged) -> str:
    """What kind it is, and a digest of all that it says."""
    if isinstance(item, PackagedInit):
        return f"i-{sha256(b'%d %b' % (item.number, item.data)).hexdigest()[:12]}"
    cut = item.cut
    tracks = sorted(track.value for track in cut.tracks)
    said = [cut.msn, cut.pts_ms, cut.discontinuity, cut.starts_at_ms, cut.independent, tracks, item.duration_ms]
    if not isinstance(item, PackagedSegment):
        return f"g-{sha256(repr(said).encode()).hexdigest()[:12]}"
    info = item.info
    said += [info.name, info.codecs, info.bandwidth, info.average_bandwidth, info.width, info.height, info.frame_rate]
    return f"s-{sha256(repr(said).encode() + item.data).hexdigest()[:12]}"


def digests(ingest: Ingest, rendition: str) -> list[str]:
    return [digest(item) for item in ingest.out[rendition]]


def filled(frames: Iterable[Frame], random: Random) -> list[Frame]:
    """The frames with as many bytes as an encoder gives them."""
    out = []
    for frame in frames:
        if frame.is_config:
            out.append(frame)
        elif frame.track is Track.AUDIO:
            out.append(aac_frame(frame.dts_ms, random.randbytes(random.randint(150, 400)), frame.dts_ms / 1000))
        else:
            data = random.randbytes(random.randint(4000, 9000) if frame.is_key else random.randint(40, 2000))
            out.append(avc_frame(frame.dts_ms, frame.cts_ms, frame.is_key, data, frame.dts_ms / 1000))
    return out


def drifting(frames: Sequence[Frame], parts: int) -> list[Frame]:
    """Sounds from a clock that is wrong by so many parts in a thousand, which jitters."""
    first = frames[0].dts_ms
    return [
        evolve(frame, dts_ms=frame.dts_ms + (frame.dts_ms - first) * parts // 1000 + (0, 7, -9, 30, -4)[n % 5])
        for n, frame in enumerate(frames)
    ]


def troubled() -> Ingest:
    """B-frames, sound that drifts both ways, and all else that may come; the rung is 17 pictures late."""
    random = Random(7)
    ingest = Ingest(lag=17)

    def feed(*tracks: Sequence[Frame], after: int = 2) -> None:
        ingest.feed(filled(mixed(*tracks)[after:], random))

    feed(with_b_frames(0, 10, 50), drifting(sounds(0, 20_000), 12), after=0)
    feed(with_b_frames(20_300, 5, 50), drifting(sounds(20_300, 30_000), -15))
    ingest.feed([avc_config(OTHER_RECORD), aac_config(OTHER_ASC)])  # another size and another rate
    feed(with_b_frames(30_400, 5, 50), drifting(sounds(30_400, 40_000), 0))
    ingest.planner.interrupt()  # the encoder's clock has jumped
    feed(with_b_frames(41_000, 5, 50), sounds(41_000, 51_000))
    ingest.rung.restart()  # another transcoder, from a key frame of its own on
    feed(pictures(51_200, 57_000, 2000), sounds(51_100, 57_000))
    ingest.rung.shed()
    feed(pictures(57_000, 62_000, [57_000, 61_000]), sounds(57_000, 58_000))  # no sound for long
    feed(pictures(62_000, 70_000, 2000), sounds(62_000, 72_000))
    feed(sounds(72_000, 80_000), after=1)  # no pictures
    ingest.finish()
    ingest.feed([aac_config(ASC), avc_config(RECORD)])
    feed(pictures(90_000, 110_000, [90_000, 92_000]), sounds(90_000, 110_000))  # no key frames
    feed(pictures(125_000, 130_000, 1000), sounds(125_000, 130_000))
    return ingest.finish()


def vp9_frames(random: Random) -> list[Frame]:
    """Pictures whose size is in their key frames, and changes there."""
    frames = [Frame(Codec.VP9, 0, b"\x90vp09" + VP9_RECORD, 5, is_key=True, is_config=True)]
    for n in range(300):
        is_key = n % 50 == 0
        width, height = ((320, 180), (640, 360))[n // 150]
        size = (width - 1) << 20 | (height - 1) << 4  # after a colour space of three bits and a range of one
        head = b"\x82\x49\x83\x42" + (1 << 36 | size).to_bytes(5, "big") if is_key else b"\x86"
        frames.append(Frame(Codec.VP9, n * 33, b"\x91vp09" + head + random.randbytes(300), 5, 0, is_key))
    return frames


def opus_frames(random: Random) -> list[Frame]:
    """Packets of 20 ms, of 60 ms, and of three times 20 ms, with one that is missing."""
    frames = [Frame(Codec.OPUS, 0, b"\x90Opus" + OPUS_HEAD, 5, is_key=True, is_config=True)]
    kinds = [(b"\x78", 20), (b"\x18", 60), (b"\x7b\x03", 60)]
    at_ms = 0
    for n in range(250):
        head, length_ms = kinds[n // 10 % 3]
        if n != 100:
            frames.append(Frame(Codec.OPUS, at_ms, b"\x91Opus" + head + random.randbytes(80), 5, is_key=True))
        at_ms += length_ms
    return frames


TROUBLED_SOURCE = """
    i-1b4d2bee19f9 s-84637be2e86b s-17b459d76973 s-face98a81121 s-ab9027e891d5 s-4d4785df8a68 s-08eb23421c52
    s-26ef8f9c0da3 s-2faab419b6ad i-c1d830482db1 s-7d1905449e4b s-c8e5cb856888 s-c292ba93da60 s-2069ab660ffd
    s-4c1a97e237f3 s-c4ac0c918f2d s-90d1655c9658 s-a7369aac145f i-8a958f60d05e s-2317521ac80c i-c86f7d0693a3
    s-662e6aba8842 s-58726f05a32b s-3d1a611be79a i-2e5ca682ce29 s-d836d745dbe6 s-8ddc82a86d90 s-ddec6faa4357
    i-bb9ac1ddbc41 s-14fa34f1cff5 s-088e51a1bfde s-6af5600bbb06 s-d1e8b4fb6bb7 s-06cc8f0257ee g-b1439ea1a6a6
    g-0b9203b4b227 g-d1842e52b093 g-300239d3c3c7 i-6d8915cc353f s-91f6a15116b0 i-2bf464111303 s-646a5c7f264c
    s-15e222d3a376
"""
TROUBLED_RUNG = """
    i-1b4d2bee19f9 s-a3c510a1fc6b s-b10fc31dc6f6 s-4d91b6af7747 s-c4ad6f1c6178 s-778a509f6425 s-b89208d8f577
    s-a82c01ed874b s-1d60f5c33199 i-c1d830482db1 s-f8b29d532a89 s-c8527cadd8cf s-df2d331f9bf1 s-8155507dca8a
    s-b125cc009021 s-2bf4be254d4c g-d80646ba38b6 g-7eb78c35edc8 g-b1c3d3ee323a g-ad549ec9c858 g-4b68548698e6
    g-b7c05bcb4b90 g-e4ebfbf72310 g-106a2530f2d1 g-e66c2ee4d3ee g-6fca19c3b3f0 g-a2a113104cc6 g-cfb44af1cfda
    g-c9880da92660 g-e8c7ad714458 g-b1439ea1a6a6 g-0b9203b4b227 g-d1842e52b093 g-300239d3c3c7 g-4414745ff1f2
    g-f064c7524074 g-d368f2072478
"""
OTHER_CODECS = (
    "i-8a3c7c4289e6 s-4cb085882bc3 i-30709cd1d21b s-d80e5f2c67c2 i-9cba53e53b2b s-879531670fa3 s-e8eb558498b1"
)


@pytest.mark.parametrize(("rendition", "expected"), [(SOURCE, TROUBLED_SOURCE), (RUNG, TROUBLED_RUNG)])
def test_a_troubled_broadcast_is_packaged_as_ever(rendition, expected):
    assert digests(troubled(), rendition) == expected.split()


def test_sizes_in_pictures_and_lengths_in_sounds_are_packaged_as_ever():
    random = Random(8)
    frames = sorted(vp9_frames(random) + opus_frames(random), key=lambda frame: frame.dts_ms)
    assert digests(Ingest().feed(frames).finish(), SOURCE) == OTHER_CODECS.split()

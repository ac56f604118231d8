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
    """What kind it is, and a digest of all that it says but for its rates."""
    if isinstance(item, PackagedInit):
        return f"i-{sha256(b'%d %b' % (item.number, item.data)).hexdigest()[:12]}"
    cut = item.cut
    tracks = sorted(track.value for track in cut.tracks)
    said = [cut.msn, cut.pts_ms, cut.discontinuity, cut.starts_at_ms, tracks, item.duration_ms]
    if not isinstance(item, PackagedSegment):
        return f"g-{sha256(repr(said).encode()).hexdigest()[:12]}"
    info = item.info
    said.append(item.independent)
    said += [info.name, info.codecs, info.width, info.height]
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
    i-1b4d2bee19f9 s-a9cd9f9d6bf7 s-903efe106ac2 s-1b987202804c s-70747682387a s-62724cefa898 s-4e769f9b0a65
    s-2f0cd4137f3c s-08c09f28a016 s-818e9a5d03af s-9c5c3164de63 s-39b62c030072 s-b228a9925425 s-d38ea00eaf47
    s-ee9bdebe6e9e s-aaf869540c7c i-c1d830482db1 s-43d9c944de2e s-5285a7d60f4b s-f986aad7f572 s-cf3ac36f3a59
    s-3d2c32811b1d s-adc68b53c810 s-7e99ee99ba94 s-7f1870f9a9f8 s-b090785a879d s-e663bedcdc9e s-91373922df5f
    s-885da43c3416 s-78ec37872074 s-bce553281da4 s-442a8225451f s-a54973b6f2f0 s-6eff4878baca s-bf48d774c5f5
    s-6a92d1328742 s-dc6fbaffbad4 s-99341853b552 s-f98d267947a5 i-060652fcdd53 s-a89ab4369deb s-08498bd49c9e
    s-28adc9f97d4b s-2ad1406d2a2e i-0432cd7d5bc8 s-31eb35c13f0a s-8ae46f744790 s-0a13b73a1ff2 s-45ced2233c85
    s-ebd64d4f3503 s-c018b02d7e13 s-3c5f35fc4d65 s-cf4dd3ada766 s-73e91b798cf5 s-888febcbd1e9 s-fb3058512948
    s-95123a733f16 s-746eb6057456
"""
TROUBLED_RUNG = """
    i-1b4d2bee19f9 s-0bd268f4fab0 s-c1652079b029 s-66f47066cfb0 s-684947520dfa s-415f1aabb0f3 s-200f08089c68
    s-892379365802 s-207794f6013d s-bac77211d6ac s-d7a07c0c45aa s-f28d78bc92c7 s-157fd9ed3d26 s-dedbf74800a1
    s-ba3fed6029a4 s-7163e2b3f155 i-c1d830482db1 s-92c0074dd280 s-f8213eeacad8 s-72eccfb06d1b s-2177e66a3bda
    s-fd85b5d58bb6 s-a47e15e01212 s-3014727d89dd s-f9dc01b4158f s-8dfbfceea115 s-14f2d359ba9f s-cc6c097ecc9b
    s-e6cec30bbf62 s-789bbff09c27 s-50fcde4c6475 s-d32f8f6c0c0e s-a291b3675bf5 s-bdd165e92b1d s-0f08ff97134a
"""
OTHER_CODECS = "i-de12484045b9 s-1e304ee73daf s-18228976c533 i-b09fa46f3100 s-2fefcf7c2ca6"


@pytest.mark.parametrize(("rendition", "expected"), [(SOURCE, TROUBLED_SOURCE), (RUNG, TROUBLED_RUNG)])
def test_a_troubled_broadcast_is_packaged_as_ever(rendition, expected):
    assert digests(troubled(), rendition) == expected.split()


def test_sizes_in_pictures_and_lengths_in_sounds_are_packaged_as_ever():
    random = Random(8)
    frames = sorted(vp9_frames(random) + opus_frames(random), key=lambda frame: frame.dts_ms)
    assert digests(Ingest().feed(frames).finish(), SOURCE) == OTHER_CODECS.split()

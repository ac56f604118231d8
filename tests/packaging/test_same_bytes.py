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
    said = [cut.msn, cut.pts_ms, cut.discontinuity, cut.starts_at_ms, tracks, item.duration_ms]
    if not isinstance(item, PackagedSegment):
        return f"g-{sha256(repr(said).encode()).hexdigest()[:12]}"
    info = item.info
    said.append(item.independent)
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
    i-1b4d2bee19f9 s-7bae24d798b8 s-95da4a2f620e s-90261b322aa7 s-bd1f35e369fc s-89b0bfdec348 s-dd7163899c5a
    s-c489929b8d51 s-a2a2fc61342a s-4cd6b4c96f30 s-e55b875607e1 s-1fec28e31ba6 s-5749b369749e s-f3e87ad91985
    s-6e7521674adc s-45288d354c94 i-c1d830482db1 s-7ce10a66f54e s-e9e34096221b s-4bb003e09842 s-33e3322cd90a
    s-2eea344ba15c s-6808f22ec810 s-c3e219fd4cf6 s-b9f1bf45ef32 s-06e789c413c6 s-39d08834b7e2 s-7c595bfbca0b
    s-06efb44b0c41 s-d90b7cd50cb9 s-6e4d7dad03d4 s-c36538cbaff5 s-29e231beb039 s-ff0a41ac60dc s-f165794f8c1c
    s-882ccdf9eb57 s-563409434c93 s-08994294b322 s-d440596bbbeb i-060652fcdd53 s-22a634221d3b s-31f683b30723
    s-555b1c9b23d6 s-80e4a52e1c64 i-0432cd7d5bc8 s-a07d3c19a0ce s-eb506a3bfcbe s-4fbd5812afc7 s-98c6b594973c
    s-dddc149001b7 s-fbd8206d2cc9 s-51928aa60c36 s-0ecd3876ca62 s-ed107187a34a s-4bfe7c948576 s-e0482e236bb0
    s-af0607b83cde s-0d7ee6218c7e
"""
TROUBLED_RUNG = """
    i-1b4d2bee19f9 s-282d2df4d87f s-bdefcc40b1de s-f7cc72a9a56c s-054285bada3b s-d5da2f89f37a s-7881b298fd1e
    s-97f20eb14b8c s-bdcfff0e21e2 s-ab4afe234abe s-59520a7136ba s-49874161f51e s-9c4e5e628b34 s-57e26b65f951
    s-42a85563d5d7 s-2151f4631bb2 i-c1d830482db1 s-cd56944b2883 s-519fbe57925a s-57f4d51255de s-5fc0a123e0e7
    s-19a6166657ab s-9e954021e984 s-5165f36114d6 s-dbf035cc302c s-51370af2f1ea s-c67fd3715ffa s-bec67923af7f
    s-f8ea815cfb84 s-fa7f1eff8919 s-baa7eda25891 s-3aed598d0df7 s-8a2e11e5a32b s-17c238b32afb s-37f8b0999ebb
"""
OTHER_CODECS = "i-1b523aa090e7 s-52017282a6d5 s-8d4f8b4228e6 i-3544d5e8195a s-a2f2cc15b9bf"


@pytest.mark.parametrize(("rendition", "expected"), [(SOURCE, TROUBLED_SOURCE), (RUNG, TROUBLED_RUNG)])
def test_a_troubled_broadcast_is_packaged_as_ever(rendition, expected):
    assert digests(troubled(), rendition) == expected.split()


def test_sizes_in_pictures_and_lengths_in_sounds_are_packaged_as_ever():
    random = Random(8)
    frames = sorted(vp9_frames(random) + opus_frames(random), key=lambda frame: frame.dts_ms)
    assert digests(Ingest().feed(frames).finish(), SOURCE) == OTHER_CODECS.split()

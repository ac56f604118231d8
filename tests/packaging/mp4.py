"""A reader of fragmented MP4 for tests: what the boxes of a segment say."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from

from attrs import frozen

_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf"}


@frozen
class Read:
    """A sample: times in the track's time scale."""

    dts: int
    duration: int
    offset: int
    is_sync: bool
    data: bytes


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes in ``data``, containers opened: kind, and where its content begins and ends."""
    end = len(data) if end is None else end
    at = start
    while at < end:
        size, kind = unpack_from(">I4s", data, at)
        assert 8 <= size <= end - at, (kind, size, end - at)
        yield kind, at + 8, at + size
        if kind in _CONTAINERS:
            yield from boxes(data, at + 8, at + size)
        at += size


def kinds(data: bytes) -> list[str]:
    return [kind.decode("latin-1") for kind, _, _ in boxes(data)]


def content(data: bytes, kind: bytes) -> bytes:
    """The content of the first box of a kind."""
    return next(data[begin:end] for found, begin, end in boxes(data) if found == kind)


def samples(data: bytes) -> dict[int, list[Read]]:
    """The samples of a media segment, by track; every byte of its data belongs to one of them."""
    moof = next(begin - 8 for kind, begin, _ in boxes(data) if kind == b"moof")
    tracks: dict[int, list[Read]] = {}
    track, dts, covered = 0, 0, 0
    for kind, begin, _ in boxes(data):
        if kind == b"tfhd":
            flags, track = unpack_from(">II", data, begin)
            assert flags == 0x020000
        elif kind == b"tfdt":
            (dts,) = unpack_from(">Q", data, begin + 4)
        elif kind == b"trun":
            flags, count, offset = unpack_from(">IIi", data, begin)
            assert flags == 0x01000F01
            at = moof + offset
            for index in range(count):
                duration, size, sample_flags, composition = unpack_from(">IIIi", data, begin + 12 + 16 * index)
                read = Read(dts, duration, composition, not sample_flags & 0x10000, data[at : at + size])
                tracks.setdefault(track, []).append(read)
                dts, at, covered = dts + duration, at + size, covered + size
        elif kind == b"mdat":
            assert covered == len(content(data, b"mdat"))
    return tracks

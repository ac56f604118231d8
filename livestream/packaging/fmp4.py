"""
Initialisation and media segments of fragmented MP4 (ISO/IEC 14496-12 and 14496-15), audio and video in one file.

The video track's time scale is 90,000; an audio track's is its sample rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from struct import pack

from attrs import define

from livestream.media.codecs import AudioConfig, VideoConfig
from livestream.model.frames import Codec
from livestream.packaging.boxes import MATRIX, box, full_box

VIDEO_TIMESCALE = 90_000
VIDEO_TRACK, AUDIO_TRACK = 1, 2

SYNC, NO_SYNC = 0x02000000, 0x01010000
"""Flags of a sample: sample_depends_on 2; sample_depends_on 1 and non-sync."""

_FRAGMENT_BYTES, _TRACK_BYTES, _ROW_BYTES = 24, 64, 16
"""A movie fragment's boxes without its tracks, a track's without its samples, and a sample."""


@define(eq=False)
class TrackRun:
    """
    Samples of one track in decoding order, as columns; the first is decoded at ``base``, in the track's time scale.

    ``offsets`` are the composition time offsets, and may be left out if all are 0.
    """

    track: int
    base: int
    data: Sequence[bytes | memoryview]
    durations: Sequence[int]
    flags: Sequence[int]
    offsets: Sequence[int] = ()


def init_segment(video: VideoConfig | None, audio: AudioConfig | None) -> bytes:
    """The header that a player needs before the first media segment."""
    tracks, extends = [], []
    if video is not None:
        tracks.append(_video_track(video))
        extends.append(_extends(VIDEO_TRACK))
    if audio is not None:
        tracks.append(_audio_track(audio))
        extends.append(_extends(AUDIO_TRACK))
    header = full_box(
        b"mvhd", 0, 0, pack(">IIIIIH10x", 0, 0, 1000, 0, 0x10000, 0x100), MATRIX, bytes(24), pack(">I", 3)
    )
    moov = box(b"moov", header, *tracks, box(b"mvex", *extends))
    return box(b"ftyp", b"iso6\x00\x00\x00\x00iso6mp41cmfc") + moov


def media_segment(sequence: int, runs: Sequence[TrackRun]) -> bytes:
    """One media segment: a movie fragment with one run per track, and their data. ``sequence`` must rise."""
    tracks: list[bytes] = []
    offset = 8 + _FRAGMENT_BYTES + sum(_TRACK_BYTES + _ROW_BYTES * len(run.data) for run in runs)
    size = 8
    for run in runs:
        sizes = [len(data) for data in run.data]
        tracks.append(_track_fragment(run, sizes, offset))
        offset += sum(sizes)
        size += sum(sizes)
    moof = box(b"moof", full_box(b"mfhd", 0, 0, pack(">I", sequence & 0xFFFFFFFF)), *tracks)
    styp = box(b"styp", b"msdh\x00\x00\x00\x00msdhcmfs")
    return b"".join((styp, moof, pack(">I4s", size, b"mdat"), *chain.from_iterable(run.data for run in runs)))


def _track_fragment(run: TrackRun, sizes: Sequence[int], offset: int) -> bytes:
    """Default-base-is-moof; each sample with its duration, size, flags and (signed) composition offset."""
    rows = [0] * (4 * len(sizes))
    rows[0::4], rows[1::4], rows[2::4] = run.durations, sizes, run.flags
    if run.offsets:
        rows[3::4] = [composition & 0xFFFFFFFF for composition in run.offsets]
    return box(
        b"traf",
        full_box(b"tfhd", 0, 0x020000, pack(">I", run.track)),
        full_box(b"tfdt", 1, 0, pack(">Q", run.base)),
        full_box(b"trun", 1, 0x000F01, pack(f">Ii{len(rows)}I", len(sizes), offset, *rows)),
    )


def _extends(track: int) -> bytes:
    return full_box(b"trex", 0, 0, pack(">5I", track, 1, 0, 0, 0))


def _video_track(config: VideoConfig) -> bytes:
    return _track(
        VIDEO_TRACK,
        pack(">II", config.shown_width << 16, config.shown_height << 16),
        VIDEO_TIMESCALE,
        full_box(b"hdlr", 0, 0, pack(">I4s12x", 0, b"vide"), b"VideoHandler\x00"),
        full_box(b"vmhd", 0, 1, bytes(8)),
        _video_entry(config),
        volume=0,
    )


def _audio_track(config: AudioConfig) -> bytes:
    return _track(
        AUDIO_TRACK,
        bytes(8),
        config.sample_rate,
        full_box(b"hdlr", 0, 0, pack(">I4s12x", 0, b"soun"), b"SoundHandler\x00"),
        full_box(b"smhd", 0, 0, bytes(4)),
        _audio_entry(config),
        volume=0x100,
    )


def _track(
    track: int, size: bytes, timescale: int, handler: bytes, media_header: bytes, entry: bytes, *, volume: int
) -> bytes:
    header = full_box(b"tkhd", 0, 3, pack(">IIIII8xHHHH", 0, 0, track, 0, 0, 0, 0, volume, 0), MATRIX, size)
    reference = full_box(b"dref", 0, 0, pack(">I", 1), full_box(b"url ", 0, 1))
    tables = (
        full_box(b"stsd", 0, 0, pack(">I", 1), entry),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, pack(">IIIIHH", 0, 0, timescale, 0, 0x55C4, 0)),
        handler,
        box(b"minf", media_header, box(b"dinf", reference), box(b"stbl", *tables)),
    )
    return box(b"trak", header, media)


_VIDEO_RECORD = {Codec.H264: b"avcC", Codec.HEVC: b"hvcC", Codec.AV1: b"av1C", Codec.VP9: b"vpcC"}


def _video_entry(config: VideoConfig) -> bytes:
    """ISO/IEC 14496-12, 12.1.3 to 12.1.5: the codec's own record, and what it says of colour and of samples' shape."""
    fixed = pack(">6xH16xHHIIIH32xHh", 1, config.width, config.height, 0x480000, 0x480000, 0, 1, 24, -1)
    boxes = [box(_VIDEO_RECORD[config.codec], config.record)]
    colour, aspect = config.colour, config.pictures.sample_aspect
    if colour.is_told:
        points = pack(">HHHB", colour.primaries, colour.transfer, colour.matrix, colour.is_full_range << 7)
        boxes.append(box(b"colr", b"nclx", points))
    if aspect != (1, 1):
        boxes.append(box(b"pasp", pack(">II", *aspect)))
    return box(config.codec.value.encode("ascii"), fixed, *boxes)


def _audio_entry(config: AudioConfig) -> bytes:
    """ISO/IEC 14496-12, 12.2.3."""
    rate = config.sample_rate if config.sample_rate < 1 << 16 else 0
    fixed = pack(">6xH8xHHIHH", 1, config.channels, 16, 0, rate, 0)
    record = _opus_record(config) if config.codec is Codec.OPUS else _elementary_stream(config)
    return box(config.codec.value.encode("ascii"), fixed, record)


def _opus_record(config: AudioConfig) -> bytes:
    """Encapsulation of Opus in ISOBMFF, 4.3.2: the identification header's fields, big-endian."""
    head = config.record
    pre_skip, rate, gain = head[10:12][::-1], head[12:16][::-1], head[16:18][::-1]
    return box(b"dOps", b"\x00", head[9:10], pre_skip, rate, gain, head[18:])


def _elementary_stream(config: AudioConfig) -> bytes:
    """ISO/IEC 14496-1, 7.2.6: the descriptors that carry an AudioSpecificConfig."""
    specific = _descriptor(5, config.record)
    decoder = _descriptor(4, pack(">BB3xII", 0x40, 0x15, 0, 0), specific)
    return full_box(b"esds", 0, 0, _descriptor(3, pack(">HB", AUDIO_TRACK, 0), decoder, _descriptor(6, b"\x02")))


def _descriptor(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    return bytes([tag, *(0x80 | size >> shift & 0x7F for shift in (21, 14, 7)), size & 0x7F]) + content

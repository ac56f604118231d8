"""Frames: what moves inside a process. Nobody changes one once it is made."""

from __future__ import annotations

from enum import Enum

from attrs import define


class Track(Enum):
    """The two tracks of a broadcast."""

    VIDEO = "video"
    AUDIO = "audio"

    __hash__ = object.__hash__  # there is one of each, and Enum's own is a call in Python for each look-up


VIDEO, AUDIO = Track.VIDEO, Track.AUDIO
"""The same, for what is done with each frame: to look a member up in its Enum is slow in Python 3.11."""


class Codec(Enum):
    """A codec that the system carries, by its MP4 sample entry; or audio of another, of which AAC is made first."""

    H264 = "avc1"
    HEVC = "hvc1"
    AV1 = "av01"
    VP9 = "vp09"
    AAC = "mp4a"
    OPUS = "Opus"
    OTHER_AUDIO = "othr"

    track: Track

    def __init__(self, sample_entry: str) -> None:
        self.track = Track.AUDIO if sample_entry in ("mp4a", "Opus", "othr") else Track.VIDEO


@define
class Frame:
    """
    One access unit, or one decoder configuration, with the FLV tag body that carries it.

    ``body`` is the whole tag body as RTMP and FLV carry it (legacy or Enhanced RTMP header included), so that it can be
    relayed as it is; ``data`` is what MP4 stores: length-prefixed NAL units, raw AAC, or the configuration record.
    ``dts_ms`` is on the broadcast's own time line; ``arrived`` is the wall clock, in seconds, at the ingest.

    Nobody changes a frame. It is not declared frozen because it would then take four times as long to make, and
    thousands are made a second.
    """

    codec: Codec
    dts_ms: int
    body: bytes
    data_offset: int
    cts_ms: int = 0
    is_key: bool = False
    is_config: bool = False
    arrived: float = 0.0

    @property
    def track(self) -> Track:
        return self.codec.track

    @property
    def pts_ms(self) -> int:
        return self.dts_ms + self.cts_ms

    @property
    def data(self) -> memoryview:
        return memoryview(self.body)[self.data_offset :]

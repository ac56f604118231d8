"""
The values that every part of the system speaks of: names, codecs, frames, and the state of a stream.

Frames are what moves inside a process; an `Announcement` is what moves between processes. Neither is changed
once it is made, holds I/O, or means another thing in another role.
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import define, frozen

SOURCE = "source"
"""The rendition that is passed through as the broadcaster encoded it."""

_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RENDITION = re.compile(r"source|[1-9][0-9]{1,3}p")
_NODE = re.compile(r"[A-Za-z0-9_.-]{0,64}")


class InvalidName(ValueError):
    """A name that cannot be a stream's, a rendition's or a node's; the message says what would be right."""


def stream_name(text: str) -> str:
    """
    Return ``text`` if it can name a stream.

    :raises InvalidName: it is not 1 to 64 of ``A-Z a-z 0-9 _ -``, beginning with a letter or a digit.
    """
    if _STREAM.fullmatch(text) is None:
        raise InvalidName("a stream name is 1 to 64 letters, digits, '_' or '-', the first a letter or digit")
    return text


def rendition_name(text: str) -> str:
    """
    Return ``text`` if it can name a rendition.

    :raises InvalidName: it is neither ``source`` nor a height such as ``720p``.
    """
    if _RENDITION.fullmatch(text) is None:
        raise InvalidName("a rendition is 'source' or a height such as '720p'")
    return text


def node_name(text: str) -> str:
    """
    Return ``text`` if it can name a node; the empty name is that of nobody.

    :raises InvalidName: it is not at most 64 of ``A-Z a-z 0-9 _ . -``.
    """
    if _NODE.fullmatch(text) is None:
        raise InvalidName("a node's name is at most 64 letters, digits, '.', '_' or '-'")
    return text


class Track(Enum):
    """The two tracks of a broadcast."""

    VIDEO = "video"
    AUDIO = "audio"

    __hash__ = object.__hash__  # there is one of each, and Enum's own is a call in Python for each look-up


VIDEO, AUDIO = Track.VIDEO, Track.AUDIO
"""The same, for what is done with each frame: to look a member up in its Enum is slow in Python 3.11."""


class Codec(Enum):
    """A codec that the system carries, by its MP4 sample entry."""

    H264 = "avc1"
    HEVC = "hvc1"
    AV1 = "av01"
    VP9 = "vp09"
    AAC = "mp4a"
    OPUS = "Opus"

    track: Track

    def __init__(self, sample_entry: str) -> None:
        self.track = Track.AUDIO if sample_entry in ("mp4a", "Opus") else Track.VIDEO


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


@frozen
class RenditionInfo:
    """
    What a multivariant playlist says of a rendition.

    ``codecs`` is the RFC 6381 list; rates are in bits per second, measured; a rendition without video has no size.
    """

    name: str
    codecs: str
    bandwidth: int
    average_bandwidth: int
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0


@frozen
class ObjectInfo:
    """A downloadable object: its name within the rendition, its size in bytes and the SHA-256 of its bytes, in hex."""

    name: str
    size: int
    digest: str


@frozen
class Segment:
    """
    One segment of one rendition, as a playlist lists it.

    ``msn`` is the media sequence number and ``discontinuity`` the discontinuity sequence number, both the same in every
    rendition; ``starts_at_ms`` is its program date and time, in Unix milliseconds. A gap has no ``media``. ``init`` is
    the initialisation segment it needs. ``independent`` says that its first picture can be decoded by itself.
    """

    msn: int
    discontinuity: int
    starts_at_ms: int
    duration_ms: int
    media: ObjectInfo | None
    init: ObjectInfo | None
    independent: bool = True

    @property
    def is_gap(self) -> bool:
        return self.media is None


@frozen
class Epoch:
    """
    One writer's turn at a stream: what it says is of the numbers from ``first_msn`` on.

    ``number`` is unique to the turn and rises: of two epochs, the one with the higher number is the younger, and no
    number from its first on is of any older one. With ``restarts_list`` playlists list nothing from before
    ``first_msn``, for nobody could say what there is.
    """

    number: int
    first_msn: int
    restarts_list: bool = False


@frozen
class EpochBegan:
    """A writer has begun its turn; no segment of it is whole yet."""

    stream: str
    epoch: Epoch
    node: str = ""


@frozen
class SegmentAnnounced:
    """
    A segment of a rendition is whole at the announcing tier.

    ``target_s`` is the target duration of every playlist of the stream while the epoch lasts. ``info`` is the rendition
    as it stands with this segment. ``node`` is the id of the node that has it; empty where nodes have none.
    """

    stream: str
    epoch: Epoch
    target_s: int
    info: RenditionInfo
    segment: Segment
    node: str = ""


@frozen
class StreamEnded:
    """The broadcast is over: ``last_msn`` is the last segment that any rendition will have in this epoch."""

    stream: str
    epoch: Epoch
    last_msn: int
    node: str = ""


@frozen
class PublisherChange:
    """
    The publisher of a stream has come to an ingest, or left it: what ingests tell each other, and nobody else.

    ``count`` rises with each change within an epoch. Media beyond ``last_msn``, the newest number then given, says that
    a publisher is there, whatever was told before.
    """

    stream: str
    epoch: int
    count: int
    is_here: bool
    last_msn: int
    node: str = ""


Announcement = EpochBegan | SegmentAnnounced | StreamEnded
"""What a writer says, once: a later announcement adds to it and never corrects it."""


@frozen
class StreamPosition:
    """
    How far a stream had come, as one node knows it. ``msn`` is the highest number that was given.

    ``epoch`` is the number of the youngest epoch heard of, ``ends_at_ms`` (Unix milliseconds) the end of the newest
    segment; all are 0 where nothing is known.
    """

    epoch: int = 0
    msn: int = 0
    discontinuity: int = 0
    ends_at_ms: int = 0
    target_s: int = 0
    is_ended: bool = False


class Superseded(Exception):
    """Somebody has begun a younger epoch, the number of which is ``epoch``: an older one gives no more numbers."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"a younger epoch has begun: {epoch}")
        self.epoch = epoch

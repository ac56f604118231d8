"""
Segments, and what is announced of a stream: what moves between processes.

None of it is changed once it is made, or means another thing in another role.
"""

from __future__ import annotations

from attrs import frozen

SDR = "SDR"
VIDEO_RANGES = (SDR, "HLG", "PQ")
"""The dynamic ranges of video, as playlists name them (RFC 8216bis, 4.4.6.2)."""


@frozen
class RenditionInfo:
    """
    What a multivariant playlist says of a rendition.

    ``codecs`` is the RFC 6381 list; rates are in bits per second, measured. ``width`` and ``height`` are the size at
    which the pictures are shown, in square pixels; a rendition without video has none. ``video_range`` is one of
    `VIDEO_RANGES`.
    """

    name: str
    codecs: str
    bandwidth: int
    average_bandwidth: int
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    video_range: str = SDR


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
    ``is_absence`` says that its publisher was away, and that it shows the last key frame.
    """

    msn: int
    discontinuity: int
    starts_at_ms: int
    duration_ms: int
    media: ObjectInfo | None
    init: ObjectInfo | None
    independent: bool = True
    is_absence: bool = False

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

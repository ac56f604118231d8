"""What a session tells its application."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen
class PublishRequested:
    """A peer wants to publish ``name`` in ``app``. Accept or refuse."""

    stream_id: int
    app: str
    name: str
    query: dict[str, str]


@frozen
class PlayRequested:
    """A peer wants to play ``name`` in ``app``. Accept or refuse."""

    stream_id: int
    app: str
    name: str
    query: dict[str, str]


@frozen
class MediaReceived:
    """Audio (8) or video (9) of the stream that is published or played; ``timestamp_ms`` is modulo 2^32."""

    type_id: int
    timestamp_ms: int
    body: bytes


@frozen
class DataReceived:
    """A data message, such as ``onMetaData``."""

    timestamp_ms: int
    name: str
    values: list[Any]


@frozen
class PublishEnded:
    """The peer publishes no more."""


@frozen
class PlayEnded:
    """The peer plays no more."""


@frozen
class Paused:
    """A player wants no media for now, or wants it again."""

    is_paused: bool


@frozen
class Started:
    """Our publish or play was accepted."""


@frozen
class PeerRefused:
    """Our publish or play was refused, or failed later."""

    code: str
    description: str


@frozen
class StreamEnded:
    """The broadcast that we play is over."""


@frozen
class Answered:
    """The peer answered a ping: it is alive."""


ServerEvent = (
    PublishRequested | PlayRequested | MediaReceived | DataReceived | PublishEnded | PlayEnded | Paused | Answered
)
ClientEvent = Started | PeerRefused | MediaReceived | DataReceived | StreamEnded | Answered

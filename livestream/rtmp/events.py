"""
What a session gives its application: the events of a server, and those of a client.

Audio and video of the stream that is published or played are the :class:`~livestream.rtmp.chunks.Message` itself: they
are nearly all that is received.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from livestream.rtmp.chunks import Message


@frozen
class PublishRequested:
    """A client asks to publish ``name`` in ``app``. Accept or refuse."""

    stream_id: int
    app: str
    name: str
    query: dict[str, str]


@frozen
class PlayRequested:
    """A client asks to play ``name`` in ``app``. Accept, refuse or redirect."""

    stream_id: int
    app: str
    name: str
    query: dict[str, str]


@frozen
class DataReceived:
    """A data message, such as ``onMetaData``."""

    timestamp_ms: int
    name: str
    values: list[Any]


@frozen
class PublishEnded:
    """The client has stopped publishing."""


@frozen
class PlayEnded:
    """The client has stopped playing, or withdrawn its request to."""


@frozen
class Paused:
    """A player has paused, or goes on."""

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
class PingAnswered:
    """The peer answered a ping: it is alive."""


ServerEvent = (
    Message | PublishRequested | PlayRequested | DataReceived | PublishEnded | PlayEnded | Paused | PingAnswered
)
ClientEvent = Message | Started | PeerRefused | DataReceived | StreamEnded | PingAnswered

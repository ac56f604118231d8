"""
Who may publish and who may watch, in terms of no protocol: what is asked for, and why it is refused.

Each protocol has a table with its own words for every `Reason`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import frozen

REFUSED = "refused"


class Reason(Enum):
    """Why a publisher or a viewer is not admitted."""

    UNKNOWN_PATH = "nothing is published or played under this path"
    INVALID_NAME = "no stream or rendition can have this name"
    WRONG_KEY = "the key is wrong or missing"
    TOO_MANY_TRIES = "this address has tried too many keys"
    IN_USE = "the stream has another publisher"
    TOO_MANY_STREAMS = "no more streams are taken"
    TOO_MANY_VIEWERS = "no more viewers are taken"
    NOT_ALLOWED = "this peer may not do that here"
    UNSUPPORTED = "the media cannot be served"
    NOT_LIVE = "the stream is not live, or does not have the rendition"
    UNAVAILABLE = "whether the stream is live cannot be determined now"
    DRAINING = "the node is draining"


class Refusal(Exception):
    """
    A publisher or a viewer is not admitted; ``message`` is for its program, and for people.

    It is counted as ``limit``. A limit other than `REFUSED` is logged by whoever refuses, and not each time.
    """

    def __init__(self, reason: Reason, message: str, limit: str = REFUSED) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.limit = limit


@frozen
class PublishRequest:
    """Somebody at ``address`` wants to publish ``stream``. Nothing of it has been checked."""

    stream: str
    query: Mapping[str, str]
    address: str


class PushProtocol(Enum):
    """What a viewer of the push speaks, as it is counted."""

    RTMP = "rtmp"
    RELAY = "relay"
    FLV = "flv"
    FLV_WEBSOCKET = "flv-websocket"


@frozen
class PlayRequest:
    """Somebody at ``address`` wants to watch a rendition of ``stream``. Nothing of it has been checked."""

    stream: str
    rendition: str
    query: Mapping[str, str]
    address: str
    protocol: PushProtocol

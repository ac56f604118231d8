"""What RTMP peers request, who admits them, and the status codes of refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

from attrs import frozen

from livestream.model.admission import Reason

if TYPE_CHECKING:
    from livestream.net.rtmp.connection import RtmpConnection


UNIX = "unix"
"""The address of a peer on a UNIX socket."""

_FAILED, _NOT_FOUND = "NetStream.Play.Failed", "NetStream.Play.StreamNotFound"
_REJECTED, _BAD_NAME, _DENIED = "NetStream.Publish.Rejected", "NetStream.Publish.BadName", "NetStream.Publish.Denied"
CODES: dict[Reason, tuple[str, str]] = {
    Reason.UNKNOWN_PATH: (_REJECTED, _NOT_FOUND),
    Reason.INVALID_NAME: (_BAD_NAME, _NOT_FOUND),
    Reason.WRONG_KEY: (_DENIED, _FAILED),
    Reason.TOO_MANY_TRIES: (_DENIED, _FAILED),
    Reason.IN_USE: (_BAD_NAME, _FAILED),
    Reason.TOO_MANY_STREAMS: (_REJECTED, _NOT_FOUND),
    Reason.TOO_MANY_VIEWERS: (_REJECTED, _FAILED),
    Reason.NOT_ALLOWED: (_REJECTED, _FAILED),
    Reason.UNSUPPORTED: (_REJECTED, _FAILED),
    Reason.NOT_LIVE: (_REJECTED, _NOT_FOUND),
    Reason.UNAVAILABLE: (_REJECTED, _NOT_FOUND),
    Reason.DRAINING: (_REJECTED, _FAILED),
}
"""The codes with which a publisher, and a player, is refused."""


@frozen
class RtmpRequest:
    """A peer's request to publish or to play ``name`` of the application ``app``."""

    app: str
    name: str
    query: dict[str, str]
    address: str

    @property
    def path(self) -> str:
        """The name with its query, as it stands in a URL."""
        return f"{self.name}?{urlencode(self.query)}" if self.query else self.name


class PublishSink(Protocol):
    """Who takes a publisher's messages. What it raises ends that connection and no other."""

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        """Take a message; return how many steps of work that was, beside those of any message."""

    def data(self, timestamp_ms: int, name: str, values: Sequence[object]) -> None: ...
    def lost(self, reason: str, *, is_over: bool = False) -> None:
        """The publisher has gone or, with ``is_over``, said that it publishes no more. Called exactly once."""


class PlaySession(Protocol):
    """Who serves a player."""

    def paused(self, paused: bool) -> None: ...
    def wrote(self) -> None:
        """The connection has just written a message of its own to its transport."""

    def at_key_frame(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the next key frame has been sent, or at once when nothing is sent yet."""

    def lost(self, reason: str) -> None:
        """The player has gone, or plays no more. Called exactly once."""


class Publishing(Protocol):
    """Who admits publishers."""

    async def publish(self, request: RtmpRequest, connection: RtmpConnection) -> PublishSink:
        """
        Admit a publisher, in a bounded time; it is cancelled when the peer has gone meanwhile.

        :raises Refusal: it may not publish.
        """


class Playing(Protocol):
    """Who admits players."""

    @property
    def audience(self) -> int:
        """How many viewers of this node watch by push, or wait to, on whatever port."""

    def play(self, request: RtmpRequest, connection: RtmpConnection) -> PlaySession:
        """
        Begin to admit a player, which may take long. The connection's ``accept_play`` or ``refuse`` is called then.

        :raises Refusal: it may not play, as is known at once.
        """

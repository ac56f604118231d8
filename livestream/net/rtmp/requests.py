"""What RTMP peers ask for, who is asked, and how they are told no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

from attrs import frozen

if TYPE_CHECKING:
    from livestream.net.rtmp.connection import RtmpConnection


REFUSED = "refused"
UNIX = "unix"
"""The address of a peer on a UNIX socket."""


class Refused(Exception):
    """
    A publisher or a player is not let in; ``code`` and the words are for its program.

    It is counted as ``limit``. Whoever refuses at a limit of its own logs that itself, and not each time.
    """

    def __init__(self, code: str, description: str, limit: str = REFUSED) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.limit = limit


@frozen
class PublishRequest:
    """Somebody wants to publish ``name``."""

    app: str
    name: str
    query: dict[str, str]
    address: str


@frozen
class PlayRequest:
    """Somebody wants to play ``name``."""

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
    def lost(self, reason: str) -> None:
        """The publisher has gone, or publishes no more. Called exactly once."""


class PlaySession(Protocol):
    """Who serves a player."""

    def paused(self, paused: bool) -> None: ...
    def wrote(self) -> None:
        """The connection has just written something of its own to its transport."""

    def at_key_frame(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the next key frame has been sent, or at once when nothing is sent yet."""

    def lost(self, reason: str) -> None:
        """The player has gone, or plays no more. Called exactly once."""


class Publishing(Protocol):
    """Who lets publishers in."""

    async def publish(self, request: PublishRequest, connection: RtmpConnection) -> PublishSink:
        """
        Let a publisher in, in a bounded time; it is cancelled when the peer has gone meanwhile.

        :raises Refused: in words for the broadcaster.
        """


class Playing(Protocol):
    """Who lets players in, now or later, by ``accept_play`` of the connection."""

    @property
    def visitors(self) -> int:
        """How many watch live what is here, or wait to, on whatever port."""

    def play(self, request: PlayRequest, connection: RtmpConnection) -> PlaySession:
        """
        Take a player.

        :raises Refused: in words for the viewer.
        """

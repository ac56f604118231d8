"""What is asked of every bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from livestream.model.segments import Announcement, StreamPosition


class Tier(Enum):
    """Who announces: what an ingest has is for origins, what an origin has is for edges."""

    INGEST = "ingest"
    ORIGIN = "origin"


class NotNow(Exception):
    """The bus does not answer at the moment, or not with anything that means something."""


@frozen
class Taken:
    """
    The answer to one who takes a stream: the number of its epoch, and what the bus knew before.

    ``owner`` is the node that had taken it, empty where there was none; ``silent_s`` is how long ago the bus accepted
    anything of the stream, and 0 if its owner has left since.
    """

    epoch: int
    position: StreamPosition
    owner: str = ""
    silent_s: float = 0.0


class Listener(Protocol):
    """Who hears what a tier announces."""

    def announced(self, announcement: Announcement) -> None: ...
    def recovered(self, announcements: Sequence[Announcement]) -> None:
        """What is kept of the tier's streams, at the beginning and whenever something may have been missed."""


class Log(Protocol):
    """What this node has announced to a tier, for a bus that has lost it."""

    def streams(self) -> Sequence[str]: ...
    def announcements(self, stream: str) -> Sequence[Announcement]: ...


class Bus(Protocol):
    """Carries announcements from one tier to the next, and keeps a log of them for who comes later."""

    @property
    def is_healthy(self) -> bool:
        """Whether what is announced is heard at the moment."""

    @property
    def has_caught_up(self) -> bool:
        """Whether listeners have also been told of what was announced before."""

    def take(self, stream: str, epoch: int) -> Deferred[Taken]:
        """
        Make this node the writer of a stream, in an epoch of this number or a higher one.

        It fails with `NotNow`.
        """

    def accept(self, announcement: Announcement) -> Deferred[None]:
        """
        Announce to origins as the writer of a stream, if that is who this node still is.

        It fails with `Superseded` if somebody else has taken the stream and the number may be theirs, and with
        `NotNow`; it may then be asked again, as often as one likes.
        """

    def leave(self, stream: str, epoch: int) -> None:
        """All that was given a number in this epoch of ours has been offered, and no more will be for now."""

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        """Announce. It never waits and never raises; what cannot be said now is read from the node's `Log` later."""

    def restore_from(self, tier: Tier, log: Log) -> None:
        """Where what this node has announced to a tier is found, should the bus have lost it."""

    def forget(self, tier: Tier, stream: str) -> None:
        """Keep nothing any more of what this node has announced of a stream."""

    def listen(self, tier: Tier, listener: Listener) -> None:
        """Tell ``listener`` what a tier announces from here on."""

    def recall(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        """What is kept of a stream; nothing also when that cannot be found out in a second."""

    def tell(self, channel: str, message: bytes) -> None:
        """Say something to all who hear ``channel``, oneself included. It never waits and never raises."""

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Call ``heard`` with what is told on ``channel`` from here on, by whomever."""

    def keep(self, channel: str, name: str, message: bytes | None) -> None:
        """
        Keep the newest message of ``name`` for those who come later; ``None``: keep it no more.

        It never waits and never raises, and may be lost: keep it again now and then.
        """

    def kept(self, channel: str) -> Deferred[Sequence[bytes]]:
        """What is kept of every name, in no order, and at most so many as there may be; it fails if nobody answers."""

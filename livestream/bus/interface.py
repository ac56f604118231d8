"""The protocol that every bus implements, and what it exchanges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from livestream.model.segments import Announcement, StreamPosition


class Tier(Enum):
    """The announcing tier: origins listen to ingests, and edges listen to origins."""

    INGEST = "ingest"
    ORIGIN = "origin"


class TemporarilyUnavailable(Exception):
    """There is no valid answer at the moment; a later attempt may succeed."""


@frozen
class ClaimReply:
    """
    The answer to a claim: the number of the new epoch, and the stream's state before it.

    ``owner`` is the previous writer, or empty; ``silent_s`` is how long ago the bus last accepted an announcement of
    the stream, and 0 if that writer has released it.
    """

    epoch: int
    position: StreamPosition
    owner: str = ""
    silent_s: float = 0.0


class Listener(Protocol):
    """Receives the announcements of a tier."""

    def announced(self, announcement: Announcement) -> None: ...
    def recovered(self, announcements: Sequence[Announcement]) -> None:
        """The logged announcements of the tier, at the start and whenever some may have been missed."""


class AnnouncementLog(Protocol):
    """What this node has announced to a tier, for a bus that has lost its own log."""

    def streams(self) -> Sequence[str]: ...
    def announcements(self, stream: str) -> Sequence[Announcement]: ...


class Bus(Protocol):
    """Carries announcements from one tier to the next, and logs them for late joiners."""

    @property
    def is_healthy(self) -> bool:
        """Whether announcements are being received."""

    @property
    def has_caught_up(self) -> bool:
        """Whether listeners have also received what was announced before they joined."""

    def claim(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        """
        Make this node the writer of a stream, in an epoch with this number or a higher one.

        Fails with `TemporarilyUnavailable`.
        """

    def accept(self, announcement: Announcement) -> Deferred[None]:
        """
        Announce to origins as the writer of a stream, provided that this node still is its writer.

        Fails with `Superseded` if another node has claimed the stream and the number may belong to it, and with
        `TemporarilyUnavailable`, after which it may be retried any number of times.
        """

    def release(self, stream: str, epoch: int) -> None:
        """Stop being the active writer: every segment numbered in this epoch has been passed to `accept`."""

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        """
        Announce without confirmation. Never blocks and never raises.

        What cannot be sent now is read from the node's `AnnouncementLog` later.
        """

    def restore_from(self, tier: Tier, log: AnnouncementLog) -> None:
        """Set the log from which the bus restores what this node has announced to a tier."""

    def discard(self, tier: Tier, stream: str) -> None:
        """Delete what this node has announced of a stream."""

    def listen(self, tier: Tier, listener: Listener) -> None:
        """Deliver a tier's announcements to ``listener`` from now on."""

    def fetch_state(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        """Fetch the logged announcements of a stream; empty, too, if the bus does not answer within a second."""

    def send(self, channel: str, message: bytes) -> None:
        """Send a message to all subscribers of ``channel``, this node included. Never blocks and never raises."""

    def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        """Call ``on_message`` with every message on ``channel`` from now on, whoever sent it."""

    def retain(self, channel: str, name: str, message: bytes | None) -> None:
        """
        Retain ``message`` as the newest of ``name`` for late joiners; ``None`` deletes it.

        Never blocks and never raises, and the message may be lost: retain it again from time to time.
        """

    def retained(self, channel: str) -> Deferred[Sequence[bytes]]:
        """Fetch the retained messages of all names, unordered, up to a limit. Fails if the bus does not answer."""

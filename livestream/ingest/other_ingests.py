"""The publishers at other ingests: only one ingest may continue a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from livestream.ingest.publish_admission import SILENT_S
from livestream.model.segments import Announcement, EpochBegan, PublisherChange, SegmentAnnounced, StreamEnded
from livestream.steering.nodes import Node

BEGINS_S = 6.0
"""How long a publisher's first segment may take."""
MAX_CHANGES = 10_000
"""For how many streams the last arrival or departure of a publisher is remembered."""

OnSuperseded = Callable[[str, int, str], None]


@frozen
class _RemotePublisher:
    """The last announcement, of which node, and until when its publisher is assumed to be connected."""

    node: str
    epoch: int
    msn: int
    until: float

    def is_before(self, change: PublisherChange) -> bool:
        """Whether nothing is known to have been sent since the publisher left."""
        return change.node == self.node and change.epoch == self.epoch and self.msn <= change.last_msn


@define(eq=False)
class RemotePublishers:
    """
    Follows the announcements of all ingests (a subscriber of their `KnownStreams`). ``node`` is this one's id;
    ``nodes`` returns all nodes that are alive.

    ``superseded(stream, epoch, node)`` is called with every announcement of another ingest: a broadcast of that stream
    here, in an older epoch, must be given up, since its announcements are no longer accepted.

    A publisher who has left is known to have done so at once if its ingest says so (`publisher_changed`), otherwise
    after the length of a segment and a silence.
    """

    node: str
    nodes: Callable[[], Sequence[Node]]
    clock: IReactorTime
    superseded: OnSuperseded
    _publishers: dict[str, _RemotePublisher] = field(factory=dict, init=False)
    _changes: dict[str, PublisherChange] = field(factory=dict, init=False)
    _waiting: dict[str, list[Deferred[None]]] = field(factory=dict, init=False)

    def on_announcement(self, stream: str, announcement: Announcement | None) -> None:
        """Process an announcement of any ingest; ``None`` says that the stream is no longer known."""
        if (
            announcement is None
            or isinstance(announcement, StreamEnded)
            or (announcement.node and announcement.node == self.node)
        ):
            self._publishers.pop(stream, None)
        else:
            self._note(announcement)
            self.superseded(stream, announcement.epoch.number, announcement.node)
        self._wake(stream)

    def publisher_changed(self, change: PublisherChange) -> None:
        """Process the arrival or departure of a publisher. Late and repeated messages are ignored."""
        known = self._changes.get(change.stream)
        if change.node == self.node or (known and (known.epoch, known.count) >= (change.epoch, change.count)):
            return
        self._changes.pop(change.stream, None)
        self._changes[change.stream] = change
        if len(self._changes) > MAX_CHANGES:
            del self._changes[next(iter(self._changes))]
        self._wake(change.stream)

    def holder(self, stream: str) -> str:
        """The id of another ingest that has a publisher of the stream; empty if none has."""
        publisher = self._publishers.get(stream)
        if publisher is None or self.clock.seconds() > publisher.until or self._has_left(stream, publisher):
            return ""
        return publisher.node if any(node.id == publisher.node and node.is_ready for node in self.nodes()) else ""

    def when_free(self, stream: str) -> Deferred[None]:
        """Fires when no other ingest has a publisher of the stream. Can be cancelled."""
        waiting = self._waiting.setdefault(stream, [])
        free: Deferred[None] = Deferred(lambda _: self._stop_waiting(stream, free))
        waiting.append(free)
        self._wake(stream)
        return free

    def _has_left(self, stream: str, publisher: _RemotePublisher) -> bool:
        change = self._changes.get(stream)
        return change is not None and not change.is_here and publisher.is_before(change)

    def _wake(self, stream: str) -> None:
        if stream in self._waiting and not self.holder(stream):
            for free in self._waiting.pop(stream):
                free.callback(None)

    def _stop_waiting(self, stream: str, free: Deferred[None]) -> None:
        self._waiting[stream].remove(free)
        if not self._waiting[stream]:
            del self._waiting[stream]

    def _note(self, announcement: EpochBegan | SegmentAnnounced) -> None:
        """Note what an announcement says about its publisher. A gap says that it is away."""
        stream, epoch, now = announcement.stream, announcement.epoch, self.clock.seconds()
        publisher = _RemotePublisher(announcement.node, epoch.number, epoch.first_msn - 1, now + BEGINS_S + SILENT_S)
        if isinstance(announcement, SegmentAnnounced):
            if announcement.segment.is_gap:
                self._publishers.pop(stream, None)
                return
            until = now + announcement.target_s + SILENT_S
            publisher = evolve(publisher, msn=announcement.segment.msn, until=until)
        self._publishers[stream] = publisher

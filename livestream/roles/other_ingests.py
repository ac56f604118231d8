"""
Other ingests: which streams they have publishers of, and when a stream that is here continues at another.

Only one ingest may continue a stream. Ingests tell each other on the channel ``publishers`` when a publisher arrives or
leaves, signed with the cluster's secret. These messages are not stored: an ingest that has missed one waits until the
stream has been silent for long enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from livestream.bus.announcements import InvalidMessage, decode_change, encode_change
from livestream.bus.interface import Bus
from livestream.ingest.publish_admission import SILENT_S
from livestream.model.segments import Announcement, EpochBegan, PublisherChange, SegmentAnnounced, StreamEnded
from livestream.signing import seal, unseal
from livestream.steering.nodes import Node

CHANNEL = "publishers"

BEGINS_S = 6.0
"""How long a publisher's first segment may take."""
MAX_CHANGES = 10_000
"""For how many streams the last arrival or departure of a publisher is remembered."""


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
class OtherIngests:
    """
    Which ingest has a publisher of which stream. ``node`` is this one's id; ``nodes`` returns all that are alive.

    A publisher who has left is known to have done so at once if its ingest says so (`publisher_changed`), otherwise
    after the length of a segment and a silence.
    """

    node: str
    nodes: Callable[[], Sequence[Node]]
    clock: IReactorTime
    _publishers: dict[str, _RemotePublisher] = field(factory=dict, init=False)
    _changes: dict[str, PublisherChange] = field(factory=dict, init=False)
    _waiting: dict[str, list[Deferred[None]]] = field(factory=dict, init=False)

    def changed(self, stream: str, announcement: Announcement | None) -> None:
        """Process an announcement of any ingest; ``None`` says that the stream is no longer known."""
        if is_of_another(announcement, self.node):
            self._note(announcement)
        else:
            self._publishers.pop(stream, None)
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
        heard = self._publishers.get(stream)
        if heard is None or self.clock.seconds() > heard.until or self._has_left(stream, heard):
            return ""
        return heard.node if any(node.id == heard.node and node.is_ready for node in self.nodes()) else ""

    def when_free(self, stream: str) -> Deferred[None]:
        """Fires when no other ingest has a publisher of the stream. Can be cancelled."""
        waiting = self._waiting.setdefault(stream, [])
        free: Deferred[None] = Deferred(lambda _: self._stop_waiting(stream, free))
        waiting.append(free)
        self._wake(stream)
        return free

    def _has_left(self, stream: str, heard: _RemotePublisher) -> bool:
        change = self._changes.get(stream)
        return change is not None and not change.is_here and heard.is_before(change)

    def _wake(self, stream: str) -> None:
        if stream in self._waiting and not self.holder(stream):
            for free in self._waiting.pop(stream):
                free.callback(None)

    def _stop_waiting(self, stream: str, free: Deferred[None]) -> None:
        self._waiting[stream].remove(free)
        if not self._waiting[stream]:
            del self._waiting[stream]

    def _note(self, announcement: EpochBegan | SegmentAnnounced) -> None:
        """Note what an announcement says about its publisher: whether it is away."""
        stream, epoch, now = announcement.stream, announcement.epoch, self.clock.seconds()
        publisher = _RemotePublisher(announcement.node, epoch.number, epoch.first_msn - 1, now + BEGINS_S + SILENT_S)
        if isinstance(announcement, SegmentAnnounced):
            if announcement.segment.is_absence:
                self._publishers.pop(stream, None)
                return
            until = now + announcement.target_s + SILENT_S
            publisher = evolve(publisher, msn=announcement.segment.msn, until=until)
        self._publishers[stream] = publisher


def is_of_another(announcement: Announcement | None, node: str) -> TypeGuard[EpochBegan | SegmentAnnounced]:
    """Whether it says that another ingest than ``node`` has the stream."""
    if announcement is None or isinstance(announcement, StreamEnded):
        return False
    return not announcement.node or announcement.node != node


def giving_way(
    node: str, give_up: Callable[[str, int], bool], superseded: Callable[[str, str], None]
) -> Callable[[str, Announcement | None], None]:
    """
    A subscriber to what ingests announce, which has a stream that another goes on with given up here.

    Whoever has it here, in an older epoch, writes for nobody any more: ``give_up`` ends that and says whether there was
    anything, and ``superseded`` ends the connection of its publisher.
    """

    def changed(stream: str, announcement: Announcement | None) -> None:
        if is_of_another(announcement, node) and give_up(stream, announcement.epoch.number):
            superseded(stream, announcement.node)

    return changed


@define(eq=False)
class PublisherChannel:
    """What ingests tell each other of their publishers, sealed with the cluster's ``secret``. ``node`` is this one."""

    bus: Bus
    node: str
    secret: str = field(repr=False)

    def send(self, change: PublisherChange) -> None:
        """Tell the other ingests."""
        message = encode_change(evolve(change, node=self.node))
        self.bus.send(CHANNEL, seal(message, self.secret))

    def subscribe(self, changed: Callable[[PublisherChange], None]) -> None:
        """Call ``changed`` with what ingests tell, this one included; what is not sealed or makes no sense is left."""

        def heard(message: bytes) -> None:
            payload = unseal(message, self.secret)
            try:
                if payload is not None:
                    changed(decode_change(payload))
            except InvalidMessage:
                return

        self.bus.subscribe(CHANNEL, heard)

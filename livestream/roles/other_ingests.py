"""
Other ingests: which streams they have, and when one that is here has gone elsewhere.

Two ingests that have the same stream must not both go on with it. Ingests tell each other on the channel ``publishers``
whose publisher has come or left, signed with the cluster's secret. Nothing of that is kept: who has missed it waits
until the stream has been silent for long enough.
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
"""So long may the first segment of a publisher take."""
MOST_CHANGES = 10_000
"""Of so many streams it is remembered that their publisher came or left."""


@frozen
class _Heard:
    """What was announced last, by which node, and until when its publisher is taken to be there."""

    node: str
    epoch: int
    msn: int
    until: float

    def is_before(self, change: PublisherChange) -> bool:
        """Whether a publisher who left has sent nothing since that is known of."""
        return change.node == self.node and change.epoch == self.epoch and self.msn <= change.last_msn


@define(eq=False)
class OtherIngests:
    """
    Which ingest has a publisher of which stream. ``node`` is this one's id; ``nodes`` has all that live.

    A publisher who has left is known to have done so at once where its ingest can say it (`publisher_changed`), and
    else after a segment and a silence.
    """

    node: str
    nodes: Callable[[], Sequence[Node]]
    clock: IReactorTime
    _heard: dict[str, _Heard] = field(factory=dict, init=False)
    _changes: dict[str, PublisherChange] = field(factory=dict, init=False)
    _waiting: dict[str, list[Deferred[None]]] = field(factory=dict, init=False)

    def changed(self, stream: str, announcement: Announcement | None) -> None:
        """Take an announcement of any ingest; ``None`` says that nothing is heard of the stream any more."""
        if is_of_another(announcement, self.node):
            self._note(announcement)
        else:
            self._heard.pop(stream, None)
        self._wake(stream)

    def publisher_changed(self, change: PublisherChange) -> None:
        """Take it that the publisher of another ingest has come or left. What comes late or twice changes nothing."""
        known = self._changes.get(change.stream)
        if change.node == self.node or (known and (known.epoch, known.count) >= (change.epoch, change.count)):
            return
        self._changes.pop(change.stream, None)
        self._changes[change.stream] = change
        if len(self._changes) > MOST_CHANGES:
            del self._changes[next(iter(self._changes))]
        self._wake(change.stream)

    def holder(self, stream: str) -> str:
        """The id of another ingest that has a publisher of the stream at present; empty when none has."""
        heard = self._heard.get(stream)
        if heard is None or self.clock.seconds() > heard.until or self._has_left(stream, heard):
            return ""
        return heard.node if any(node.id == heard.node and node.is_ready for node in self.nodes()) else ""

    def when_free(self, stream: str) -> Deferred[None]:
        """Fires when no other ingest has a publisher of the stream; who no longer waits for that cancels it."""
        waiting = self._waiting.setdefault(stream, [])
        free: Deferred[None] = Deferred(lambda _: self._stop_waiting(stream, free))
        waiting.append(free)
        self._wake(stream)
        return free

    def _has_left(self, stream: str, heard: _Heard) -> bool:
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
        """A gap says that the publisher is away."""
        stream, epoch, now = announcement.stream, announcement.epoch, self.clock.seconds()
        noted = _Heard(announcement.node, epoch.number, epoch.first_msn - 1, now + BEGINS_S + SILENT_S)
        if isinstance(announcement, SegmentAnnounced):
            if announcement.segment.is_gap:
                self._heard.pop(stream, None)
                return
            until = now + announcement.target_s + SILENT_S
            noted = evolve(noted, msn=announcement.segment.msn, until=until)
        self._heard[stream] = noted


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
        self.bus.tell(CHANNEL, seal(message, self.secret))

    def subscribe(self, changed: Callable[[PublisherChange], None]) -> None:
        """Call ``changed`` with what ingests tell, this one included; what is not sealed or makes no sense is left."""

        def heard(message: bytes) -> None:
            payload = unseal(message, self.secret)
            try:
                if payload is not None:
                    changed(decode_change(payload))
            except InvalidMessage:
                return

        self.bus.hear(CHANNEL, heard)

"""Which streams other ingests have: two that have the same one must not both go on with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from livestream.ingest.publisher import SILENT_S
from livestream.model import Announcement, EpochBegan, SegmentAnnounced, StreamEnded
from livestream.steering.nodes import Node

BEGINS_S = 6.0
"""So long may the first segment of a publisher take."""

Outdone = Callable[[str, int, str], None]


@frozen
class _Heard:
    """The node that announced a segment of media last, and until when its publisher is taken to be there."""

    node: str
    until: float


@define(eq=False)
class Elsewhere:
    """
    Hears what ingests announce (a subscriber of their catalogue). ``node`` is this one's id; ``nodes`` has all that
    live.

    ``outdone(stream, epoch, node)`` is called with everything that another announces: whoever has the stream here in an
    older life is to give it up, for nobody listens to that any more.
    """

    node: str
    nodes: Callable[[], Sequence[Node]]
    clock: IReactorTime
    outdone: Outdone
    _heard: dict[str, _Heard] = field(factory=dict, init=False)

    def changed(self, stream: str, announcement: Announcement | None) -> None:
        """Take an announcement of any ingest; ``None`` says that nothing is heard of the stream any more."""
        if announcement is None or isinstance(announcement, StreamEnded):
            self._heard.pop(stream, None)
            return
        if announcement.node and announcement.node == self.node:
            self._heard.pop(stream, None)
            return
        self._note(announcement)
        self.outdone(stream, announcement.epoch.number, announcement.node)

    def holder(self, stream: str) -> str:
        """The id of another ingest that has a publisher of the stream at present; empty when none has."""
        heard = self._heard.get(stream)
        if heard is None or self.clock.seconds() > heard.until:
            return ""
        return heard.node if any(node.id == heard.node and node.is_ready for node in self.nodes()) else ""

    def _note(self, announcement: EpochBegan | SegmentAnnounced) -> None:
        """A gap says that the publisher is away."""
        silent_s = BEGINS_S + SILENT_S
        if isinstance(announcement, SegmentAnnounced):
            silent_s = announcement.target_s + SILENT_S
            if announcement.segment.is_gap:
                self._heard.pop(announcement.stream, None)
                return
        self._heard[announcement.stream] = _Heard(announcement.node, self.clock.seconds() + silent_s)

"""Whether the tier below has what was announced, so that a node that is going knows when nobody needs it any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from attrs import define, field

from livestream.bus.interface import Bus, Tier
from livestream.bus.published import Ledger
from livestream.model.segments import Announcement, SegmentAnnounced

Name = tuple[str, str, str]
"""A stream, a rendition and an object."""
MOST_AWAITED = 4096


@define(eq=False)
class Receipts:
    """
    Hears the origins announce in turn what an ingest's ledger announces. An origin does so once it has it whole.

    ``origins`` has the ids of those that there are; while it has none, any origin will do.
    """

    bus: Bus
    ledger: Ledger
    origins: Callable[[], Collection[str]]
    _awaited: dict[Name, set[str]] = field(factory=dict, init=False)

    def start(self) -> None:
        """Watch what is announced from here on, and what may still be on its way."""
        for window in self.ledger.windows():
            for announcement in window.announcements():
                self._told(window.stream, announcement)
        self.ledger.subscribe(self._told)
        self.bus.listen(Tier.ORIGIN, self)

    @property
    def missing(self) -> int:
        """How many segments some origin does not have."""
        self._awaited = {name: nodes for name, nodes in self._awaited.items() if not self._is_had(nodes)}
        return len(self._awaited)

    def announced(self, announcement: Announcement) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            name = (announcement.stream, announcement.info.name, announcement.segment.media.name)
            if name in self._awaited:
                self._awaited[name].add(announcement.node)

    def recovered(self, announcements: Sequence[Announcement]) -> None:
        for announcement in announcements:
            self.announced(announcement)

    def _told(self, stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            self._awaited.setdefault((stream, announcement.info.name, announcement.segment.media.name), set())
            if len(self._awaited) > MOST_AWAITED:
                del self._awaited[next(iter(self._awaited))]

    def _is_had(self, nodes: set[str]) -> bool:
        return bool(nodes) and nodes >= set(self.origins())

"""Which announced segments the origins have fetched, so that a draining ingest knows when nobody needs it any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from attrs import define, field

from livestream.bus.interface import Bus, Tier
from livestream.bus.published import PublishedStreams
from livestream.model.segments import Announcement, SegmentAnnounced

Name = tuple[str, str, str]
"""A stream, a rendition and an object."""
MAX_OUTSTANDING = 4096


@define(eq=False)
class Acknowledgements:
    """
    Tracks which of an ingest's ``published`` segments every origin has announced in turn.

    An origin announces a segment once it holds all of it, which acknowledges it. ``origins`` returns the ids of the
    origins; while it returns none, one acknowledgement suffices.
    """

    bus: Bus
    published: PublishedStreams
    origins: Callable[[], Collection[str]]
    _acknowledged_by: dict[Name, set[str]] = field(factory=dict, init=False)

    def start(self) -> None:
        """Track what is announced from now on, and what was announced before."""
        for window in self.published.windows():
            for announcement in window.announcements():
                self._on_published(window.stream, announcement)
        self.published.subscribe(self._on_published)
        self.bus.listen(Tier.ORIGIN, self)

    @property
    def outstanding(self) -> int:
        """How many segments at least one origin has not acknowledged."""
        self._acknowledged_by = {
            name: nodes for name, nodes in self._acknowledged_by.items() if not self._is_acknowledged(nodes)
        }
        return len(self._acknowledged_by)

    def announced(self, announcement: Announcement) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            name = (announcement.stream, announcement.info.name, announcement.segment.media.name)
            if name in self._acknowledged_by:
                self._acknowledged_by[name].add(announcement.node)

    def recovered(self, announcements: Sequence[Announcement]) -> None:
        for announcement in announcements:
            self.announced(announcement)

    def _on_published(self, stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            self._acknowledged_by.setdefault((stream, announcement.info.name, announcement.segment.media.name), set())
            if len(self._acknowledged_by) > MAX_OUTSTANDING:
                del self._acknowledged_by[next(iter(self._acknowledged_by))]

    def _is_acknowledged(self, nodes: set[str]) -> bool:
        return bool(nodes) and nodes >= set(self.origins())

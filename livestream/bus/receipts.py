"""Whether the tier below has what was announced, so that a node that is going knows when nobody needs it any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from attrs import define, field

from livestream.bus.ledger import Ledger
from livestream.bus.memory import Bus, Tier
from livestream.model import Announcement, SegmentAnnounced
from livestream.packaging.window import StreamState

Rendition = tuple[str, str]


@define(eq=False)
class Receipts:
    """
    Hears the origins announce in turn what an ingest's ledger announces. An origin does so once it has it whole.

    ``origins`` has the ids of those that there are; while it has none, any origin will do.
    """

    bus: Bus
    ledger: Ledger
    origins: Callable[[], Collection[str]]
    _newest: dict[Rendition, str] = field(factory=dict, init=False)
    _had: dict[Rendition, dict[str, str]] = field(factory=dict, init=False)

    def start(self) -> None:
        """Watch what is announced from here on."""
        self.ledger.subscribe(self._told)
        self.bus.listen(Tier.ORIGIN, self)

    @property
    def missing(self) -> int:
        """Of how many renditions some origin has not the newest segment, before which it has all others."""
        return sum(not self._is_had(rendition, name) for rendition, name in self._newest.items())

    def announced(self, announcement: Announcement) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            had = self._had.setdefault((announcement.stream, announcement.info.name), {})
            had[announcement.node] = announcement.segment.media.name

    def recovered(self, states: Sequence[StreamState]) -> None:
        """What was before is of no interest."""

    def _told(self, stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            self._newest[stream, announcement.info.name] = announcement.segment.media.name

    def _is_had(self, rendition: Rendition, name: str) -> bool:
        had = self._had.get(rendition, {})
        origins = self.origins() or [node for node, newest in had.items() if newest == name]
        return bool(origins) and all(had.get(origin) == name for origin in origins)

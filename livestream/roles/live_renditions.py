"""What is live elsewhere, as far as an origin or an edge knows: what nobody has is not asked for upstream."""

from __future__ import annotations

from attrs import define

from livestream.bus.known_streams import KnownStreams
from livestream.model.names import SOURCE
from livestream.push.feeds import Availability


@define(eq=False)
class LiveRenditions:
    """Looks renditions up in what was announced. A broadcast is live from its beginning, before it lists a segment."""

    known_streams: KnownStreams

    def availability(self, stream: str, rendition: str) -> Availability:
        known_streams = self.known_streams
        if not known_streams.is_on_air(stream):
            return Availability.NOT_LIVE if known_streams.is_informed else Availability.UNKNOWN
        if rendition == SOURCE:
            return Availability.LIVE
        window = known_streams.window(stream)
        if window is not None and window.has_rendition(rendition):
            return Availability.LIVE
        return Availability.NOT_LIVE if window is not None and window.is_settled else Availability.UNKNOWN

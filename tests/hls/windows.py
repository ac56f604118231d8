"""Windows with something in them."""

from __future__ import annotations

from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from livestream.packaging.window import Window

EPOCH = 1_799_999_000_000
INFO = RenditionInfo("720p", "avc1.64001f,mp4a.40.2", 2_500_000, 2_000_000, 1280, 720, 30.0)


def window_of(stream: str, segments: int = 3) -> Window:
    """A stream with the rendition ``720p`` and so many segments."""
    window = Window(stream, 6)
    for msn in range(1, segments + 1):
        media = ObjectInfo(f"{EPOCH}-{msn}.m4s", 1000, f"{msn:064x}")
        segment = Segment(msn, 0, EPOCH + 3000 * msn, 3000, media, ObjectInfo(f"{EPOCH}-init-0.mp4", 800, "0" * 64))
        window.apply([SegmentAnnounced(stream, Epoch(EPOCH, 1), 3, INFO, segment)])
    return window

"""Announcements of a steady broadcast, for windows and playlists."""

from __future__ import annotations

from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced, StreamEnded

EPOCH = 1_799_999_000_000
SOURCE = RenditionInfo("source", "avc1.64002a,mp4a.40.2", 6_000_000, 5_000_000, 1920, 1080, 60.0)
RUNG = RenditionInfo("720p", "avc1.64001f,mp4a.40.2", 2_500_000, 2_000_000, 1280, 720, 30.0)


def segment(msn: int, discontinuity: int = 0, epoch: int = EPOCH, init: int = 0, is_gap: bool = False) -> Segment:
    """Segment ``msn``, three seconds long, at its place in time."""
    media = None if is_gap else ObjectInfo(f"{epoch}-{msn}.m4s", 1000, f"{msn:064x}")
    starts_at_ms = EPOCH + 3000 * msn
    return Segment(msn, discontinuity, starts_at_ms, 3000, media, ObjectInfo(f"{epoch}-init-{init}.mp4", 800, "0" * 64))


def announced(
    msn: int, info: RenditionInfo = SOURCE, epoch: int = EPOCH, first: int = 1, restarts: bool = False, **how: object
) -> SegmentAnnounced:
    """Segment ``msn`` of the epoch with the number ``epoch``, which began with ``first``."""
    placed = segment(msn, epoch=epoch, **how)  # type: ignore[arg-type]
    return SegmentAnnounced("show", Epoch(epoch, first, restarts), 3, info, placed)


def ended(last_msn: int, epoch: int = EPOCH, first: int = 1) -> StreamEnded:
    return StreamEnded("show", Epoch(epoch, first), last_msn)

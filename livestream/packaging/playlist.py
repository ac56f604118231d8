"""A window as HLS playlists (RFC 8216 and its successor draft), whose URLs are always relative."""

from __future__ import annotations

from datetime import UTC, datetime

from livestream.model.names import SOURCE, gap_name, playlist_uri, steering_uri
from livestream.model.segments import SDR, RenditionInfo, Segment
from livestream.packaging.window import Window

VERSION = 6
"""EXT-X-MAP in a playlist of more than I-frames needs it."""


PATHWAY = "."
"""The pathway of the variants as this playlist lists them, on the host that it came from (4.4.6.2)."""


def multivariant(window: Window, is_steered: bool = False) -> str | None:
    """
    The multivariant playlist; ``None`` while no rendition has a segment.

    With ``is_steered`` players ask ``/steer/STREAM`` which host to play from; the answer refers to the variants by
    their stable ids, which are the renditions' names.
    """
    infos = window.renditions()
    if not infos:
        return None
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{VERSION}"]
    if is_steered:
        server = steering_uri(window.stream)
        lines.append(f'#EXT-X-CONTENT-STEERING:SERVER-URI="{server}",PATHWAY-ID="{PATHWAY}"')
    has_ranges = any(info.video_range != SDR for info in infos)
    for info in infos:
        stable_id = f',STABLE-VARIANT-ID="{info.name}"' if is_steered else ""
        lines += [_stream_inf(info, has_ranges=has_ranges) + stable_id, playlist_uri(info.name)]
    return "\n".join(lines) + "\n"


def media_playlist(window: Window, rendition: str) -> str | None:
    """The media playlist of a rendition; ``None`` while it has no segment."""
    segments = window.listed(rendition)
    if not segments:
        return None
    first = segments[0]
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{VERSION}",
        f"#EXT-X-TARGETDURATION:{window.target_s}",
        f"#EXT-X-MEDIA-SEQUENCE:{first.msn}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{first.discontinuity}",
    ]
    if rendition != SOURCE:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    before: Segment | None = None
    for segment in segments:
        lines += _segment(segment, before)
        before = segment
    if window.is_complete(rendition):
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _stream_inf(info: RenditionInfo, *, has_ranges: bool) -> str:
    """With ``has_ranges`` some rendition is not SDR, and each says what it is (RFC 8216bis, 4.4.6.2)."""
    attributes = [f"BANDWIDTH={info.bandwidth}", f"AVERAGE-BANDWIDTH={info.average_bandwidth}"]
    attributes.append(f'CODECS="{info.codecs}"')
    if info.width and info.height:
        attributes.append(f"RESOLUTION={info.width}x{info.height}")
        if has_ranges:
            attributes.append(f"VIDEO-RANGE={info.video_range}")
    if info.frame_rate:
        attributes.append(f"FRAME-RATE={info.frame_rate:.3f}")
    return "#EXT-X-STREAM-INF:" + ",".join(attributes)


def _segment(segment: Segment, before: Segment | None) -> list[str]:
    breaks = 0 if before is None else segment.discontinuity - before.discontinuity
    lines = ["#EXT-X-DISCONTINUITY"] * breaks  # one per step, and a restarted broadcast may be several ahead
    if segment.init is not None and (before is None or before.init != segment.init):
        lines.append(f'#EXT-X-MAP:URI="{segment.init.name}"')
    if before is None or breaks:
        date = datetime.fromtimestamp(segment.starts_at_ms / 1000, UTC)
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}")
    if segment.media is None:
        lines.append("#EXT-X-GAP")
    lines.append(f"#EXTINF:{segment.duration_ms / 1000:.3f},")
    lines.append(segment.media.name if segment.media is not None else gap_name(segment.msn))
    return lines

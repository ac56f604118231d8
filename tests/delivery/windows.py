"""Windows of a stream, and playlists of them that are only as long as they have to be."""

from __future__ import annotations

from attrs import frozen


@frozen
class ShortWindow:
    """A stream with the rendition ``720p`` and so many segments."""

    stream: str
    segments: int = 3
    target_s: int = 3


@frozen
class ShortRenderer:
    def multivariant(self, window: ShortWindow) -> str:
        return f"#EXTM3U\n# {window.stream}\n" + "#EXT-X-STREAM-INF:\n720p/index.m3u8\n" * 5

    def media_playlist(self, window: ShortWindow, rendition: str) -> str | None:
        if rendition != "720p":
            return None
        return "#EXTM3U\n" + "".join(f"#EXTINF:3,\n{number}.m4s\n" for number in range(window.segments))

"""Playlists, rendered once per change and kept as prepared bytes, plain and gzip."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from typing import Protocol

from attrs import define, evolve, field

from livestream.hls.paths import Kind, Target
from livestream.http.response import Representation, ResponseFactory
from livestream.net.body import Body
from livestream.packaging.playlist import media_playlist, multivariant
from livestream.packaging.window import Window

MEDIA_TYPE = b"application/vnd.apple.mpegurl"

FRESH_S = 1
"""
A playlist may be kept by caches for so many seconds, and for half a target duration at most.

It may never be served stale, not even while it is fetched again: a player that asks once per segment would get the
playlist of its last request. Varnish serves it for ten seconds more, unless ``stale-while-revalidate`` (RFC 5861) says
otherwise.
"""


class Windows(Protocol):
    """What is known of the streams."""

    def window(self, stream: str) -> Window | None: ...
    def is_on_air(self, stream: str) -> bool:
        """Whether a broadcast has begun and not ended, even before there is a window."""

    def subscribe(self, changed: Callable[[str, object], None]) -> None:
        """Have ``changed(stream, announcement)`` called after every change, and with ``None`` when a stream goes."""


@define(eq=False)
class Playlists:
    """
    Contents by playlist. What was rendered is dropped when its stream changes, and rendered again when asked for.

    With ``are_steered`` players ask by content steering which node to play from.
    """

    windows: Windows
    responses: ResponseFactory
    are_steered: bool = False
    on_change: list[Callable[[str], None]] = field(factory=list)
    _plain: dict[str, dict[Target, Representation]] = field(factory=dict, init=False)
    _gzip: dict[str, dict[Target, Representation]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.windows.subscribe(self._changed)

    def ready(self, target: Target, zipped: bool) -> Representation | None:
        """The playlist as it stands; ``None`` when there is no such stream or rendition."""
        kept = self._gzip if zipped else self._plain
        playlists = kept.get(target.stream)
        representation = None if playlists is None else playlists.get(target)
        if representation is None:
            representation = self._zip(target) if zipped else self._render(target)
            if representation is not None:
                kept.setdefault(target.stream, {})[target] = representation
        return representation

    def _changed(self, stream: str, announcement: object) -> None:
        self._plain.pop(stream, None)
        self._gzip.pop(stream, None)
        for changed in self.on_change:
            changed(stream)

    def _render(self, target: Target) -> Representation | None:
        window = self.windows.window(target.stream)
        if window is None:
            return None
        if target.kind is Kind.MULTIVARIANT:
            text = multivariant(window, self.are_steered)
        else:
            text = media_playlist(window, target.rendition)
        fresh_s = min(window.target_s // 2, FRESH_S)
        return None if text is None else self._representation(target.kind, text.encode("ascii"), fresh_s)

    def _representation(self, kind: Kind, text: bytes, fresh_s: int) -> Representation:
        etag = b'"%b"' % hashlib.sha256(text).hexdigest()[:32].encode("ascii")
        cache_control = b"public, max-age=%d, stale-while-revalidate=0" % fresh_s
        status = self.responses.cache_status("hit")
        return Representation(
            kind, MEDIA_TYPE, Body.whole(text), len(text), etag, cache_control, status, "hit", varies=True
        )

    def _zip(self, target: Target) -> Representation | None:
        plain = self.ready(target, zipped=False)
        if plain is None:
            return None
        data = gzip.compress(plain.body.read(0, plain.size), mtime=0)
        return evolve(plain, body=Body.whole(data), size=len(data), etag=plain.etag[:-1] + b'-gzip"', encoding=b"gzip")

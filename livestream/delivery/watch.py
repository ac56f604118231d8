"""The pages for people: what is live, and a player for each stream."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import ClassVar

from attrs import define, field, frozen
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.http import CACHED
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException, NotFound

from livestream.model import InvalidName, stream_name

TYPES = {
    "watch.js": "text/javascript; charset=utf-8",
    "watch.css": "text/css; charset=utf-8",
    "hls.min.js": "text/javascript; charset=utf-8",
    "mpegts.js": "text/javascript; charset=utf-8",
    "hls.LICENSE.txt": "text/plain; charset=utf-8",
    "mpegts.LICENSE.txt": "text/plain; charset=utf-8",
}
"""All that is served under /static, and as what."""

ANYWHERE = " http: https:"


def policy(media_from: str = "") -> str:
    """
    The Content-Security-Policy of the pages, with what else media may come from.

    The players hand media to the browser, and run their workers, as blobs; nothing else comes from elsewhere.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            f"connect-src 'self'{media_from}",
            f"media-src 'self' blob:{media_from}",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


@frozen
class Asset:
    """A file that never changes while the process lives."""

    kind: bytes
    data: bytes
    zipped: bytes
    etag: bytes


def _load() -> Mapping[str, Asset]:
    folder = files("livestream.delivery") / "static"
    assets = {}
    for name, kind in TYPES.items():
        data = (folder / name).read_bytes()
        etag = f'"{sha256(data).hexdigest()[:20]}"'
        assets[name] = Asset(kind.encode("ascii"), data, gzip.compress(data, 6, mtime=0), etag.encode("ascii"))
    return assets


def _template(name: str) -> Template:
    return Template((files("livestream.delivery") / "static" / name).read_text("utf-8"))


@define(eq=False)
class Watch:
    """
    The pages beside the media. ``live`` has the names of the streams that are live.

    With ``is_steered`` a page may play from any node: which ones there will be is not known when it is loaded.
    """

    live: Callable[[], list[str]]
    is_steered: bool = False
    _assets: Mapping[str, Asset] = field(factory=_load, init=False)
    _index: Template = field(factory=lambda: _template("index.html"), init=False)
    _player: Template = field(factory=lambda: _template("watch.html"), init=False)

    router: ClassVar[Klein] = Klein()

    def resource(self) -> IResource:
        return self.router.resource()

    @router.route("/")
    def index(self, request: IRequest) -> bytes:
        """What is live; a page with nothing on it looks again by itself."""
        names = sorted(self.live())
        items = "".join(f'<li><a href="/watch/{escape(name)}">{escape(name)}</a></li>' for name in names)
        streams = f'<ul class="streams">{items}</ul>' if items else '<p class="empty">Nothing is live right now.</p>'
        refresh = "" if items else '<meta http-equiv="refresh" content="5">'
        return self._page(request, self._index.substitute(streams=streams, refresh=refresh))

    @router.route("/watch/<stream>")
    def player(self, request: IRequest, stream: str) -> bytes:
        """The player of a stream, live or not: one that is not starts when the stream does."""
        try:
            name = escape(stream_name(stream))
        except InvalidName:
            raise NotFound from None
        return self._page(request, self._player.substitute(stream=name))

    @router.route("/static/<name>")
    def static(self, request: IRequest, name: str) -> bytes:
        """Scripts, styles and the licences of those that are others'."""
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound
        for header, value in ((b"content-type", asset.kind), (b"cache-control", b"public, max-age=300")):
            request.setHeader(header, value)
        request.setHeader(b"vary", b"Accept-Encoding")
        request.setHeader(b"x-content-type-options", b"nosniff")
        if request.setETag(asset.etag) is CACHED:
            return b""
        if b"gzip" in (request.getHeader(b"accept-encoding") or b""):
            request.setHeader(b"content-encoding", b"gzip")
            return asset.zipped
        return asset.data

    @router.handle_errors(HTTPException)
    def not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """No such page, or no such method on it."""
        assert isinstance(failure.value, HTTPException)
        request.setResponseCode(failure.value.code or 500)
        text = '<p class="empty">There is no such page.</p><p><a href="/">What is live</a></p>'
        return self._page(request, self._index.substitute(streams=text, refresh=""))

    def _page(self, request: IRequest, text: str) -> bytes:
        for name, value in (
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", policy(ANYWHERE if self.is_steered else "")),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ):
            request.setHeader(name.encode("ascii"), value.encode("ascii"))
        return text.encode("utf-8")

"""The pages for people: what is live, and a player for each stream."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.resources import files
from string import Template
from typing import ClassVar, cast

from attrs import define, field
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, NotFound

from livestream.http.assets import Assets, page
from livestream.model.names import InvalidName, multivariant_path, stream_name, watch_path

STATIC = files("livestream.pages") / "static"
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


@define(eq=False)
class Watch:
    """
    The pages beside the media. ``live`` has the names of the streams that are live. All URLs in them are relative.

    With ``is_steered`` a page may play from any node: which ones there will be is not known when it is loaded.
    """

    live: Callable[[], list[str]]
    is_steered: bool = False
    _assets: Assets = field(factory=lambda: Assets.of(STATIC, TYPES), init=False)
    _index: Template = field(factory=lambda: Template((STATIC / "index.html").read_text("utf-8")), init=False)
    _player: Template = field(factory=lambda: Template((STATIC / "watch.html").read_text("utf-8")), init=False)

    router: ClassVar[Klein] = Klein()

    def resource(self) -> IResource:
        return self.router.resource()

    @router.route("/")
    def index(self, request: IRequest) -> bytes:
        """What is live; a page with nothing on it looks again by itself."""
        names = sorted(self.live())
        items = "".join(f'<li><a href=".{watch_path(escape(name))}">{escape(name)}</a></li>' for name in names)
        streams = f'<ul class="streams">{items}</ul>' if items else '<p class="empty">Nothing is live right now.</p>'
        refresh = "" if items else '<meta http-equiv="refresh" content="5">'
        return self._page(request, self._index.substitute(streams=streams, refresh=refresh, root=_root(request)))

    @router.route(watch_path("<stream>"))
    def player(self, request: IRequest, stream: str) -> bytes:
        """The player of a stream, live or not: one that is not starts when the stream does."""
        try:
            name = escape(stream_name(stream))
        except InvalidName:
            raise NotFound from None
        media = multivariant_path(name)[1:]
        return self._page(request, self._player.substitute(stream=name, media=media, root=_root(request)))

    @router.route("/static/<name>")
    def static(self, request: IRequest, name: str) -> bytes:
        """Scripts, styles and the licences of those that are others'."""
        return self._assets.body(request, name)

    @router.handle_errors(HTTPException)
    def not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """No such page, or no such method on it."""
        assert isinstance(failure.value, HTTPException)
        request.setResponseCode(failure.value.code or 500)
        root = _root(request)
        words = f'<p class="empty">This page does not exist.</p><p><a href="{root}">Live now</a></p>'
        return self._page(request, self._index.substitute(streams=words, refresh="", root=root))

    def _page(self, request: IRequest, html: str) -> bytes:
        return page(request, html, ANYWHERE if self.is_steered else "")


def _root(request: IRequest) -> str:
    """The index, relative to the path of a request: a proxy may serve the site below a prefix."""
    return "../" * (cast(Request, request).path.count(b"/") - 1) or "./"

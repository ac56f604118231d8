"""Serves the files that pages are made of, read once, and says what a browser may do with a page."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources.abc import Traversable

from attrs import define, frozen
from twisted.web.http import CACHED
from twisted.web.iweb import IRequest
from werkzeug.exceptions import NotFound


@frozen
class Asset:
    """A file that never changes while the process lives."""

    kind: bytes
    data: bytes
    zipped: bytes
    etag: bytes


@define(eq=False)
class Assets:
    """Files of one folder, by name."""

    by_name: Mapping[str, Asset]

    @classmethod
    def of(cls, folder: Traversable, kinds: Mapping[str, str]) -> Assets:
        """Read those of ``folder`` with these names, each with its content type."""
        assets = {}
        for name, kind in kinds.items():
            data = (folder / name).read_bytes()
            etag = f'"{sha256(data).hexdigest()[:20]}"'
            assets[name] = Asset(kind.encode("ascii"), data, gzip.compress(data, 6, mtime=0), etag.encode("ascii"))
        return cls(assets)

    def body(self, request: IRequest, name: str) -> bytes:
        """
        The body of the response to a request for ``name``.

        :raises NotFound: there is no such file.
        """
        asset = self.by_name.get(name)
        if asset is None:
            raise NotFound
        for header, value in ((b"content-type", asset.kind), (b"cache-control", b"public, max-age=300")):
            request.setHeader(header, value)
        request.setHeader(b"vary", b"Accept-Encoding")
        request.setHeader(b"x-content-type-options", b"nosniff")
        if request.setETag(asset.etag) is CACHED:
            return b""
        data = asset.data
        if b"gzip" in (request.getHeader(b"accept-encoding") or b""):
            request.setHeader(b"content-encoding", b"gzip")
            data = asset.zipped
        request.setHeader(b"content-length", b"%d" % len(data))
        return data


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


def page(request: IRequest, html: str, media_from: str = "") -> bytes:
    """The body of the response that is a page."""
    data = html.encode("utf-8")
    for name, value in (
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", policy(media_from)),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("content-length", str(len(data))),
    ):
        request.setHeader(name.encode("ascii"), value.encode("ascii"))
    return data

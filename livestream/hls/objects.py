"""Objects, segments and init segments, as contents: what the cache finds, with the header that never changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred

from livestream.hls.paths import Kind, Target
from livestream.http.response import Representation, ResponseFactory
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body

MEDIA_TYPE = b"video/mp4"
IMMUTABLE = b"public, max-age=86400, immutable"
"""A name is never used twice, so whoever has the bytes may keep them."""


class CachedObject(Protocol):
    """An object that the cache has, whole or arriving."""

    @property
    def body(self) -> Body: ...
    @property
    def info(self) -> ObjectInfo: ...
    @property
    def outcome(self) -> str:
        """``hit``, ``miss``, or ``collapsed`` for one who waits for another's fetch."""

    @property
    def stored_at(self) -> float:
        """Unix time, in seconds, at which its bytes came."""


Wait = Callable[[], "Deferred[Any]"]
"""
Waits for an object, which is fetched if nobody has begun to, or for a playlist: a `CachedObject` or a `Representation`.

It fails with LookupError when there is no such thing, and with any other exception when it cannot be had now.
"""


class Library(Protocol):
    """Where objects are."""

    def get_cached(self, stream: str, rendition: str, name: str) -> CachedObject | None:
        """The object, if it is whole in memory; it counts as used."""

    def is_known(self, stream: str, rendition: str, name: str) -> bool:
        """Whether there is such an object, here or elsewhere, as far as is known here."""

    def get(self, stream: str, rendition: str, name: str) -> Deferred[Any]:
        """
        The object, fetched if need be, as soon as its first bytes are here; each caller has a Deferred of its own.

        It fails with LookupError when there is no such object, and with any other exception when it cannot be had now.
        """


@define(eq=False)
class Objects:
    """Contents by object name."""

    library: Library
    responses: ResponseFactory

    def find(self, target: Target) -> Representation | Wait | None:
        """The object, if it can be sent this instant, or how to wait for it; ``None``: none is known here."""
        found = self.library.get_cached(target.stream, target.rendition, target.name)
        if found is not None:
            return self.representation(target.kind, found)
        if self.library.is_known(target.stream, target.rendition, target.name):
            return partial(self.library.get, target.stream, target.rendition, target.name)
        return None

    def representation(self, kind: Kind, found: CachedObject) -> Representation:
        """What was found, with its header."""
        return Representation(
            kind,
            MEDIA_TYPE,
            found.body,
            found.info.size,
            b'"%b"' % found.info.digest.encode("ascii"),
            IMMUTABLE,
            self.responses.cache_status(found.outcome),
            found.outcome,
            found.stored_at,
        )

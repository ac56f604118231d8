"""Objects, segments and init segments, as contents: what the cache finds, with the header that never changes."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred

from livestream.hls.paths import Kind, Target
from livestream.http.response import Answers, Content
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body

MEDIA_TYPE = b"video/mp4"
IMMUTABLE = b"public, max-age=86400, immutable"
"""A name is never used twice, so whoever has the bytes may keep them."""


class Found(Protocol):
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


class Library(Protocol):
    """Where objects are."""

    def get_cached(self, stream: str, rendition: str, name: str) -> Found | None:
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
    answers: Answers

    def ready(self, target: Target) -> Content | None:
        """The object, if it can be sent this instant."""
        found = self.library.get_cached(target.stream, target.rendition, target.name)
        return None if found is None else self.content(target.kind, found)

    def is_known(self, target: Target) -> bool:
        """Whether there is such an object, as far as is known here."""
        return self.library.is_known(target.stream, target.rendition, target.name)

    def get(self, target: Target) -> Deferred[Found]:
        """The object, waited for if need be, as the library gives it."""
        return self.library.get(target.stream, target.rendition, target.name)

    def content(self, kind: Kind, found: Found) -> Content:
        """What was found, with its header."""
        return Content(
            kind,
            MEDIA_TYPE,
            found.body,
            found.info.size,
            b'"%b"' % found.info.digest.encode("ascii"),
            IMMUTABLE,
            self.answers.cache_status(found.outcome),
            found.outcome,
            found.stored_at,
        )

"""The segments of an ingest: broadcasts put them in, and they are served from there."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed

from livestream.cache.cache import NotKnown
from livestream.cache.store import CachedObject, Key, Store
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body


@define(eq=False)
class SegmentStore:
    """A store that broadcasts fill, served as a library: what is not in it does not exist."""

    store: Store

    def put(self, stream: str, rendition: str, info: ObjectInfo, data: bytes) -> None:
        self.store.put(Key(stream, rendition, info.name), info, Body.whole(data))

    def get_cached(self, stream: str, rendition: str, name: str) -> CachedObject | None:
        return self.store.get(Key(stream, rendition, name))

    def is_known(self, stream: str, rendition: str, name: str) -> bool:
        return Key(stream, rendition, name) in self.store

    def get(self, stream: str, rendition: str, name: str) -> Deferred[CachedObject]:
        found = self.get_cached(stream, rendition, name)
        return fail(NotKnown(name)) if found is None else succeed(found)

"""Objects in memory, within a bound: the least needed are evicted first, the live window that is watched last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum

from attrs import define, field, frozen

from livestream.cache.demand import Demand
from livestream.metrics import Metrics
from livestream.model.names import object_path
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body

SWEPT = 2048
"""How many objects one sweep looks at, so that it takes no longer when there are a hundred thousand."""

YOUNG_S = 30.0
"""For so long an object may be here before it is announced."""

WATCHED_S = 30.0

PARTIAL_SHARE = 0.1
"""So much of the store's limit may be bytes of interrupted fetches."""


@frozen
class Key:
    """Which object: of which stream and rendition, and its name there."""

    stream: str
    rendition: str
    name: str

    @property
    def path(self) -> str:
        return object_path(self.stream, self.rendition, self.name)


class Need(IntEnum):
    """How much an object is needed; the least needed is evicted first."""

    NONE = 0
    """It can no longer be in anyone's playlist."""
    LINGERING = 1
    """It has left the playlist, and a viewer with an older one may still come for it."""
    LISTED = 2
    WATCHED = 3
    """It is listed, and viewers ask for its rendition."""


@frozen
class CachedObject:
    """An object, whole or arriving. ``outcome`` is hit, miss or collapsed; ``stored_at`` is a Unix time."""

    body: Body
    info: ObjectInfo
    outcome: str
    stored_at: float


@define(eq=False)
class Store:
    """
    Whole objects by key. ``is_known`` says whether an object may still be asked for, ``is_listed`` whether it is in a
    playlist; ``seconds`` is the wall clock.

    Over ``limit_bytes``, the least needed are evicted until a tenth is free again, the least recently used first. Bytes
    of interrupted fetches count, and evict others, up to `PARTIAL_SHARE` of the limit.
    """

    limit_bytes: int
    is_known: Callable[[Key], bool]
    is_listed: Callable[[Key], bool]
    seconds: Callable[[], float]
    metrics: Metrics
    demand: Demand = field(init=False)
    held_bytes: int = field(default=0, init=False)
    _objects: dict[Key, CachedObject] = field(factory=dict, init=False)
    _partial: dict[Key, int] = field(factory=dict, init=False)
    _unswept: Iterator[Key] = field(factory=lambda: iter(()), init=False)

    def __attrs_post_init__(self) -> None:
        self.demand = Demand(self.seconds)

    def get(self, key: Key) -> CachedObject | None:
        """
        The object for a viewer or a downstream node: a use, which makes it the latest used and is demand.

        ``in`` asks whether it is here and changes nothing.
        """
        found = self._objects.pop(key, None)
        if found is not None:
            self._objects[key] = found
            self.demand.note(key.stream, key.rendition)
        return found

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, key: Key, info: ObjectInfo, body: Body) -> None:
        """Keep a whole object."""
        self._evict(key, "replaced")
        self.held_bytes -= self._partial.pop(key, 0)
        self._objects[key] = CachedObject(body, info, "hit", self.seconds())
        self.held_bytes += info.size
        if self.held_bytes > self.limit_bytes:
            self._make_room(key)
        self.metrics.cache_bytes.set(self.held_bytes)

    def reserve(self, key: Key, count: int) -> bool:
        """Count ``count`` bytes of an interrupted fetch; return whether they may be kept."""
        self.held_bytes -= self._partial.pop(key, 0)
        fits = sum(self._partial.values()) + count <= PARTIAL_SHARE * self.limit_bytes
        if fits:
            self._partial[key] = count
            self.held_bytes += count
            if self.held_bytes > self.limit_bytes:
                self._make_room(key)
        self.metrics.cache_bytes.set(self.held_bytes)
        return fits

    def release(self, key: Key) -> None:
        """The bytes of an interrupted fetch are kept no longer."""
        self.held_bytes -= self._partial.pop(key, 0)
        self.metrics.cache_bytes.set(self.held_bytes)

    def sweep(self) -> None:
        """Evict what nobody can ask for any more; a large store takes several calls."""
        for _ in range(min(SWEPT, len(self._objects))):
            key = next(self._unswept, None)
            if key is None:
                self._unswept = iter(list(self._objects))
                key = next(self._unswept)
            if key in self._objects and not self._is_young(key) and not self.is_known(key):
                self._evict(key, "past")
        self.demand.expire()
        self.metrics.cache_bytes.set(self.held_bytes)

    def _need(self, key: Key) -> Need:
        if not self.is_known(key):
            return Need.LISTED if self._is_young(key) else Need.NONE
        if not self.is_listed(key):
            return Need.LINGERING
        return Need.WATCHED if self.demand.is_watched(key.stream, key.rendition, WATCHED_S) else Need.LISTED

    def _is_young(self, key: Key) -> bool:
        return self.seconds() - self._objects[key].stored_at < YOUNG_S

    def _make_room(self, newest: Key) -> None:
        wanted_bytes = self.limit_bytes * 9 // 10
        for key in sorted(self._objects, key=self._need):
            if self.held_bytes <= wanted_bytes:
                return
            if key != newest:
                self._evict(key, "full")

    def _evict(self, key: Key, reason: str) -> None:
        found = self._objects.pop(key, None)
        if found is not None:
            self.held_bytes -= found.info.size
            self.metrics.cache_evictions.labels(reason).inc()

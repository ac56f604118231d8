"""Objects in memory, within a bound: what nobody needs goes first, the live window that is watched goes last."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from attrs import define, field, frozen

from livestream.metrics import Metrics
from livestream.model import ObjectInfo
from livestream.net.body import Body


@frozen
class Key:
    """Which object: of which stream and rendition, and its name there."""

    stream: str
    rendition: str
    name: str

    @property
    def path(self) -> str:
        return f"/live/{self.stream}/{self.rendition}/{self.name}"


class Need(IntEnum):
    """How much an object is needed; the least needed goes first."""

    NONE = 0
    """It can no longer be in anyone's playlist."""
    LISTED = 1
    WATCHED = 2


@frozen
class Found:
    """An object, whole or arriving. ``outcome`` is hit, miss or collapsed; ``stored_at`` is a Unix time."""

    body: Body
    info: ObjectInfo
    outcome: str
    stored_at: float


@define(eq=False)
class Store:
    """
    Whole objects by key. ``need`` says how much each is needed now; ``seconds`` is the wall clock.

    Over ``limit_bytes``, the least needed go until a tenth is free again, those longest unused first.
    """

    limit_bytes: int
    need: Callable[[Key], Need]
    seconds: Callable[[], float]
    metrics: Metrics
    held_bytes: int = field(default=0, init=False)
    _objects: dict[Key, Found] = field(factory=dict, init=False)

    def peek(self, key: Key) -> Found | None:
        """The object, if it is here."""
        return self._objects.get(key)

    def put(self, key: Key, info: ObjectInfo, body: Body) -> None:
        """Keep a whole object."""
        self._drop(key, "replaced")
        self._objects[key] = Found(body, info, "hit", self.seconds())
        self.held_bytes += info.size
        if self.held_bytes > self.limit_bytes:
            self._make_room(key)
        self.metrics.cache_bytes.set(self.held_bytes)

    def sweep(self) -> None:
        """Let go of what nobody can ask for any more."""
        for key in [key for key in self._objects if self.need(key) is Need.NONE]:
            self._drop(key, "past")
        self.metrics.cache_bytes.set(self.held_bytes)

    def _make_room(self, newest: Key) -> None:
        wanted_bytes = self.limit_bytes * 9 // 10
        for key in sorted(self._objects, key=self.need):
            if self.held_bytes <= wanted_bytes:
                return
            if key != newest:
                self._drop(key, "full")

    def _drop(self, key: Key, reason: str) -> None:
        found = self._objects.pop(key, None)
        if found is not None:
            self.held_bytes -= found.info.size
            self.metrics.cache_evictions.labels(reason).inc()

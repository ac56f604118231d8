"""One fetch per object, however many ask for it: a Deferred for each, and a fetch that outlives whoever began it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livestream.cache.fill import Fill, Unavailable
from livestream.cache.store import CachedObject, Key, Store
from livestream.model.segments import ObjectInfo

HOLD_DOWN_S = 0.25
"""After a failure the tier above is left in peace for so long."""

OBJECT_BYTES = 64 << 20
"""No object is larger."""

FILLS = 1024
"""How many objects may be on their way at once."""


class NotKnown(LookupError):
    """There is no such object, as far as this node knows."""


class Source(Protocol):
    """Where objects come from."""

    async def fetch(self, key: Key, info: ObjectInfo, have: Callable[[], int], take: Callable[[bytes], None]) -> None:
        """
        Hand the object's bytes to ``take``, from ``have()`` on; raise when it cannot be had whole.

        ``take`` raises when it is given what cannot be right.
        """


@define(eq=False)
class Cache:
    """
    A tier's objects. ``known`` says what is known of a name, and what it does not know is never asked for above.

    ``seconds`` is the wall clock.
    """

    store: Store
    source: Source
    known: Callable[[str, str, str], ObjectInfo | None]
    clock: IReactorTime
    seconds: Callable[[], float]
    _fills: dict[Key, Fill] = field(factory=dict, init=False)
    _held_down: dict[Key, float] = field(factory=dict, init=False)
    _running: set[Deferred[None]] = field(factory=set, init=False)
    _is_stopped: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    def get_cached(self, stream: str, rendition: str, name: str) -> CachedObject | None:
        """The object, if it is whole in memory: a use of it (`Store.get`)."""
        return self.store.get(Key(stream, rendition, name))

    def is_known(self, stream: str, rendition: str, name: str) -> bool:
        """Whether there is such an object, as far as is known here."""
        key = Key(stream, rendition, name)
        return key in self.store or key in self._fills or self.known(stream, rendition, name) is not None

    def get(self, stream: str, rendition: str, name: str) -> Deferred[CachedObject]:
        """
        The object, as soon as its first bytes are here. Each caller has a Deferred of its own and may cancel it.

        It fails with :class:`NotKnown` or :class:`Unavailable`.
        """
        key = Key(stream, rendition, name)
        found = self.store.get(key)
        if found is not None:
            return succeed(found)
        fill = self._fills.get(key)
        info = self.known(stream, rendition, name) if fill is None else fill.info
        if info is None:
            return fail(NotKnown(key.path))
        self.store.demand.note(stream, rendition)
        if fill is not None:
            return fill.wait("collapsed")
        try:
            return self._begin(key, info).wait("miss")
        except Unavailable as error:
            return fail(error)

    def prefetch(self, stream: str, rendition: str, info: ObjectInfo) -> Deferred[None]:
        """
        Have an object here before anyone asks; fires when it is whole in memory.

        It fails with :class:`Unavailable`; to cancel it ends the waiting and not the fetch.
        """
        key = Key(stream, rendition, info.name)
        if key in self.store:
            return succeed(None)
        try:
            return (self._fills.get(key) or self._begin(key, info)).over()
        except Unavailable as error:
            return fail(error)

    @property
    def filling(self) -> int:
        """How many objects are on their way here."""
        return len(self._fills)

    def stop(self) -> None:
        """Give up what is on its way, and begin nothing more."""
        self._is_stopped = True
        for running in list(self._running):
            running.cancel()

    def _begin(self, key: Key, info: ObjectInfo) -> Fill:
        """:raises Unavailable: it must not be fetched now."""
        if self._is_held_down(key):
            raise Unavailable(f"{key.path} could not be had a moment ago")
        if self._is_stopped:
            raise Unavailable("this node is stopping")
        if len(self._fills) >= FILLS:
            raise Unavailable(f"{FILLS} objects are on their way already")
        if not 0 < info.size <= OBJECT_BYTES:
            raise Unavailable(f"{key.path} cannot have {info.size} bytes")
        fill = self._fills[key] = Fill(info, self.seconds)
        running = Deferred.fromCoroutine(self._run(key, fill))
        if not running.called:
            self._running.add(running)
            running.addBoth(lambda _: self._running.discard(running))
        return fill

    async def _run(self, key: Key, fill: Fill) -> None:
        try:
            await self.source.fetch(key, fill.info, lambda: fill.body.received, fill.take)
            fill.finish()
        except Exception as error:
            self.log.warn("{path} cannot be had: {reason}", path=key.path, reason=str(error) or type(error).__name__)
            self._hold_down(key)
            del self._fills[key]
            fill.fail(error)
        else:
            self.store.put(key, fill.info, fill.body)
            del self._fills[key]
            fill.settle()

    def _hold_down(self, key: Key) -> None:
        """Those held down are in the order of their times: what is over is at the front."""
        while self._held_down and not self._is_held_down(oldest := next(iter(self._held_down))):
            del self._held_down[oldest]
        self._held_down.pop(key, None)
        self._held_down[key] = self.clock.seconds() + HOLD_DOWN_S

    def _is_held_down(self, key: Key) -> bool:
        return 0 < self._held_down.get(key, 0.0) - self.clock.seconds() <= HOLD_DOWN_S

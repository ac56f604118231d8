"""One fetch per object, however many ask for it: a Deferred for each, and a fetch that outlives whoever began it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from livestream.cache.fill import DigestMismatch, Fill, Unavailable
from livestream.cache.store import CachedObject, Key, Store
from livestream.model.segments import ObjectInfo

HOLD_DOWN_S = 0.25
"""After a failure an object is not asked for again for so long."""

OBJECT_BYTES = 64 << 20
"""No object is larger."""

FILLS = 1024
"""How many objects may be fetched at once."""


class NotKnown(LookupError):
    """There is no such object, as far as this node knows."""


class Source(Protocol):
    """Where objects come from."""

    async def fetch(
        self, key: Key, info: ObjectInfo, received: Callable[[], int], append: Callable[[bytes], None]
    ) -> None:
        """
        Hand the object's bytes to ``append``, from ``received()`` on.

        ``append`` raises :class:`DigestMismatch` when the object would not be the one that was announced.

        :raises Exception: the rest of it cannot be had.
        """


@define(eq=False)
class Cache:
    """
    The objects of a node. ``known`` has what is announced; an object that is not is never asked for upstream.

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
            return fill.get("collapsed")
        try:
            return self._begin(key, info).get("miss")
        except Unavailable as error:
            return fail(error)

    def prefetch(self, stream: str, rendition: str, info: ObjectInfo) -> Deferred[None]:
        """
        Fetch an object before anyone asks for it; fires when it is whole in memory. It is no demand.

        It fails with :class:`Unavailable`, also when a fetch is interrupted that is then resumed. To cancel it ends the
        waiting and not the fetch.
        """
        key = Key(stream, rendition, info.name)
        if key in self.store:
            return succeed(None)
        try:
            return (self._fills.get(key) or self._begin(key, info)).whole()
        except Unavailable as error:
            return fail(error)

    @property
    def filling(self) -> int:
        """How many objects are being fetched."""
        return len(self._fills)

    def stop(self) -> None:
        """Cancel every fetch, and begin no other."""
        self._is_stopped = True
        for running in list(self._running):
            running.cancel()

    def _begin(self, key: Key, info: ObjectInfo) -> Fill:
        """:raises Unavailable: it must not be fetched now."""
        if self._is_held_down(key):
            raise Unavailable(f"{key.path} failed less than {HOLD_DOWN_S} s ago")
        if self._is_stopped:
            raise Unavailable("this node is stopping")
        if len(self._fills) >= FILLS:
            raise Unavailable(f"{FILLS} objects are already being fetched")
        if not 0 < info.size <= OBJECT_BYTES:
            raise Unavailable(f"{key.path} was announced with an invalid size: {info.size} bytes")
        fill = self._fills[key] = Fill(info, self.seconds)
        running = Deferred.fromCoroutine(self._run(key, fill))
        if not running.called:
            self._running.add(running)
            running.addBoth(lambda _: self._running.discard(running))
        return fill

    async def _run(self, key: Key, fill: Fill) -> None:
        try:
            while True:
                try:
                    await self.source.fetch(key, fill.info, lambda: fill.body.received, fill.append)
                    break
                except Exception as error:
                    await self._recover(key, fill, error)
            fill.body.finish()
        except Exception as error:
            self.log.warn("fetch of {path} failed: {reason}", path=key.path, reason=str(error) or type(error).__name__)
            self._hold_down(key)
            self.store.release(key)
            del self._fills[key]
            fill.fail(error)
        else:
            self.store.put(key, fill.info, fill.body)
            del self._fills[key]
            fill.complete()

    async def _recover(self, key: Key, fill: Fill, error: Exception) -> None:
        """
        Have an object fetched once more from zero if its bytes are wrong, else resumed where it broke off.

        :raises Exception: ``error``; it is to be neither.
        """
        if isinstance(error, CancelledError) or self._is_stopped:
            raise error
        received = fill.body.received
        if isinstance(error, DigestMismatch):
            if not fill.restart():
                raise error
            self.store.release(key)
            self.log.warn("{path} {reason}; fetching all of it again", path=key.path, reason=str(error))
        elif received and self.store.reserve(key, received) and fill.interrupt(error, self.clock.seconds()):
            await deferLater(self.clock, HOLD_DOWN_S)
        else:
            raise error

    def _hold_down(self, key: Key) -> None:
        """Those held down are in the order of their times: what has expired is at the front."""
        while self._held_down and not self._is_held_down(oldest := next(iter(self._held_down))):
            del self._held_down[oldest]
        self._held_down.pop(key, None)
        self._held_down[key] = self.clock.seconds() + HOLD_DOWN_S

    def _is_held_down(self, key: Key) -> bool:
        return 0 < self._held_down.get(key, 0.0) - self.clock.seconds() <= HOLD_DOWN_S

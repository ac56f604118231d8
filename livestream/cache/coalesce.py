"""One fetch per object, however many ask for it: a Deferred for each, and a fetch that outlives whoever began it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.cache.store import Found, Key, Store
from livestream.model import ObjectInfo
from livestream.net.body import Body

HOLD_DOWN_S = 0.25
"""After a failure the tier above is left in peace for so long."""


class NotKnown(LookupError):
    """There is no such object, as far as this node knows."""


class Unavailable(Exception):
    """The object exists and cannot be had now."""


class Source(Protocol):
    """Where objects come from."""

    async def fetch(self, key: Key, size: int, have: Callable[[], int], take: Callable[[bytes], None]) -> None:
        """Hand the object's bytes to ``take``, from ``have()`` on; raise when it cannot be had whole."""


@define(eq=False)
class _Fill:
    """An object on its way. Its last bytes are held back until the digest of the whole is known to be right."""

    info: ObjectInfo
    body: Body
    waiters: dict[Deferred[Found], str] = field(factory=dict)
    _hash: Any = field(factory=sha256)

    def take(self, data: bytes) -> None:
        self._hash.update(data)
        if self.body.received + len(data) == self.info.size and self._hash.hexdigest() != self.info.digest:
            raise Unavailable("its digest is not the announced one")
        self.body.append(data)

    def leave(self, waiter: Deferred[Found]) -> None:
        """One who waited has gone; the fill goes on."""
        self.waiters.pop(waiter, None)

    def found(self, outcome: str, now: float) -> Found:
        return Found(self.body, self.info, outcome, now)


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
    _fills: dict[Key, _Fill] = field(factory=dict, init=False)
    _held_down: dict[Key, float] = field(factory=dict, init=False)
    _running: set[Deferred[None]] = field(factory=set, init=False)

    log: ClassVar[Logger] = Logger()

    def peek(self, stream: str, rendition: str, name: str) -> Found | None:
        """The object, if it is whole in memory."""
        return self.store.peek(Key(stream, rendition, name))

    def get(self, stream: str, rendition: str, name: str) -> Deferred[Found]:
        """
        The object, as soon as its first bytes are here. Each caller has a Deferred of its own and may cancel it.

        It fails with :class:`NotKnown` or :class:`Unavailable`.
        """
        key = Key(stream, rendition, name)
        found = self.store.peek(key)
        if found is not None:
            return succeed(found)
        fill = self._fills.get(key)
        if fill is not None:
            return self._wait(fill, "collapsed")
        info = self.known(stream, rendition, name)
        if info is None:
            return fail(NotKnown(key.path))
        if self._held_down.get(key, 0.0) > self.clock.seconds():
            return fail(Unavailable(f"{key.path} could not be had a moment ago"))
        return self._wait(self._begin(key, info), "miss")

    def stop(self) -> None:
        """Give up what is on its way."""
        for running in list(self._running):
            running.cancel()

    def _begin(self, key: Key, info: ObjectInfo) -> _Fill:
        fill = self._fills[key] = _Fill(info, Body.growing(info.size))
        fill.body.watch(lambda: self._tell(fill))
        running = Deferred.fromCoroutine(self.source.fetch(key, info.size, lambda: fill.body.received, fill.take))
        self._running.add(running)
        running.addCallbacks(lambda _: self._whole(key, fill), lambda failure: self._failed(key, fill, failure))
        running.addErrback(lambda failure: self.log.failure("{path}", failure, path=key.path))
        running.addBoth(lambda _: self._running.discard(running))
        return fill

    def _wait(self, fill: _Fill, outcome: str) -> Deferred[Found]:
        if fill.body.received:
            return succeed(fill.found(outcome, self.seconds()))
        waiter: Deferred[Found] = Deferred(fill.leave)
        fill.waiters[waiter] = outcome
        return waiter

    def _tell(self, fill: _Fill) -> None:
        if not fill.waiters or fill.body.failed:
            return
        waiters, fill.waiters = fill.waiters, {}
        now = self.seconds()
        for waiter, outcome in waiters.items():
            waiter.callback(fill.found(outcome, now))

    def _whole(self, key: Key, fill: _Fill) -> None:
        fill.body.finish()
        del self._fills[key]
        self.store.put(key, fill.info, fill.body)

    def _failed(self, key: Key, fill: _Fill, failure: Failure) -> None:
        self._fills.pop(key, None)
        now = self.clock.seconds()
        self._held_down = {held: until for held, until in self._held_down.items() if until > now}
        self._held_down[key] = now + HOLD_DOWN_S
        self.log.warn("{path} cannot be had: {reason}", path=key.path, reason=failure.getErrorMessage())
        fill.body.fail()
        waiters, fill.waiters = fill.waiters, {}
        for waiter in waiters:
            waiter.errback(Unavailable(failure.getErrorMessage()))
